//! Some threads that do what the walk finds.
//!
//! Small files are handed out many at a time: a lock a file, and two threads in one directory,
//! cost more than the file. How many follows from how long the last ones took, and whoever turns
//! out to hold too much gives the rest back.

use super::Item;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most threads unless more are asked for.
const THREADS_MAX_DEFAULT: usize = 16;
/// The most that a worker takes at once.
const PORTION_MAX: usize = 128;
/// A portion that took less lets the next one be larger.
const PORTION_SHORT: Duration = Duration::from_millis(4);
/// A portion that takes longer is given back.
const PORTION_LONG: Duration = Duration::from_millis(16);

/// One thread's part.
pub(crate) trait Worker {
    /// Does one thing; `at` is its place in the walk.
    fn work(&mut self, at: usize, item: Item);

    /// There is nothing more.
    fn finish(&mut self);
}

/// How many threads work, when `asked` for so many or none in particular.
pub(crate) fn thread_count(asked: Option<u16>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    asked.map_or_else(|| cores().min(THREADS_MAX_DEFAULT), usize::from)
}

/// Has every item done by one of `threads` workers.
pub(crate) fn run<W: Worker>(
    items: impl Iterator<Item = Item> + Send,
    threads: usize,
    hire: impl Fn() -> W + Sync,
) {
    let queue = Mutex::new(Queue {
        walk: items.enumerate(),
        returned: VecDeque::new(),
    });
    let part = || {
        let mut worker = hire();
        serve(&queue, &mut worker);
        worker.finish();
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(part);
        }
        part();
    });
}

struct Queue<I> {
    walk: I,
    /// Taken and given back.
    returned: VecDeque<(usize, Item)>,
}

fn serve<I: Iterator<Item = (usize, Item)>>(queue: &Mutex<Queue<I>>, worker: &mut impl Worker) {
    let mut portion = VecDeque::with_capacity(PORTION_MAX);
    let mut size = 1;
    loop {
        {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.take(&mut portion, size);
        }
        if portion.is_empty() {
            return;
        }
        let begin = Instant::now();
        while let Some((at, item)) = portion.pop_front() {
            worker.work(at, item);
            if begin.elapsed() > PORTION_LONG && !portion.is_empty() {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.returned.extend(portion.drain(..));
            }
        }
        size = match begin.elapsed() {
            short if short < PORTION_SHORT => (size * 2).min(PORTION_MAX),
            long if long > PORTION_LONG => 1,
            _ => size,
        };
    }
}

impl<I: Iterator<Item = (usize, Item)>> Queue<I> {
    /// Up to `size` items; fewer where another directory begins.
    fn take(&mut self, portion: &mut VecDeque<(usize, Item)>, size: usize) {
        while portion.len() < size {
            match self.returned.pop_front().or_else(|| self.walk.next()) {
                Some((at, item)) => {
                    let begins = matches!(item, Item::Directory { .. });
                    portion.push_back((at, item));
                    if begins && portion.len() > 1 {
                        return;
                    }
                }
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Slow<'a> {
        seen: &'a Mutex<BTreeSet<usize>>,
        finished: &'a AtomicUsize,
    }

    impl Worker for Slow<'_> {
        fn work(&mut self, at: usize, item: Item) {
            assert!(matches!(item, Item::Stale(path) if path == PathBuf::from(at.to_string())));
            if at % 500 == 499 {
                std::thread::sleep(2 * PORTION_LONG);
            }
            assert!(self.seen.lock().unwrap().insert(at));
        }

        fn finish(&mut self) {
            self.finished.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn everything_is_done_once() {
        for threads in [1, 3] {
            let (seen, finished) = (Mutex::default(), AtomicUsize::new(0));
            let items = (0..2000).map(|at: usize| Item::Stale(at.to_string().into()));
            run(items, threads, || Slow {
                seen: &seen,
                finished: &finished,
            });
            assert_eq!(seen.into_inner().unwrap().len(), 2000);
            assert_eq!(finished.into_inner(), threads);
        }
    }
}
