//! Progress on a terminal's stderr: bytes, rate and remaining time.

use indicatif::{BinaryBytes, FormattedDuration, ProgressBar, ProgressStyle};
use std::io::{self, IoSliceMut, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

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

    /// Counts what is read through the returned reader. `file_bytes` is the length of a regular
    /// file: its end is known from a read that stops there, and not asked for again.
    pub(crate) fn watch<R: Read>(&self, reader: R, file_bytes: Option<u64>) -> Watched<R> {
        Watched {
            reader,
            progress: self.clone(),
            left_bytes: file_bytes,
            at_end: false,
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
    /// What a regular file had when it was opened and was not read yet.
    left_bytes: Option<u64>,
    at_end: bool,
}

impl<R> Watched<R> {
    /// A regular file that gives less than there is room for has come to its end (read(2)).
    fn count(&mut self, bytes: usize, room_bytes: usize) {
        self.left_bytes = self
            .left_bytes
            .and_then(|left| left.checked_sub(bytes as u64));
        self.at_end = self.left_bytes == Some(0) && bytes < room_bytes;
        self.progress.advance(bytes as u64);
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at_end {
            return Ok(0);
        }
        let bytes = self.reader.read(buffer)?;
        self.count(bytes, buffer.len());
        Ok(bytes)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.at_end {
            return Ok(0);
        }
        let bytes = self.reader.read_vectored(buffers)?;
        let room_bytes = buffers.iter().map(|buffer| buffer.len()).sum();
        self.count(bytes, room_bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its pieces one a read, and fails when it is asked once more.
    struct Pieces(Vec<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::ErrorKind::Other.into());
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn the_end_of_a_file_is_not_asked_for_twice() {
        let all = |pieces: &[&'static [u8]], file_bytes| {
            let mut read = 0;
            let progress = Progress::new(false, None);
            let mut reader = progress.watch(Pieces(pieces.to_vec()), file_bytes);
            loop {
                match reader.read(&mut [0; 4])? {
                    0 => return io::Result::Ok(read),
                    bytes => read += bytes,
                }
            }
        };
        assert_eq!(all(&[b"abcd", b"ab"], Some(6)).unwrap(), 6);
        // A full read may have more behind it, and a file may have grown or shrunk.
        assert!(all(&[b"abcd"], Some(4)).is_err());
        assert_eq!(all(&[b"abcd", b""], Some(4)).unwrap(), 4);
        assert_eq!(all(&[b"abcd", b"abc", b""], Some(6)).unwrap(), 7);
        assert_eq!(all(&[b"ab", b""], Some(6)).unwrap(), 2);
        assert_eq!(all(&[b"ab", b""], None).unwrap(), 2);
    }

    #[test]
    fn the_pace_is_the_mean_since_the_start() {
        let half = pace(512 << 20, Some(1 << 30), Duration::from_secs(4));
        assert_eq!(half, "128.00 MiB/s  00:00:04 left");
        assert_eq!(pace(1 << 20, None, Duration::from_secs(1)), "1.00 MiB/s");
        assert!(pace(0, Some(10), Duration::ZERO).ends_with("00:00:10 left"));
    }
}
