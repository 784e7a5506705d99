//! The log as threads and tasks see it: what waits together is written and synced together.
//!
//! Two ways lead in. [`AuditLog::append`] blocks: whoever finds no flush in progress writes for all
//! who wait. [`AuditLog::submit`] gives a [`Ticket`], a future; from its first call on one thread
//! writes for everybody, so that no one who waits is woken but to go on.

use super::AuditError;
use super::event::{Encoded, Event};
use super::writer::Writer;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

/// An audit log that is open for appending. Any number of threads may share it, and any number of
/// processes may have the same folder open.
#[derive(Debug)]
pub struct AuditLog {
    dir: PathBuf,
    shared: Arc<Shared>,
    flusher: OnceLock<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
    /// Tells the flusher that there is something to do.
    work: Condvar,
}

/// The answer to an append: the record is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The record's sequence number.
    pub sequence: u64,
}

/// Records that wait for the next flush.
#[derive(Debug, Default)]
struct Queue {
    flushing: bool,
    /// Whether a thread of its own flushes.
    has_flusher: bool,
    /// Whether that thread waits for work.
    is_idle: bool,
    is_closed: bool,
    records: Vec<Encoded>,
    batch: Arc<Batch>,
}

impl Queue {
    /// Puts a record in, and tells which batch it goes with, and where in it.
    fn push(&mut self, record: Encoded) -> (Arc<Batch>, u64) {
        let place = self.records.len() as u64;
        self.records.push(record);
        (Arc::clone(&self.batch), place)
    }

    fn take(&mut self) -> (Vec<Encoded>, Arc<Batch>) {
        self.flushing = true;
        (
            std::mem::take(&mut self.records),
            std::mem::take(&mut self.batch),
        )
    }
}

/// Those who wait for one flush.
#[derive(Debug, Default)]
struct Batch {
    /// The sequence number of the first record.
    outcome: OnceLock<Result<u64, AuditError>>,
    wake: Condvar,
    wakers: Mutex<Vec<Waker>>,
}

impl Batch {
    fn receipt(&self, place: u64) -> Option<Result<Receipt, AuditError>> {
        let receipt = |first: &u64| Receipt {
            sequence: first + place,
        };
        let outcome = self.outcome.get()?.as_ref();
        Some(outcome.map(receipt).map_err(AuditError::clone))
    }

    /// Says how it ended, if nobody did so before.
    fn end(&self, outcome: Result<u64, AuditError>) {
        self.outcome.get_or_init(|| outcome);
        let wakers = std::mem::take(&mut *lock(&self.wakers));
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A record that was handed in, and is not durable yet. As a future it is ready when it is, or when
/// that failed.
#[derive(Debug)]
pub struct Ticket {
    batch: Arc<Batch>,
    place: u64,
}

impl Future for Ticket {
    type Output = Result<Receipt, AuditError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(receipt) = self.batch.receipt(self.place) {
            return Poll::Ready(receipt);
        }
        let mut wakers = lock(&self.batch.wakers);
        // It may have ended until the lock was ours; from here on whoever ends it wakes us.
        match self.batch.receipt(self.place) {
            Some(receipt) => Poll::Ready(receipt),
            None => {
                wakers.push(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AuditLog {
    /// Opens the log in `dir`. The folder is made when it is not there; the one above it must be.
    ///
    /// # Errors
    /// [`AuditError::Io`] and [`AuditError::Full`]. Segments are first read by the first append.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        let writer = Writer::open(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                writer: Mutex::new(writer),
                work: Condvar::new(),
            }),
            flusher: OnceLock::new(),
        })
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends segments at another length than [`super::SEGMENT_BYTES_MAX`]. Processes may differ.
    #[must_use]
    pub fn with_segment_bytes_max(self, bytes: u64) -> Self {
        lock(&self.shared.writer).segment_bytes_max = bytes;
        self
    }

    /// Appends a record, and returns when it is durable. Records of other threads that wait at the
    /// same time are written and synced together with it.
    ///
    /// A thread that holds an [`Exclusive`] appends through that; here it would wait for itself.
    ///
    /// # Errors
    /// Any [`AuditError`]; the record is then not in the log, or not acknowledged.
    pub fn append(&self, event: &Event) -> Result<Receipt, AuditError> {
        let record = Encoded::new(event)?;
        let mut queue = lock(&self.shared.queue);
        let (batch, place) = queue.push(record);
        if queue.is_idle {
            self.shared.work.notify_one();
        }
        while (queue.flushing || queue.has_flusher) && batch.outcome.get().is_none() {
            queue = batch
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        match batch.outcome.get() {
            None => self.shared.flush(queue),
            Some(_) => drop(queue),
        }
        batch.receipt(place).unwrap_or(Err(AuditError::Refusing))
    }

    /// Hands a record in. It is durable when the ticket says so.
    ///
    /// # Errors
    /// Any [`AuditError`]; the record is then not in the log.
    pub fn submit(&self, event: &Event) -> Result<Ticket, AuditError> {
        let record = Encoded::new(event)?;
        self.flusher.get_or_init(|| self.start());
        let mut queue = lock(&self.shared.queue);
        if !queue.has_flusher {
            // It could not be started, or is gone: nobody would write.
            return Err(AuditError::Refusing);
        }
        let (batch, place) = queue.push(record);
        if queue.is_idle {
            self.shared.work.notify_one();
        }
        Ok(Ticket { batch, place })
    }

    fn start(&self) -> Option<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        lock(&self.shared.writer).makes_room = true;
        lock(&self.shared.queue).has_flusher = true;
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let started = thread.spawn(move || shared.flush_for_all());
        if started.is_err() {
            lock(&self.shared.queue).has_flusher = false;
        }
        started.ok()
    }

    /// Takes the lock between processes until the value is dropped: what is done meanwhile, and
    /// recorded through it, happens at one place of the log.
    ///
    /// # Errors
    /// [`AuditError::Busy`] when another process holds it for ten seconds, and whatever reading
    /// the end of the log meets.
    pub fn exclusive(&self) -> Result<Exclusive<'_>, AuditError> {
        self.shared.exclusive()
    }

    /// How often this handle made records durable. Fewer times than it has records when threads
    /// append at once.
    pub fn syncs(&self) -> u64 {
        lock(&self.shared.writer).syncs
    }
}

impl Drop for AuditLog {
    /// What was handed in is written before the handle goes.
    fn drop(&mut self) {
        lock(&self.shared.queue).is_closed = true;
        self.shared.work.notify_one();
        if let Some(Some(flusher)) = self.flusher.take() {
            // It says nothing more, not even by a panic: whoever waited was told.
            let _ = flusher.join();
        }
    }
}

impl Shared {
    fn exclusive(&self) -> Result<Exclusive<'_>, AuditError> {
        let mut writer = lock(&self.writer);
        writer.lock()?;
        Ok(Exclusive { writer })
    }

    /// Writes what waits.
    fn flush(&self, mut queue: MutexGuard<'_, Queue>) {
        let (records, batch) = queue.take();
        drop(queue);
        let landing = Landing {
            shared: self,
            batch: &batch,
        };
        let written = self.exclusive();
        let written = written.and_then(|mut log| log.writer.append(&records));
        batch.end(written);
        drop(landing);
    }

    /// Writes what waits, until the log is closed and nothing does.
    fn flush_for_all(&self) {
        let _gone = Gone(self);
        loop {
            let mut queue = lock(&self.queue);
            while queue.records.is_empty() && !queue.is_closed {
                queue.is_idle = true;
                queue = self
                    .work
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            queue.is_idle = false;
            if queue.records.is_empty() {
                return;
            }
            self.flush(queue);
        }
    }
}

/// Ends a flush, however it ended: nobody may be left waiting.
struct Landing<'a> {
    shared: &'a Shared,
    batch: &'a Batch,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.batch.end(Err(AuditError::Refusing));
        let mut queue = lock(&self.shared.queue);
        queue.flushing = false;
        // One of the next batch takes the lead.
        queue.batch.wake.notify_one();
        drop(queue);
        self.batch.wake.notify_all();
    }
}

/// The flusher's end, however it ended: those who are handed in from now on, or were before, are
/// not left waiting for it.
struct Gone<'a>(&'a Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.has_flusher = false;
        let (_, batch) = queue.take();
        queue.flushing = false;
        drop(queue);
        batch.end(Err(AuditError::Refusing));
        batch.wake.notify_all();
    }
}

/// The log, held against every other thread and process.
#[derive(Debug)]
pub struct Exclusive<'a> {
    writer: MutexGuard<'a, Writer>,
}

impl Exclusive<'_> {
    /// Appends a record, and returns when it is durable.
    ///
    /// # Errors
    /// As [`AuditLog::append`].
    pub fn append(&mut self, event: &Event) -> Result<Receipt, AuditError> {
        let record = Encoded::new(event)?;
        let sequence = self.writer.append(&[record])?;
        Ok(Receipt { sequence })
    }

    /// Whether the log holds a record of this event whose sequence number is `since_sequence` or
    /// greater. Reads from the end of the log.
    ///
    /// # Errors
    /// [`AuditError::Corrupt`] and [`AuditError::Io`].
    pub fn contains(&mut self, since_sequence: u64, event_id: &str) -> Result<bool, AuditError> {
        self.writer.contains(since_sequence, event_id)
    }

    /// SHA-256 of the last record's line; zeros before the first.
    pub fn head(&self) -> [u8; 32] {
        self.writer.head()
    }

    /// The sequence number that the next record gets.
    pub fn next_sequence(&self) -> u64 {
        self.writer.next_sequence()
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.writer.unlock();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while writing leaves no end behind (see `Writer::append`): it is read again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::verify;
    use std::io;
    use time::OffsetDateTime;

    fn event(id: &str) -> Event {
        Event {
            event_id: id.into(),
            event_time: OffsetDateTime::UNIX_EPOCH,
            event_source: "kms.amazonaws.com".into(),
            event_name: "Encrypt".into(),
            aws_region: String::new(),
            account_id: String::new(),
            user_identity: serde_json::Value::Null.into(),
            source_ip_address: String::new(),
            user_agent: String::new(),
            request_id: String::new(),
            request_parameters: None,
            response_elements: None,
            additional: serde_json::Map::new(),
            resources: vec![],
            read_only: true,
            error: None,
        }
    }

    fn failing(log: &AuditLog) {
        lock(&log.shared.writer).sync = |_| Err(io::ErrorKind::Other.into());
    }

    #[test]
    fn after_a_failed_sync_the_handle_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("audit");
        let log = AuditLog::open(&dir).unwrap();
        log.append(&event("1")).unwrap();
        failing(&log);
        let error = log.append(&event("2")).unwrap_err();
        assert!(matches!(error, AuditError::Io { action: "sync", .. }));
        lock(&log.shared.writer).sync = |_| Ok(());
        assert_eq!(log.append(&event("3")), Err(AuditError::Refusing));
        assert_eq!(log.exclusive().err(), Some(AuditError::Refusing));
        assert_eq!(verify(&dir).unwrap().records, 1);

        let again = AuditLog::open(&dir).unwrap();
        assert_eq!(again.append(&event("4")), Ok(Receipt { sequence: 2 }));
        assert_eq!(verify(&dir).unwrap().records, 2);
    }

    #[test]
    fn a_failed_sync_acknowledges_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        lock(&log.shared.writer).sync = |_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            Err(io::ErrorKind::Other.into())
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| log.append(&event("x")).unwrap_err());
            }
        });
        assert_eq!(verify(dir.path()).unwrap().records, 0);
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        lock(&log.shared.writer).sync = |_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            panic!("as a test")
        };
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let append = || log.append(&event("x"));
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(append)).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        assert!(outcomes.iter().all(|o| !matches!(o, Ok(Ok(_)))));
        lock(&log.shared.writer).sync = |_| Ok(());
        log.append(&event("y")).unwrap();
        verify(dir.path()).unwrap();
    }

    #[test]
    fn who_waits_together_is_synced_together() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        let held = log.exclusive().unwrap();
        std::thread::scope(|scope| {
            for number in 0..32 {
                let log = &log;
                scope.spawn(move || log.append(&event(&number.to_string())).unwrap());
            }
            while lock(&log.shared.queue).records.len() < 31 {
                std::thread::yield_now();
            }
            drop(held);
        });
        // The first took the lead with itself alone.
        assert_eq!(log.syncs(), 2);
        assert_eq!(verify(dir.path()).unwrap().records, 32);
    }

    fn waited(ticket: Ticket) -> Result<Receipt, AuditError> {
        pollster::block_on(ticket)
    }

    #[test]
    fn tickets_are_honoured_together_with_those_who_block() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        let mut sequences: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    let log = &log;
                    scope.spawn(move || {
                        let of = |round: u64| format!("{number}-{round}");
                        let each = (0..50).map(|round| match (number + round) % 2 {
                            0 => log.append(&event(&of(round))).unwrap(),
                            _ => waited(log.submit(&event(&of(round))).unwrap()).unwrap(),
                        });
                        each.map(|receipt| receipt.sequence).collect::<Vec<_>>()
                    })
                })
                .collect();
            let done = threads.into_iter().map(|thread| thread.join().unwrap());
            done.flatten().collect()
        });
        sequences.sort_unstable();
        assert_eq!(sequences, (1..=400).collect::<Vec<_>>());
        assert_eq!(verify(dir.path()).unwrap().records, 400);
    }

    #[test]
    fn what_was_handed_in_is_written_before_the_handle_goes() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        let tickets: Vec<_> = (0..100)
            .map(|number| log.submit(&event(&number.to_string())).unwrap())
            .collect();
        drop(log);
        assert_eq!(verify(dir.path()).unwrap().records, 100);
        for (place, ticket) in (1..).zip(tickets) {
            assert_eq!(waited(ticket), Ok(Receipt { sequence: place }));
        }
    }

    #[test]
    fn tickets_fail_with_their_flush_and_when_the_flusher_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        failing(&log);
        let tickets: Vec<_> = (0..5).map(|_| log.submit(&event("x")).unwrap()).collect();
        assert!(tickets.into_iter().all(|ticket| waited(ticket).is_err()));
        drop(log);

        let log = AuditLog::open(dir.path()).unwrap();
        lock(&log.shared.writer).sync = |_| panic!("as a test");
        assert!(waited(log.submit(&event("x")).unwrap()).is_err());
        while lock(&log.shared.queue).has_flusher {
            std::thread::yield_now();
        }
        assert!(matches!(log.submit(&event("y")), Err(AuditError::Refusing)));
        lock(&log.shared.writer).sync = |_| Ok(());
        // Whoever blocks can go on without it.
        log.append(&event("z")).unwrap();
        verify(dir.path()).unwrap();
    }
}
