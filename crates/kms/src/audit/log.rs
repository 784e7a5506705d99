//! The log as threads see it: whoever finds no flush in progress writes for all who wait.

use super::AuditError;
use super::event::{Encoded, Event};
use super::writer::Writer;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// An audit log that is open for appending. Any number of threads may share it, and any number of
/// processes may have the same folder open.
#[derive(Debug)]
pub struct AuditLog {
    dir: PathBuf,
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
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
    records: Vec<Encoded>,
    batch: Arc<Batch>,
}

/// Those who wait for one flush.
#[derive(Debug, Default)]
struct Batch {
    /// The sequence number of the first record.
    outcome: OnceLock<Result<u64, AuditError>>,
    wake: Condvar,
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
            queue: Mutex::default(),
            writer: Mutex::new(writer),
        })
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends segments at another length than [`super::SEGMENT_BYTES_MAX`]. Processes may differ.
    #[must_use]
    pub fn with_segment_bytes_max(self, bytes: u64) -> Self {
        lock(&self.writer).segment_bytes_max = bytes;
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
        let mut queue = lock(&self.queue);
        let place = queue.records.len() as u64;
        queue.records.push(record);
        let batch = Arc::clone(&queue.batch);
        while queue.flushing && batch.outcome.get().is_none() {
            queue = batch
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if batch.outcome.get().is_none() {
            self.lead(queue, &batch);
        } else {
            drop(queue);
        }
        match batch.outcome.get() {
            Some(Ok(first)) => Ok(Receipt {
                sequence: first + place,
            }),
            Some(Err(error)) => Err(error.clone()),
            None => Err(AuditError::Refusing),
        }
    }

    /// Takes the lock between processes until the value is dropped: what is done meanwhile, and
    /// recorded through it, happens at one place of the log.
    ///
    /// # Errors
    /// [`AuditError::Busy`] when another process holds it for ten seconds, and whatever reading
    /// the end of the log meets.
    pub fn exclusive(&self) -> Result<Exclusive<'_>, AuditError> {
        let mut writer = lock(&self.writer);
        writer.lock()?;
        Ok(Exclusive { writer })
    }

    /// How often this handle made records durable. Fewer times than it has records when threads
    /// append at once.
    pub fn syncs(&self) -> u64 {
        lock(&self.writer).syncs
    }

    fn lead(&self, mut queue: MutexGuard<'_, Queue>, batch: &Arc<Batch>) {
        queue.flushing = true;
        let records = std::mem::take(&mut queue.records);
        queue.batch = Arc::default();
        drop(queue);
        let _landing = Landing { log: self, batch };
        let outcome = self.flush(&records);
        let _ = batch.outcome.set(outcome);
    }

    fn flush(&self, records: &[Encoded]) -> Result<u64, AuditError> {
        self.exclusive()?.writer.append(records)
    }
}

/// Ends a flush, however it ended: nobody may be left waiting.
struct Landing<'a> {
    log: &'a AuditLog,
    batch: &'a Batch,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.log.queue);
        queue.flushing = false;
        self.batch.outcome.get_or_init(|| Err(AuditError::Refusing));
        // One of the next batch takes the lead.
        queue.batch.wake.notify_one();
        drop(queue);
        self.batch.wake.notify_all();
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
            user_identity: serde_json::Value::Null,
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
        lock(&log.writer).sync = |_| Err(io::ErrorKind::Other.into());
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
        lock(&log.writer).sync = |_| Ok(());
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
        lock(&log.writer).sync = |_| {
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
        lock(&log.writer).sync = |_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            panic!("as a test")
        };
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let append = || log.append(&event("x"));
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(append)).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        assert!(outcomes.iter().all(|o| !matches!(o, Ok(Ok(_)))));
        lock(&log.writer).sync = |_| Ok(());
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
            while lock(&log.queue).records.len() < 31 {
                std::thread::yield_now();
            }
            drop(held);
        });
        // The first took the lead with itself alone.
        assert_eq!(log.syncs(), 2);
        assert_eq!(verify(dir.path()).unwrap().records, 32);
    }
}
