//! Threads that serve connections, each its own from beginning to end: what a connection needs stays in
//! the caches of one core, and its tasks wake each other without asking another thread.

use crate::count::Count;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use waxseal_core::secret::wipe_stack;

/// How often what requests left on the stack of a thread is overwritten.
const WIPE: Duration = Duration::from_millis(500);

/// One thread for each core. They end, and what runs on them, when this goes.
#[derive(Debug)]
pub(crate) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// How many tasks were given to it, and have not ended.
    load: Count,
    _until: oneshot::Sender<()>,
}

impl Workers {
    /// `idle` is called by each whenever it has nothing to do.
    ///
    /// # Errors
    /// When there can be no threads.
    pub(crate) fn start(idle: impl Fn() + Clone + Send + Sync + 'static) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |number| Worker::start(number, idle.clone());
        (0..cores).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Runs a task on the thread that has least to do.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let load = |worker: &&Worker| worker.load.now();
        if let Some(worker) = self.0.iter().min_by_key(load) {
            let busy = worker.load.one();
            worker.runtime.spawn(async move {
                task.await;
                drop(busy);
            });
        }
    }
}

impl Worker {
    fn start(number: usize, idle: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(idle)
            .build()?;
        let handle = runtime.handle().clone();
        let (until, over) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(format!("worker {number}"));
        thread.spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = over => {}
                    () = wipes() => {}
                }
            });
        })?;
        Ok(Self {
            runtime: handle,
            load: Count::default(),
            _until: until,
        })
    }
}

/// Overwrites what is left on the stack of the thread, again and again. The tasks of a thread are called
/// from where this is.
async fn wipes() {
    loop {
        tokio::time::sleep(WIPE).await;
        wipe_stack();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::{Arc, Mutex};

    #[test]
    fn tasks_go_to_the_thread_that_has_least_to_do_and_end_with_it() {
        let workers = Workers::start(|| {}).unwrap();
        let cores = workers.0.len();
        let threads = Arc::new(Mutex::new(Vec::new()));
        let (told, hear) = std::sync::mpsc::channel();
        for _ in 0..2 * cores {
            let (threads, told) = (threads.clone(), told.clone());
            workers.spawn(async move {
                threads.lock().unwrap().push(std::thread::current().id());
                told.send(()).unwrap();
                std::future::pending::<()>().await;
            });
        }
        for _ in 0..2 * cores {
            hear.recv().unwrap();
        }
        let loads = workers.0.iter().map(|worker| worker.load.now());
        assert!(
            loads.clone().all(|load| load == 2),
            "{:?}",
            loads.collect::<Vec<_>>()
        );
        let distinct: HashSet<_> = threads.lock().unwrap().iter().copied().collect();
        assert_eq!(distinct.len(), cores);
        let loads: Vec<_> = workers.0.iter().map(|w| w.load.clone()).collect();
        drop(workers);
        while loads.iter().any(|load| load.now() > 0) {
            std::thread::yield_now();
        }
    }
}
