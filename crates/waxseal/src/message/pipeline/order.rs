//! The order among pieces that several workers go through: whose turn it is, and how it all ended.

use super::WORKERS_MAX;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Pieces are numbered from 0. `T` is how a message ends: well or with an error.
pub(super) struct Order<T> {
    /// Pieces behind this one do not matter any more; `u64::MAX` while all do.
    last: AtomicU64,
    /// The first piece that ended the message, and how.
    end: Mutex<Option<(u64, T)>>,
    gates: [Gate; 2],
}

/// What is done in turns.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    /// Hashing for the signature.
    Hash,
    /// Writing to a stream.
    Write,
}

struct Gate {
    turn: Mutex<Now>,
    /// Who waits for turn n waits at n modulo their number.
    waiting: [Condvar; WORKERS_MAX],
}

/// What everyone at a gate knows.
#[derive(Default)]
struct Now {
    /// Whose turn it is.
    next: u64,
    /// How many wait: nobody is woken, which asks the system, where nobody waits.
    asleep: usize,
}

impl<T> Order<T> {
    pub(super) fn new() -> Self {
        let gate = || Gate {
            turn: Mutex::default(),
            waiting: std::array::from_fn(|_| Condvar::new()),
        };
        Self {
            last: AtomicU64::new(u64::MAX),
            end: Mutex::new(None),
            gates: [gate(), gate()],
        }
    }

    /// The message ends with this piece, unless it did with an earlier one. Whoever waits with a
    /// later piece is let go.
    pub(super) fn end(&self, piece: u64, how: T) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.as_ref().is_none_or(|(first, _)| piece < *first) {
            *end = Some((piece, how));
            self.let_go_after(piece);
        }
    }

    /// Whether a piece comes after the end.
    pub(super) fn is_beyond(&self, piece: u64) -> bool {
        piece > self.last.load(Ordering::SeqCst)
    }

    /// Does `work` when all pieces before this one had their turn. `None` when one of them ended
    /// the message. After work that failed nobody has a turn any more: the caller ends the message.
    pub(super) fn in_turn<R, E>(
        &self,
        turn: Turn,
        piece: u64,
        work: impl FnOnce() -> Result<R, E>,
    ) -> Result<Option<R>, E> {
        let gate = &self.gates[turn as usize];
        let mut now = gate.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while now.next != piece {
            if self.is_beyond(piece) {
                return Ok(None);
            }
            now.asleep += 1;
            let waiting = gate.at(piece).wait(now);
            now = waiting.unwrap_or_else(PoisonError::into_inner);
            now.asleep -= 1;
        }
        drop(now);
        let done = work()?;
        let mut now = gate.turn.lock().unwrap_or_else(PoisonError::into_inner);
        now.next += 1;
        if now.asleep > 0 {
            gate.at(now.next).notify_all();
        }
        Ok(Some(done))
    }

    /// How the message ended; `None` when no piece ended it.
    pub(super) fn take_end(&self) -> Option<T> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.take().map(|(_, how)| how)
    }

    /// Lets all go when the thread that holds it panics, so that the others can be joined.
    pub(super) fn alarm(&self) -> Alarm<'_, T> {
        Alarm(self)
    }

    fn let_go_after(&self, piece: u64) {
        self.last.fetch_min(piece, Ordering::SeqCst);
        for gate in &self.gates {
            // With the lock: whoever is about to wait has not looked yet, or waits already.
            let now = gate.turn.lock().unwrap_or_else(PoisonError::into_inner);
            if now.asleep > 0 {
                gate.waiting.iter().for_each(Condvar::notify_all);
            }
        }
    }
}

impl Gate {
    fn at(&self, piece: u64) -> &Condvar {
        &self.waiting[(piece % WORKERS_MAX as u64) as usize]
    }
}

/// See [`Order::alarm`].
pub(super) struct Alarm<'a, T>(&'a Order<T>);

impl<T> Drop for Alarm<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.let_go_after(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_order() {
        let (order, done) = (Order::<()>::new(), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for worker in 0..8_u64 {
                let (order, done) = (&order, &done);
                scope.spawn(move || {
                    for piece in (0..400).filter(|piece| piece % 8 == worker) {
                        let turn = order.in_turn(Turn::Hash, piece, || {
                            done.lock().unwrap().push(piece);
                            Ok::<_, ()>(())
                        });
                        assert_eq!(turn, Ok(Some(())));
                    }
                });
            }
        });
        assert!(done.into_inner().unwrap().into_iter().eq(0..400));
        assert!(order.take_end().is_none());
    }

    #[test]
    fn the_first_end_counts_and_lets_later_pieces_go() {
        let order = Order::new();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| order.in_turn(Turn::Write, 7, || Ok::<_, ()>(())));
            order.end(5, "later");
            assert_eq!(waits.join().unwrap(), Ok(None));
            order.end(3, "first");
            order.end(4, "between");
        });
        assert!(!order.is_beyond(3) && order.is_beyond(4));
        assert_eq!(order.take_end(), Some("first"));
    }

    #[test]
    fn a_panic_lets_all_go() {
        let order = Order::<()>::new();
        let panicked = std::thread::scope(|scope| {
            scope.spawn(|| order.in_turn(Turn::Write, 2, || Ok::<_, ()>(())));
            let worker = scope.spawn(|| {
                let _alarm = order.alarm();
                panic!("a worker fails");
            });
            worker.join()
        });
        assert!(panicked.is_err());
    }
}
