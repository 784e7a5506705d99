//! How many key pairs are made at once.
//!
//! An RSA key takes a core for up to seconds. Requests for many of them are done as many at a time as there
//! are cores, so that whoever encrypts meanwhile has a share of each; some of the others wait, and the rest
//! is told to come again, so that they do not take the places of all other requests.

use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use waxseal_kms_api::KmsError;

/// How many requests wait until they may make a key pair, half of all that a server has places for; more are
/// answered with `ThrottlingException`.
const WAITING_MAX: usize = 128;

/// The cores are those of the process, whichever engine it is for.
static DESK: LazyLock<Desk> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, usize::from);
    Desk::new(cores, WAITING_MAX)
});

/// Makes what takes a core for long, once there is one for it. Not for those who hold the log: whoever is
/// before them may take longer than it may be held.
///
/// # Errors
/// `ThrottlingException` when too many wait already, and those of `make`.
pub(crate) fn in_turn<T>(make: impl FnOnce() -> Result<T, KmsError>) -> Result<T, KmsError> {
    let _place = DESK.place()?;
    make()
}

struct Desk {
    makers_max: usize,
    waiting_max: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    making: usize,
    waiting: usize,
}

/// The right to make one, until it is dropped.
struct Place<'d>(&'d Desk);

impl Desk {
    fn new(makers_max: usize, waiting_max: usize) -> Self {
        Self {
            makers_max,
            waiting_max,
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> Result<Place<'_>, KmsError> {
        let mut state = self.state();
        if state.making >= self.makers_max {
            if state.waiting >= self.waiting_max {
                return Err(KmsError::throttled());
            }
            state.waiting += 1;
            let is_full = |state: &mut State| state.making >= self.makers_max;
            let freed = self.freed.wait_while(state, is_full);
            state = freed.unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.making += 1;
        Ok(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().making -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxseal_kms_api::ErrorCode;

    #[test]
    fn one_makes_one_waits_and_a_third_is_told_to_come_again() {
        let desk = Desk::new(1, 1);
        let first = desk.place().unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| desk.place().map(drop));
            while desk.state().waiting == 0 {
                std::thread::yield_now();
            }
            let third = desk.place().map(drop).unwrap_err();
            assert_eq!(third.code, ErrorCode::Throttling);
            assert!(!second.is_finished());
            drop(first);
            second.join().unwrap().unwrap();
        });
        let State { making, waiting } = *desk.state();
        assert_eq!((making, waiting), (0, 0), "all were given back");
    }

    /// Whoever fails, or panics, gives its place back.
    #[test]
    fn failures_give_their_place_back() {
        for _ in 0..200 {
            let failed = in_turn(|| Err::<(), _>(KmsError::invalid_ciphertext()));
            assert_eq!(failed.unwrap_err().code, ErrorCode::InvalidCiphertext);
            let panicked = std::thread::spawn(|| in_turn::<()>(|| panic!("for the test")));
            assert!(panicked.join().is_err());
        }
        assert_eq!(DESK.state().waiting, 0);
    }
}
