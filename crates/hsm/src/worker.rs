//! A thread that alone talks to one device: a device that hangs, hangs nobody else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io, thread};

/// The device did not answer in time, or its thread is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Late;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// One thread, and what it alone holds.
pub(crate) struct Worker<S> {
    jobs: Sender<Job<S>>,
    deadline: Duration,
    /// Jobs that nobody waits for any more and that are not done.
    given_up: Arc<AtomicUsize>,
}

impl<S> fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker({:?})", self.deadline)
    }
}

impl<S: Send + 'static> Worker<S> {
    /// Starts a thread that holds `state`. It ends when the worker is dropped and its last job done.
    pub(crate) fn start(mut state: S, deadline: Duration) -> io::Result<Self> {
        let (jobs, queue): (Sender<Job<S>>, Receiver<Job<S>>) = channel();
        thread::Builder::new()
            .name("device".to_owned())
            .spawn(move || {
                for job in queue {
                    job(&mut state);
                }
            })?;
        Ok(Self {
            jobs,
            deadline,
            given_up: Arc::default(),
        })
    }

    /// Has the thread do `work` and waits for it, up to the deadline. While an earlier job hangs, it is
    /// not waited for again.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, Late> {
        if self.given_up.load(Ordering::SeqCst) > 0 {
            return Err(Late);
        }
        let slot = Arc::new(Slot::default());
        let (place, given_up) = (slot.clone(), self.given_up.clone());
        let job = Box::new(move |state: &mut S| {
            let done = work(state);
            let mut answer = place.answer.lock().unwrap_or_else(PoisonError::into_inner);
            match &*answer {
                Answer::NobodyWaits => drop(given_up.fetch_sub(1, Ordering::SeqCst)),
                _ => *answer = Answer::Is(done),
            }
            place.is_there.notify_all();
        });
        self.jobs.send(job).map_err(|_| Late)?;
        let answer = slot.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut answer, _) = slot
            .is_there
            .wait_timeout_while(answer, self.deadline, |answer| {
                matches!(answer, Answer::Awaited)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *answer, Answer::NobodyWaits) {
            Answer::Is(done) => Ok(done),
            _ => {
                self.given_up.fetch_add(1, Ordering::SeqCst);
                Err(Late)
            }
        }
    }
}

/// Where an answer is left for whoever waits.
struct Slot<T> {
    answer: Mutex<Answer<T>>,
    is_there: Condvar,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            answer: Mutex::new(Answer::Awaited),
            is_there: Condvar::new(),
        }
    }
}

enum Answer<T> {
    Awaited,
    Is(T),
    NobodyWaits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_hangs_is_given_up_and_the_next_ones_wait_for_none() {
        let worker = Worker::start(0, Duration::from_millis(50)).unwrap();
        assert_eq!(
            worker.run(|state| {
                *state += 1;
                *state
            }),
            Ok(1)
        );
        let (release, released) = channel::<()>();
        let hung = worker.run(move |state| {
            let _ = released.recv();
            *state += 1;
        });
        assert_eq!(hung, Err(Late));
        assert_eq!(worker.run(|_| ()), Err(Late));
        release.send(()).unwrap();
        while worker.given_up.load(Ordering::SeqCst) > 0 {
            thread::yield_now();
        }
        assert_eq!(worker.run(|state| *state), Ok(2));
    }

    #[test]
    fn a_thread_that_panicked_is_late() {
        let worker = Worker::start((), Duration::from_millis(50)).unwrap();
        let panicked = worker.run(|()| std::panic::resume_unwind(Box::new(())));
        assert_eq!(panicked, Err::<(), _>(Late));
        assert_eq!(worker.run(|()| ()), Err(Late));
    }
}
