//! Something that one thread has at a time, and that nobody waits for for ever.
//!
//! A thread that reads or writes a file may be held up by its disk for any time, and cannot be told to
//! give up. The others can: they wait no longer than whoever has it may have it.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A disk that has not answered for so long is taken for stuck: what waits for it is refused, and
/// what comes until it answers is refused at once. With what it takes to say so, every request has its
/// answer within two seconds.
pub const STALL: Duration = Duration::from_millis(1_900);

#[derive(Debug)]
pub(crate) struct Turn<T> {
    desk: Mutex<Desk>,
    back: Condvar,
    /// Locked by whoever has the token, and so never waited for.
    value: Mutex<T>,
}

/// Where the token lies.
#[derive(Debug)]
struct Desk {
    is_taken: bool,
    /// When it was taken last.
    since: Instant,
    waiting: usize,
}

impl<T> Turn<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            desk: Mutex::new(Desk {
                is_taken: false,
                since: Instant::now(),
                waiting: 0,
            }),
            back: Condvar::new(),
            value: Mutex::new(value),
        }
    }

    /// Waits until it is there. Nothing when one thread has had it for longer than `limit`.
    pub(crate) fn take(&self, limit: Duration) -> Option<Taken<'_, T>> {
        let mut desk = self.desk();
        while desk.is_taken {
            let left = limit.checked_sub(desk.since.elapsed())?;
            desk.waiting += 1;
            let waited = self.back.wait_timeout(desk, left);
            (desk, _) = waited.unwrap_or_else(PoisonError::into_inner);
            desk.waiting -= 1;
        }
        Some(self.taken(desk))
    }

    /// Waits until it is there, however long.
    pub(crate) fn wait(&self) -> Taken<'_, T> {
        let mut desk = self.desk();
        while desk.is_taken {
            desk.waiting += 1;
            let waited = self.back.wait(desk);
            desk = waited.unwrap_or_else(PoisonError::into_inner);
            desk.waiting -= 1;
        }
        self.taken(desk)
    }

    /// Takes it if it is there.
    pub(crate) fn try_take(&self) -> Option<Taken<'_, T>> {
        let desk = self.desk();
        (!desk.is_taken).then(|| self.taken(desk))
    }

    fn taken(&self, mut desk: MutexGuard<'_, Desk>) -> Taken<'_, T> {
        desk.is_taken = true;
        desk.since = Instant::now();
        drop(desk);
        Taken {
            value: self.value.lock().unwrap_or_else(PoisonError::into_inner),
            _token: Token { of: self },
        }
    }

    /// Whether one thread has had it for longer than [`STALL`].
    pub(crate) fn is_stalled(&self) -> bool {
        let desk = self.desk();
        desk.is_taken && desk.since.elapsed() > STALL
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Nothing under this lock panics.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is given back when this goes, by a panic too.
#[derive(Debug)]
pub(crate) struct Taken<'t, T> {
    value: MutexGuard<'t, T>,
    _token: Token<'t, T>,
}

#[derive(Debug)]
struct Token<'t, T> {
    of: &'t Turn<T>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Token<'_, T> {
    fn drop(&mut self) {
        let mut desk = self.of.desk();
        desk.is_taken = false;
        if desk.waiting > 0 {
            self.of.back.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_longer_than_one_may_have_it() {
        let turn = Turn::new(0);
        let limit = Duration::from_millis(50);
        let mut held = turn.take(limit).unwrap();
        *held += 1;
        let begin = Instant::now();
        assert!(turn.take(limit).is_none());
        assert!(begin.elapsed() < Duration::from_secs(5));
        // From then on at once, and once it is back as ever.
        assert!(turn.take(limit).is_none());
        drop(held);
        assert_eq!(*turn.take(limit).unwrap(), 1);
        assert!(!turn.is_stalled());
    }

    #[test]
    fn it_comes_back_from_a_panic() {
        let turn = Turn::new(());
        let panicked = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let _held = turn.take(STALL);
                panic!("as a test")
            });
            thread.join()
        });
        assert!(panicked.is_err());
        assert!(turn.take(Duration::from_millis(1)).is_some());
    }

    #[test]
    fn all_who_wait_have_their_turn() {
        let turn = Turn::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        *turn.take(Duration::from_secs(60)).unwrap() += 1;
                    }
                });
            }
        });
        assert_eq!(*turn.take(STALL).unwrap(), 1_600);
    }
}
