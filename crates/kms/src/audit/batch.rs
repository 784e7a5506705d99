//! Those who wait for one flush of the log, and how they are woken.

use super::AuditError;
use rustix::thread::futex;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;
use std::time::Duration;

/// The answer to an append: the record is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The record's sequence number.
    pub sequence: u64,
}

/// Those who wait for one flush.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The sequence number of the first record.
    outcome: OnceLock<Result<u64, AuditError>>,
    tasks: Mutex<Tasks>,
    /// 1 once there is an outcome: what those who block wait for, without a lock that all of them would
    /// want when they are woken.
    ended: AtomicU32,
    /// How many block.
    blocked: AtomicUsize,
}

/// Tasks that wait, by the thread that they were on. To wake a task of another thread takes a system call
/// or its like, so whoever ends a batch wakes one of each thread, and that one the others.
#[derive(Debug, Default)]
struct Tasks(Vec<(ThreadId, Vec<Waker>)>);

impl Tasks {
    fn on(&mut self, thread: ThreadId) -> &mut Vec<Waker> {
        let at = self.0.iter().position(|(other, _)| *other == thread);
        let at = at.unwrap_or_else(|| {
            self.0.push((thread, Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

impl Batch {
    pub(super) fn receipt(&self, place: u64) -> Option<Result<Receipt, AuditError>> {
        let receipt = |first: &u64| Receipt {
            sequence: first + place,
        };
        let outcome = self.outcome.get()?.as_ref();
        Some(outcome.map(receipt).map_err(AuditError::clone))
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        // Nothing under this lock panics.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how it ended, if nobody did so before.
    pub(super) fn end(&self, outcome: Result<u64, AuditError>) {
        if self.outcome.set(outcome).is_err() {
            // Whoever did so wakes everybody.
            return;
        }
        self.ended.store(1, Ordering::SeqCst);
        if self.blocked.load(Ordering::SeqCst) > 0 {
            // It fails for addresses that are none.
            let _ = futex::wake(&self.ended, futex::Flags::PRIVATE, i32::MAX.cast_unsigned());
        }
        let mut tasks = self.tasks();
        let one_each = tasks.0.iter_mut().filter_map(|(_, tasks)| tasks.pop());
        let woken: Vec<_> = one_each.collect();
        drop(tasks);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Wakes all tasks that were on that thread.
    fn wake_on(&self, thread: ThreadId) {
        let woken = std::mem::take(self.tasks().on(thread));
        woken.into_iter().for_each(Waker::wake);
    }

    /// Blocks until it ended, but hardly longer than `limit`.
    pub(super) fn wait(&self, limit: Duration) {
        // Whoever ends it looks here after `ended` is set, and the kernel there before it waits.
        self.blocked.fetch_add(1, Ordering::SeqCst);
        let limit = futex::Timespec::try_from(limit).ok();
        if self.outcome.get().is_none() {
            // Woken, or too late, or for nothing: the caller looks what it was.
            let _ = futex::wait(&self.ended, futex::Flags::PRIVATE, 0, limit.as_ref());
        }
        self.blocked.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A record that was handed in, and is not durable yet. As a future it is ready when it is, or when
/// that failed.
#[derive(Debug)]
pub struct Ticket {
    pub(super) batch: Arc<Batch>,
    place: u64,
    /// On which thread it was when it first asked to be woken.
    waits_on: Option<ThreadId>,
}

impl Future for Ticket {
    type Output = Result<Receipt, AuditError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(receipt) = self.batch.receipt(self.place) {
            self.pass_on();
            return Poll::Ready(receipt);
        }
        let this = &mut *self;
        let mut tasks = this.batch.tasks();
        // It may have ended until the lock was ours; from here on whoever ends it wakes us.
        match this.batch.receipt(this.place) {
            Some(receipt) => {
                drop(tasks);
                this.pass_on();
                Poll::Ready(receipt)
            }
            None => {
                // Always among the same: whoever of them is woken wakes those, wherever it is by then.
                let here = || std::thread::current().id();
                let thread = *this.waits_on.get_or_insert_with(here);
                tasks.on(thread).push(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Ticket {
    /// Of the record at this place of a batch.
    pub(super) fn of(batch: Arc<Batch>, place: u64) -> Self {
        Self {
            batch,
            place,
            waits_on: None,
        }
    }

    /// Wakes the others of the thread: this may be the one of them that was woken.
    fn pass_on(&mut self) {
        if let Some(thread) = self.waits_on.take() {
            self.batch.wake_on(thread);
        }
    }
}

impl Drop for Ticket {
    /// Nobody asks any more. Those who wait yet, if it has not ended, ask to be woken again.
    fn drop(&mut self) {
        self.pass_on();
    }
}
