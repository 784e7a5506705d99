//! The log as threads and tasks see it: what waits together is written and synced together.
//!
//! Two ways lead in. [`AuditLog::append`] blocks, [`AuditLog::submit`] gives a [`Ticket`], a future.
//! Behind both one thread, the flusher, writes for everybody, so that no one who waits is held up by the
//! disk, and no one is woken but to go on.
//!
//! **Leading.** To wake the flusher and to be woken by it takes as long as many a disk. So whoever calls
//! [`AuditLog::append`], and has nothing to do but wait, writes by itself what waits when nobody else does;
//! what comes meanwhile is the flusher's. Only in a server, where somebody watches and refuses those who
//! wait for a leader that is held up.
//!
//! **Pace.** A server that is busy wins nothing by many small flushes: each costs it time that requests
//! could have. Once it promises to say when it has nothing else to do ([`AuditLog::pace`],
//! [`AuditLog::idle`]), records that come with tickets wait for that, for [`PACED_MAX`] of them, or for
//! [`PACE`], whichever is first.
//!
//! **Patience.** Nobody waits longer than [`STALL`] for a record to be durable: then the batch that
//! they wait for is ended as refused, by whoever waits in [`AuditLog::append`] or, for tickets, by a
//! thread that watches. While a flush takes longer than that, whoever comes is refused at once. When it
//! ends after all, the log goes on by itself; the records that it held are then in the log although
//! their requests were refused. The reverse does not happen.

use super::AuditError;
use super::batch::{Batch, Receipt, Ticket};
use super::event::{Encoded, Event};
use super::writer::{LOCK_WAIT_MAX, Last, Writer};
use crate::turn::{STALL, Taken, Turn};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An audit log that is open for appending. Any number of threads may share it, and any number of
/// processes may have the same folder open.
#[derive(Debug)]
pub struct AuditLog {
    dir: PathBuf,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// The memory of records that were written: threads that free what others allocated would wait for
    /// them.
    spare: Mutex<Vec<Vec<u8>>>,
    writer: Turn<Writer>,
    /// Tells the flusher that there is something to do.
    work: Condvar,
    /// Tells the one who watches that somebody waits.
    watch: Condvar,
    /// Tells whoever lets go of the log that the flusher has ended.
    ended: Condvar,
    /// Whether records come with tickets: a server, which writes much and answers in time.
    is_serving: AtomicBool,
    /// Whether there are records that wait for [`AuditLog::idle`].
    is_pacing: AtomicBool,
    /// Whether whoever has the writer waits for the lock between processes.
    is_locking: AtomicBool,
}

/// Records that wait for the next flush.
#[derive(Debug)]
struct Queue {
    records: Vec<Encoded>,
    batch: Arc<Batch>,
    /// When the first of `records` was handed in.
    since: Instant,
    flight: Option<Flight>,
    /// Why whoever comes is refused at once: the flush under way does not end.
    stalled: Option<AuditError>,
    /// Why the last write failed, if it did.
    trouble: Option<AuditError>,
    /// Whether somebody says when there is nothing else to do.
    is_paced: bool,
    /// Whether what waits is to be written at once.
    is_due: bool,
    has_flusher: bool,
    has_watch: bool,
    /// Whether the flusher waits for work.
    is_idle: bool,
    /// Whether the one who watches waits for somebody to wait.
    is_unwatched: bool,
    is_closed: bool,
}

/// What is being written.
#[derive(Debug)]
struct Flight {
    batch: Arc<Batch>,
    /// When the first of its records was handed in.
    since: Instant,
    /// When the flush began.
    begun: Instant,
}

impl Queue {
    fn new() -> Self {
        Self {
            records: Vec::new(),
            batch: Arc::default(),
            since: Instant::now(),
            flight: None,
            stalled: None,
            trouble: None,
            is_paced: false,
            is_due: false,
            has_flusher: false,
            has_watch: false,
            is_idle: false,
            is_unwatched: false,
            is_closed: false,
        }
    }

    /// Puts a record in, and tells which batch it goes with, and where in it.
    fn push(&mut self, record: Encoded) -> (Arc<Batch>, u64) {
        if self.records.is_empty() {
            self.since = Instant::now();
        }
        let place = self.records.len() as u64;
        self.records.push(record);
        (Arc::clone(&self.batch), place)
    }

    fn take(&mut self) -> (Vec<Encoded>, Arc<Batch>) {
        self.is_due = false;
        (
            std::mem::take(&mut self.records),
            std::mem::take(&mut self.batch),
        )
    }

    /// Whether what waits has waited for others for long enough.
    fn is_overdue(&self) -> bool {
        self.records.len() >= PACED_MAX || self.since.elapsed() >= PACE
    }

    /// Whether the flusher sleeps although there is something for it to do.
    fn wants_flusher(&self) -> bool {
        self.is_due && self.is_idle && self.flight.is_none()
    }

    /// Refuses those whose records are not being written yet.
    fn refuse_waiting(&mut self, error: AuditError) {
        let (_, batch) = self.take();
        batch.end(Err(error));
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
                queue: Mutex::new(Queue::new()),
                spare: Mutex::default(),
                writer: Turn::new(writer),
                work: Condvar::new(),
                watch: Condvar::new(),
                ended: Condvar::new(),
                is_serving: AtomicBool::new(false),
                is_pacing: AtomicBool::new(false),
                is_locking: AtomicBool::new(false),
            }),
            threads: Mutex::default(),
        })
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends segments at another length than [`super::SEGMENT_BYTES_MAX`]. Processes may differ.
    #[must_use]
    pub fn with_segment_bytes_max(self, bytes: u64) -> Self {
        self.shared.writer.wait().segment_bytes_max = bytes;
        self
    }

    /// Appends a record, and returns when it is durable. Records of other threads that wait at the
    /// same time are written and synced together with it.
    ///
    /// A thread that holds an [`Exclusive`] appends through that; here it would wait for itself.
    ///
    /// # Errors
    /// Any [`AuditError`]; the record is then not in the log, or not acknowledged.
    pub fn append(&self, event: &Event<'_>) -> Result<Receipt, AuditError> {
        let record = self.encoded(event)?;
        let mut queue = lock(&self.shared.queue);
        let (batch, place) = self.hand_in(&mut queue, record)?;
        self.shared.write_here(queue);
        let mut limit = STALL;
        loop {
            batch.wait(limit);
            if let Some(receipt) = batch.receipt(place) {
                return receipt;
            }
            limit = self.shared.judge(&mut lock(&self.shared.queue));
        }
    }

    /// Hands a record in. It is durable when the ticket says so.
    ///
    /// # Errors
    /// Any [`AuditError`]; the record is then not in the log.
    pub fn submit(&self, event: &Event<'_>) -> Result<Ticket, AuditError> {
        let record = self.encoded(event)?;
        let mut queue = lock(&self.shared.queue);
        if !queue.has_watch {
            self.shared.is_serving.store(true, Ordering::Relaxed);
            queue.has_watch = true;
            self.start("audit watch", Shared::watch_for_all)
                .inspect_err(|_| queue.has_watch = false)?;
        }
        let (batch, place) = self.hand_in(&mut queue, record)?;
        if !queue.is_paced || queue.is_overdue() {
            self.shared.write_soon(queue);
        } else if !queue.is_due {
            self.shared.is_pacing.store(true, Ordering::Relaxed);
        }
        Ok(Ticket::of(batch, place))
    }

    /// Records that come with tickets wait from now on until somebody says that there is nothing else
    /// to do.
    pub fn pace(&self) {
        lock(&self.shared.queue).is_paced = true;
    }

    /// There is nothing else to do: what waits is written. Costs next to nothing when nothing does.
    pub fn idle(&self) {
        // Whoever hands a record in meanwhile is not idle, and says so when it is.
        if self.shared.is_pacing.load(Ordering::Relaxed) {
            self.shared.write_soon(lock(&self.shared.queue));
        }
    }

    fn encoded(&self, event: &Event<'_>) -> Result<Encoded, AuditError> {
        let spare = lock(&self.shared.spare).pop();
        Encoded::within(event, spare.unwrap_or_default())
    }

    fn hand_in(&self, queue: &mut Queue, record: Encoded) -> Result<(Arc<Batch>, u64), AuditError> {
        if let Some(error) = &queue.stalled {
            return Err(error.clone());
        }
        if !queue.has_flusher {
            queue.has_flusher = true;
            self.start("audit", Shared::flush_for_all)
                .inspect_err(|_| queue.has_flusher = false)?;
        }
        let place = queue.push(record);
        if queue.is_unwatched {
            self.shared.watch.notify_one();
        }
        Ok(place)
    }

    fn start(&self, name: &str, run: fn(&Shared)) -> Result<(), AuditError> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || run(&shared));
        lock(&self.threads).push(started.map_err(|_| AuditError::Refusing)?);
        Ok(())
    }

    /// Takes the lock between processes until the value is dropped: what is done meanwhile, and
    /// recorded through it, happens at one place of the log.
    ///
    /// # Errors
    /// [`AuditError::Busy`] when another process holds it for ten seconds, or for [`STALL`] in a
    /// server; [`AuditError::Stalled`] when another thread here does; and whatever reading the end of
    /// the log meets.
    pub fn exclusive(&self) -> Result<Exclusive<'_>, AuditError> {
        let limit = self.shared.lock_wait_max() + PAUSE;
        let writer = self.shared.writer.take(limit);
        let writer = writer.ok_or_else(|| self.shared.why_stalled())?;
        let held = self.shared.hold(writer);
        held.inspect_err(|error| lock(&self.shared.queue).trouble = Some(error.clone()))
    }

    /// Whether the disk, or another process, has kept the log from going on for longer than [`STALL`].
    pub fn is_stalled(&self) -> bool {
        lock(&self.shared.queue).stalled.is_some() || self.shared.writer.is_stalled()
    }

    /// Whether a record would be written now. When the last one was not, it is tried with a file that
    /// is made and removed beside the segments.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), AuditError> {
        if let Some(error) = &lock(&self.shared.queue).stalled {
            return Err(error.clone());
        }
        let held = self.exclusive()?;
        if lock(&self.shared.queue).trouble.is_some() {
            held.writer.probe()?;
            lock(&self.shared.queue).trouble = None;
        }
        Ok(())
    }

    /// How often this handle made records durable. Fewer times than it has records when threads
    /// append at once.
    pub fn syncs(&self) -> u64 {
        self.shared.writer.wait().syncs
    }
}

impl Drop for AuditLog {
    /// What was handed in is written before the handle goes, unless the disk does not answer.
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.is_closed = true;
        self.shared.work.notify_one();
        while queue.has_flusher && queue.stalled.is_none() {
            let left = self.shared.judge(&mut queue);
            let waited = self.shared.ended.wait_timeout(queue, left);
            (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let is_stuck = queue.has_flusher;
        self.shared.watch.notify_one();
        drop(queue);
        let threads = std::mem::take(&mut *lock(&self.threads));
        if !is_stuck {
            for thread in threads {
                // It says nothing more, not even by a panic: whoever waited was told.
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    /// Has the flusher write what waits as soon as it can. It is woken when the lock is free again: what it
    /// does first is to take it.
    fn write_soon(&self, mut queue: MutexGuard<'_, Queue>) {
        let calls = self.makes_due(&mut queue);
        drop(queue);
        if calls {
            self.work.notify_one();
        }
    }

    /// Says that what waits is to be written. Whether the flusher has to be woken for it.
    fn makes_due(&self, queue: &mut Queue) -> bool {
        self.is_pacing.store(false, Ordering::Relaxed);
        if queue.is_due || queue.records.is_empty() {
            return false;
        }
        queue.is_due = true;
        queue.wants_flusher()
    }

    /// Writes what waits on this thread, unless somebody else writes: then the flusher does.
    fn write_here(&self, queue: MutexGuard<'_, Queue>) {
        let may_lead = queue.has_watch && queue.flight.is_none() && !queue.records.is_empty();
        match may_lead.then(|| self.writer.try_take()).flatten() {
            Some(writer) => {
                self.is_pacing.store(false, Ordering::Relaxed);
                self.flush(queue, || writer);
            }
            None => self.write_soon(queue),
        }
    }

    fn lock_wait_max(&self) -> Duration {
        match self.is_serving.load(Ordering::Relaxed) {
            true => LOCK_WAIT_SERVING_MAX,
            false => LOCK_WAIT_MAX,
        }
    }

    fn why_stalled(&self) -> AuditError {
        match self.is_locking.load(Ordering::Relaxed) {
            true => AuditError::Busy,
            false => AuditError::Stalled,
        }
    }

    /// Takes the lock between processes.
    fn hold<'s>(&'s self, mut writer: Taken<'s, Writer>) -> Result<Exclusive<'s>, AuditError> {
        writer.makes_room = self.is_serving.load(Ordering::Relaxed);
        self.is_locking.store(true, Ordering::Relaxed);
        let locked = writer.wait_for_lock(self.lock_wait_max());
        self.is_locking.store(false, Ordering::Relaxed);
        locked?;
        let mut held = Exclusive {
            shared: self,
            writer,
        };
        held.writer.find_end()?;
        Ok(held)
    }

    /// Refuses those who have waited for as long as one may. How long it is until the next will have.
    fn judge(&self, queue: &mut Queue) -> Duration {
        let now = Instant::now();
        let left = |since: Instant| (since + STALL).saturating_duration_since(now);
        let mut next = STALL;
        if let Some(flight) = &queue.flight {
            let is_locking = self.is_locking.load(Ordering::Relaxed);
            if is_locking && !self.is_serving.load(Ordering::Relaxed) {
                // That has its own limit.
                return PAUSE;
            }
            let error = self.why_stalled();
            match left(flight.begun) {
                Duration::ZERO => queue.stalled = Some(error.clone()),
                left => next = next.min(left),
            }
            match left(flight.since) {
                Duration::ZERO => flight.batch.end(Err(error)),
                left => next = next.min(left),
            }
        }
        match (&queue.stalled, left(queue.since)) {
            _ if queue.records.is_empty() => {}
            (Some(error), _) => queue.refuse_waiting(error.clone()),
            (None, Duration::ZERO) => queue.refuse_waiting(AuditError::Stalled),
            (None, left) => next = next.min(left),
        }
        next
    }

    /// Writes what waits, once the writer is there.
    fn flush<'s>(
        &'s self,
        mut queue: MutexGuard<'_, Queue>,
        writer: impl FnOnce() -> Taken<'s, Writer>,
    ) {
        let (records, batch) = queue.take();
        queue.flight = Some(Flight {
            batch: Arc::clone(&batch),
            since: queue.since,
            begun: Instant::now(),
        });
        drop(queue);
        let mut landing = Landing {
            shared: self,
            batch: &batch,
            trouble: Some(AuditError::Refusing),
        };
        let held = self.hold(writer());
        let written = held.and_then(|mut log| log.writer.append(&records));
        landing.trouble = written.as_ref().err().cloned();
        batch.end(written);
        drop(landing);
        self.keep(records);
    }

    /// Keeps the memory of so many records as a busy server has under way at once.
    fn keep(&self, records: Vec<Encoded>) {
        let mut spare = lock(&self.spare);
        let room = SPARE_MAX.saturating_sub(spare.len());
        let usual = records.into_iter().map(Encoded::into_text);
        let usual = usual.filter(|text| text.capacity() <= SPARE_BYTES_MAX);
        spare.extend(usual.take(room));
    }

    /// Writes what waits, until the log is closed and nothing does.
    fn flush_for_all(&self) {
        let _gone = Gone(self);
        loop {
            let mut queue = lock(&self.queue);
            while queue.flight.is_some() || !(queue.is_due || queue.is_closed) {
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
            self.flush(queue, || self.writer.wait());
        }
    }

    /// Refuses holders of tickets who have waited for too long. In a busy server this wakes by itself each
    /// [`LOOK`], so that nobody who hands a record in has to wake it; it sleeps when nobody has done so for
    /// a second.
    fn watch_for_all(&self) {
        let mut queue = lock(&self.queue);
        let mut quiet = 0;
        while queue.has_flusher || !queue.is_closed {
            let is_quiet = queue.flight.is_none() && queue.records.is_empty();
            quiet = if is_quiet { quiet + 1 } else { 0 };
            if quiet > QUIET_LOOKS {
                quiet = 0;
                queue.is_unwatched = true;
                let waited = self.watch.wait(queue);
                queue = waited.unwrap_or_else(PoisonError::into_inner);
                queue.is_unwatched = false;
                continue;
            }
            let left = self.judge(&mut queue).min(LOOK);
            // Whoever should have said that there is nothing else to do is busy for long.
            if queue.is_overdue() && self.makes_due(&mut queue) {
                self.work.notify_one();
            }
            let waited = self.watch.wait_timeout(queue, left);
            (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Ends a flush, however it ended: nobody may be left waiting.
struct Landing<'a> {
    shared: &'a Shared,
    batch: &'a Batch,
    trouble: Option<AuditError>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.batch.end(Err(AuditError::Refusing));
        let mut queue = lock(&self.shared.queue);
        queue.flight = None;
        queue.stalled = None;
        queue.trouble = self.trouble.take();
        let calls = queue.wants_flusher();
        drop(queue);
        if calls {
            self.shared.work.notify_one();
        }
    }
}

/// The flusher's end, however it ended: those who were handed in are not left waiting for it. Whoever
/// comes next starts another.
struct Gone<'a>(&'a Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.has_flusher = false;
        queue.refuse_waiting(AuditError::Refusing);
        drop(queue);
        self.0.ended.notify_all();
        self.0.watch.notify_one();
    }
}

/// The log, held against every other thread and process.
#[derive(Debug)]
pub struct Exclusive<'a> {
    shared: &'a Shared,
    writer: Taken<'a, Writer>,
}

impl Exclusive<'_> {
    /// Appends a record, and returns when it is durable. However long that takes: the thread is held
    /// up with the disk, while those who wait for it are not.
    ///
    /// # Errors
    /// As [`AuditLog::append`].
    pub fn append(&mut self, event: &Event<'_>) -> Result<Receipt, AuditError> {
        self.write(Encoded::new(event)?)
    }

    /// The same for the record of a change of the store: this and every later record say that it is the
    /// newest one, until there is another.
    pub(crate) fn append_change(&mut self, event: &Event<'_>) -> Result<Receipt, AuditError> {
        let mut record = Encoded::new(event)?;
        record.is_change = true;
        self.write(record)
    }

    fn write(&mut self, record: Encoded) -> Result<Receipt, AuditError> {
        let written = self.writer.append(&[record]);
        lock(&self.shared.queue).trouble = written.as_ref().err().cloned();
        Ok(Receipt { sequence: written? })
    }

    /// Whether the log holds a record of this event whose sequence number is `since_sequence` or
    /// greater. Reads from the end of the log.
    ///
    /// # Errors
    /// [`AuditError::Corrupt`] and [`AuditError::Io`].
    pub fn contains(&mut self, since_sequence: u64, event_id: &str) -> Result<bool, AuditError> {
        Ok(self.find(since_sequence, event_id)?.is_some())
    }

    /// The sequence number of that record.
    pub(crate) fn find(&mut self, since: u64, event_id: &str) -> Result<Option<u64>, AuditError> {
        self.writer.find(since, event_id)
    }

    /// The last record, which is durable.
    pub(crate) fn last(&mut self) -> Result<Last, AuditError> {
        self.writer.last()
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

/// How many records wait for more of them, and for how long, in a server that is busy.
const PACED_MAX: usize = 64;
const PACE: Duration = Duration::from_millis(2);
/// How often it is looked whether somebody has waited for too long, and how often in vain before it is
/// not any more.
const LOOK: Duration = Duration::from_millis(10);
const QUIET_LOOKS: u32 = 100;
/// How much memory of records is kept for others: 256 of 4 KiB at most.
const SPARE_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 4 << 10;
/// How often it is looked again whether the lock between processes was given.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a server waits for that lock: less than anybody waits for a record.
const LOCK_WAIT_SERVING_MAX: Duration = STALL.saturating_sub(PAUSE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::verify;
    use std::fs::File;
    use std::io;
    use std::pin::Pin;
    use std::task::Poll;

    fn event(id: &str) -> Event<'_> {
        Event::blank(id)
    }

    fn synced_by(log: &AuditLog, sync: fn(&File) -> io::Result<()>) {
        log.shared.writer.wait().sync = sync;
    }

    fn failing(log: &AuditLog) {
        synced_by(log, |_| Err(io::ErrorKind::Other.into()));
    }

    fn names(dir: &Path) -> Vec<String> {
        let files = std::fs::read_dir(dir).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "lock").collect();
        names.sort();
        names
    }

    #[test]
    fn after_a_failed_sync_the_log_goes_on_in_a_new_segment_once_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("audit");
        let log = AuditLog::open(&dir).unwrap();
        log.append(&event("1")).unwrap();
        failing(&log);
        for id in ["2", "3"] {
            let error = log.append(&event(id)).unwrap_err();
            assert!(matches!(error, AuditError::Io { action: "sync", .. }));
            assert!(log.exclusive().is_err() && log.check().is_err());
            assert_eq!(verify(&dir).unwrap().records, 1);
        }
        synced_by(&log, |_| Ok(()));
        log.check().unwrap();
        failing(&log);
        assert!(log.append(&event("4")).is_err());
        synced_by(&log, File::sync_data);
        assert_eq!(log.append(&event("5")), Ok(Receipt { sequence: 2 }));
        assert_eq!(log.append(&event("6")), Ok(Receipt { sequence: 3 }));
        assert_eq!(verify(&dir).unwrap().records, 3);
        assert_eq!(
            names(&dir),
            [1, 2].map(|first| format!("{first:020}.jsonl"))
        );
    }

    /// The very first segment: nothing of it was ever acknowledged.
    #[test]
    fn a_first_sync_that_fails_leaves_no_segment() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        failing(&log);
        assert!(log.append(&event("1")).is_err());
        synced_by(&log, File::sync_data);
        assert_eq!(log.append(&event("2")), Ok(Receipt { sequence: 1 }));
        assert_eq!(verify(dir.path()).unwrap().records, 1);
        assert_eq!(names(dir.path()).len(), 1);
    }

    /// What the disk gives back after a failed sync is believed only when it is what was written.
    #[test]
    fn a_log_that_is_another_after_a_failed_sync_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        log.append(&event("1")).unwrap();
        log.append(&event("2")).unwrap();
        failing(&log);
        assert!(log.append(&event("3")).is_err());
        synced_by(&log, File::sync_data);
        let segment = dir.path().join(format!("{:020}.jsonl", 1));
        let whole = std::fs::read_to_string(&segment).unwrap();
        let other = whole.replace("\"eventID\":\"2\"", "\"eventID\":\"x\"");
        assert_ne!(whole, other);
        std::fs::write(&segment, other).unwrap();
        let error = log.append(&event("3")).unwrap_err();
        assert!(matches!(error, AuditError::Corrupt { .. }), "{error}");
        let first = whole.find('\n').unwrap() + 1;
        std::fs::write(&segment, &whole[..first]).unwrap();
        let error = log.append(&event("3")).unwrap_err();
        assert_eq!(error, AuditError::RolledBack { found: 2, known: 2 });
        std::fs::write(&segment, whole).unwrap();
        assert_eq!(log.append(&event("3")), Ok(Receipt { sequence: 3 }));
    }

    /// What is mended goes on in a new segment: another process, which wrote meanwhile, does not go on in
    /// the old one.
    #[test]
    fn a_log_that_was_mended_is_read_again_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = [(); 2].map(|()| AuditLog::open(dir.path()).unwrap());
        one.append(&event("1")).unwrap();
        failing(&one);
        assert!(one.append(&event("2")).is_err());
        assert_eq!(other.append(&event("2")), Ok(Receipt { sequence: 2 }));
        synced_by(&one, File::sync_data);
        assert_eq!(one.append(&event("3")), Ok(Receipt { sequence: 3 }));
        assert_eq!(other.append(&event("4")), Ok(Receipt { sequence: 4 }));
        assert_eq!(one.append(&event("5")), Ok(Receipt { sequence: 5 }));
        assert_eq!(verify(dir.path()).unwrap().records, 5);
    }

    static STUCK: AtomicBool = AtomicBool::new(false);

    fn stuck(file: &File) -> io::Result<()> {
        while STUCK.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        file.sync_data()
    }

    /// Whoever waits for a disk that does not answer is refused in time, whoever comes then at once;
    /// when it answers the log goes on. What was refused may be in it; nothing was answered that is not.
    #[test]
    fn a_stuck_disk_refuses_in_time_and_the_log_goes_on_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        assert!(waited(log.submit(&event("1")).unwrap()).is_ok());
        synced_by(&log, stuck);
        for round in 0..2_u64 {
            STUCK.store(true, Ordering::Relaxed);
            std::thread::scope(|scope| {
                for number in 0..6 {
                    let log = &log;
                    scope.spawn(move || {
                        std::thread::sleep(Duration::from_millis(100 * number));
                        let refused = match number % 3 {
                            0 => waited(log.submit(&event("ticket")).unwrap()).map(drop),
                            1 => log.append(&event("append")).map(drop),
                            _ => log.exclusive().map(drop),
                        };
                        assert_eq!(refused, Err(AuditError::Stalled));
                    });
                }
            });
            assert!(log.is_stalled());
            let begin = Instant::now();
            assert_eq!(log.append(&event("at once")), Err(AuditError::Stalled));
            assert_eq!(
                log.submit(&event("at once")).err(),
                Some(AuditError::Stalled)
            );
            assert_eq!(log.exclusive().err(), Some(AuditError::Stalled));
            assert_eq!(log.check(), Err(AuditError::Stalled));
            assert!(begin.elapsed() < STALL, "it waited");
            STUCK.store(false, Ordering::Relaxed);
            while log.is_stalled() {
                std::thread::yield_now();
            }
            let next = waited(log.submit(&event("next")).unwrap())
                .unwrap()
                .sequence;
            let verified = verify(dir.path()).unwrap();
            assert_eq!(verified.records, next);
            // The one that was being written; those that waited behind it were not.
            assert_eq!(next, 1 + 2 * (round + 1));
            log.check().unwrap();
        }
    }

    /// The holder of the log is held up: those who want it are not.
    #[test]
    fn a_change_that_is_stuck_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        assert!(waited(log.submit(&event("1")).unwrap()).is_ok());
        let held = log.exclusive().unwrap();
        std::thread::scope(|scope| {
            let change = scope.spawn(|| log.exclusive().map(drop));
            let ticket = log.submit(&event("2")).unwrap();
            assert_eq!(change.join().unwrap(), Err(AuditError::Stalled));
            assert_eq!(waited(ticket), Err(AuditError::Stalled));
        });
        assert!(log.is_stalled());
        drop(held);
        while log.is_stalled() {
            std::thread::yield_now();
        }
        assert!(waited(log.submit(&event("3")).unwrap()).is_ok());
        assert_eq!(verify(dir.path()).unwrap().records, 3);
    }

    #[test]
    fn a_failed_sync_acknowledges_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        synced_by(&log, |_| {
            std::thread::sleep(Duration::from_millis(50));
            Err(io::ErrorKind::Other.into())
        });
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
        synced_by(&log, |_| {
            std::thread::sleep(Duration::from_millis(50));
            panic!("as a test")
        });
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let append = || log.append(&event("x"));
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(append)).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        assert!(outcomes.iter().all(|o| !matches!(o, Ok(Ok(_)))));
        synced_by(&log, |_| Ok(()));
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
            let waiting = |queue: &Queue| {
                let flying = queue
                    .flight
                    .iter()
                    .map(|flight| Arc::strong_count(&flight.batch) - 2);
                queue.records.len() + flying.sum::<usize>()
            };
            while waiting(&lock(&log.shared.queue)) < 32 {
                std::thread::yield_now();
            }
            drop(held);
        });
        // Some were taken up at once, the others while those waited.
        assert!(log.syncs() <= 2, "{}", log.syncs());
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

    /// One task of a thread is woken, and wakes the others: also when nobody waits for its ticket by then,
    /// or when it was asked again on another thread.
    #[test]
    fn tasks_wake_each_other_though_one_of_them_goes() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for gone in 0..8 {
            let held = log.exclusive().unwrap();
            let mut tickets: Vec<_> = (0..8)
                .map(|number| log.submit(&event(&number.to_string())).unwrap())
                .collect();
            runtime.block_on(async {
                for ticket in &mut tickets {
                    let polled = std::future::poll_fn(|context| {
                        Poll::Ready(Pin::new(&mut *ticket).poll(context).is_pending())
                    });
                    assert!(polled.await);
                }
            });
            let other = tickets.pop().unwrap();
            let elsewhere = std::thread::spawn(move || waited(other).unwrap());
            let tasks: Vec<_> = tickets
                .into_iter()
                .map(|ticket| runtime.spawn(ticket))
                .collect();
            runtime.block_on(tokio::task::yield_now());
            let aborted = tasks.get(gone).inspect(|task| task.abort()).is_some();
            drop(held);
            runtime.block_on(async {
                for (number, task) in tasks.into_iter().enumerate() {
                    let done = task.await;
                    assert!(done.is_ok() || aborted && number == gone);
                }
            });
            elsewhere.join().unwrap();
        }
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
    fn tickets_wait_until_there_is_nothing_else_to_do_and_not_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(&dir.path().join("audit")).unwrap();
        log.pace();
        let ticket = log.submit(&event("busy")).unwrap();
        log.idle();
        assert_eq!(waited(ticket), Ok(Receipt { sequence: 1 }));
        // Nobody says so: it is written all the same.
        let ticket = log.submit(&event("busy for long")).unwrap();
        assert_eq!(waited(ticket), Ok(Receipt { sequence: 2 }));
        let tickets: Vec<_> = (0..=PACED_MAX)
            .map(|number| log.submit(&event(&number.to_string())).unwrap())
            .collect();
        for (place, ticket) in (3..).zip(tickets) {
            assert_eq!(waited(ticket), Ok(Receipt { sequence: place }));
        }
        // Whoever blocks takes along what waits.
        let ticket = log.submit(&event("ticket")).unwrap();
        assert!(log.append(&event("blocking")).is_ok());
        assert!(matches!(ticket.batch.receipt(0), Some(Ok(_))));
        // And what waits when the log is closed is written.
        let ticket = log.submit(&event("last")).unwrap();
        drop(log);
        assert!(matches!(ticket.batch.receipt(0), Some(Ok(_))));
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
        synced_by(&log, |_| panic!("as a test"));
        assert!(waited(log.submit(&event("x")).unwrap()).is_err());
        while lock(&log.shared.queue).has_flusher {
            std::thread::yield_now();
        }
        synced_by(&log, |_| Ok(()));
        // Whoever comes next starts another.
        waited(log.submit(&event("y")).unwrap()).unwrap();
        log.append(&event("z")).unwrap();
        verify(dir.path()).unwrap();
    }
}
