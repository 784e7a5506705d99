//! Progress on a terminal's stderr: bytes, rate and remaining time.

use indicatif::{BinaryBytes, FormattedDuration, ProgressBar, ProgressStyle};
use std::io::{self, IoSliceMut, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use waxseal::message::ReadAt;

/// Nothing is shown before so many bytes have been read…
const BYTES_MIN: u64 = 8 << 20;
/// …and so much time has passed: work that is over at once has no progress.
const DELAY: Duration = Duration::from_millis(400);

/// Counts bytes as they are read and shows them once it takes a while.
#[derive(Clone)]
pub(crate) struct Progress(Option<Arc<Shown>>);

struct Shown {
    started: Instant,
    read_bytes: AtomicU64,
    total_bytes: Option<u64>,
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress {
    /// Shows nothing.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// `total_bytes` is what will be read, where it is known.
    pub(crate) fn new(visible: bool, total_bytes: Option<u64>) -> Self {
        let small = total_bytes.is_some_and(|bytes| bytes < BYTES_MIN);
        Self((visible && !small).then(|| {
            Arc::new(Shown {
                started: Instant::now(),
                read_bytes: AtomicU64::new(0),
                total_bytes,
                bar: Mutex::new(None),
            })
        }))
    }

    /// Counts what is read through the returned reader.
    pub(crate) fn watch<R>(&self, reader: R) -> Watched<R> {
        Watched {
            reader,
            progress: self.clone(),
        }
    }

    /// So many bytes will be read a second time.
    pub(crate) fn discount(&self, bytes: u64) {
        if let Some(shown) = &self.0 {
            let read = &shown.read_bytes;
            let _ = read.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |read| {
                Some(read.saturating_sub(bytes))
            });
        }
    }

    /// Runs `tell` while the bar is out of its way.
    pub(crate) fn suspended(&self, tell: impl FnOnce()) {
        let bar = self.0.as_ref().and_then(|shown| shown.bar().clone());
        match bar {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = self.0.as_ref().and_then(|shown| shown.bar().take()) {
            bar.finish_and_clear();
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some(shown) = &self.0 {
            shown.advance(bytes);
        }
    }
}

impl Shown {
    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, bytes: u64) {
        let before = self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        let read = before + bytes;
        // Looking at the clock and the bar once a MiB is often enough.
        if read < BYTES_MIN || before >> 20 == read >> 20 || self.started.elapsed() < DELAY {
            return;
        }
        let mut shown = self.bar();
        let bar = shown.get_or_insert_with(|| bar(self.total_bytes, self.started));
        bar.set_message(pace(read, self.total_bytes, self.started.elapsed()));
        bar.set_position(read);
    }
}

/// The mean rate since the start, and what it makes of the rest. (The bar's own estimate begins
/// when it is first shown, and takes all that was read until then for the work of a moment.)
fn pace(read: u64, total_bytes: Option<u64>, elapsed: Duration) -> String {
    let rate = read as f64 / elapsed.as_secs_f64().max(0.001);
    let told = format!("{}/s", BinaryBytes(rate as u64));
    match total_bytes {
        Some(total) => {
            let seconds = total.saturating_sub(read) as f64 / rate.max(1.0);
            let left = Duration::from_secs(seconds.ceil() as u64);
            format!("{told}  {} left", FormattedDuration(left))
        }
        None => told,
    }
}

fn bar(total_bytes: Option<u64>, started: Instant) -> ProgressBar {
    let (bar, template) = match total_bytes {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:30} {bytes}/{total_bytes}  {msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {bytes}  {msg}  {elapsed}",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_elapsed(started.elapsed())
}

/// A reader whose bytes are counted.
pub(crate) struct Watched<R> {
    reader: R,
    progress: Progress,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read(buffer)?;
        self.progress.advance(bytes as u64);
        Ok(bytes)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let bytes = self.reader.read_vectored(buffers)?;
        self.progress.advance(bytes as u64);
        Ok(bytes)
    }
}

impl<R: ReadAt> ReadAt for Watched<R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.reader.read_at(buffer, offset)?;
        self.progress.advance(bytes as u64);
        Ok(bytes)
    }

    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        let bytes = self.reader.read_vectored_at(buffers, offset)?;
        self.progress.advance(bytes as u64);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_the_mean_since_the_start() {
        let half = pace(512 << 20, Some(1 << 30), Duration::from_secs(4));
        assert_eq!(half, "128.00 MiB/s  00:00:04 left");
        assert_eq!(pace(1 << 20, None, Duration::from_secs(1)), "1.00 MiB/s");
        assert!(pace(0, Some(10), Duration::ZERO).ends_with("00:00:10 left"));
    }
}
