//! The thread on which the SDK runs.
//!
//! The SDK needs tokio's reactor and timers; the keyring's futures may be polled by any executor.
//! So the work is spawned on a current-thread runtime of our own, and only its result is awaited.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A tokio runtime on a thread of its own. Dropping it ends the thread without waiting for it.
#[derive(Debug)]
pub(crate) struct Worker {
    handle: Handle,
    /// Never sent: the thread ends when this is dropped.
    _alive: oneshot::Sender<()>,
}

/// The work ended without a result: it panicked, or the thread is gone.
#[derive(Debug, thiserror::Error)]
#[error("the AWS client stopped unexpectedly: {0}")]
pub(crate) struct Lost(String);

impl Worker {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("waxseal-aws".to_owned())
            .spawn(move || {
                // An error means that the sender was dropped, which is the signal to end.
                let _ = runtime.block_on(ended);
                // A name lookup runs on a thread that cannot be stopped; do not wait for it.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            handle,
            _alive: alive,
        })
    }

    /// Runs `work` on the thread. Dropping the returned future stops the work.
    pub(crate) fn run<F>(&self, work: F) -> Running<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Running(self.handle.spawn(work))
    }
}

/// The result of work that runs elsewhere.
#[derive(Debug)]
pub(crate) struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let joined = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(joined.map_err(|error| match error.try_into_panic() {
            Ok(panic) => Lost(panic_text(panic.as_ref())),
            Err(_) => Lost("its thread ended".to_owned()),
        }))
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "it panicked".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    /// An executor without any runtime: proves that a result can be awaited anywhere.
    fn block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
        let mut future = std::pin::pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            std::thread::park();
        }
    }

    #[test]
    fn results_come_back_and_timers_work() {
        let worker = Worker::start().unwrap();
        let result = block_on(worker.run(async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            7
        }));
        assert_eq!(result.unwrap(), 7);
    }

    #[test]
    fn a_panic_is_an_error_that_says_why() {
        let worker = Worker::start().unwrap();
        let lost = block_on(worker.run(async { panic!("for a reason") })).unwrap_err();
        assert!(lost.to_string().ends_with("for a reason"), "{lost}");
        assert_eq!(block_on(worker.run(async { 1 })).unwrap(), 1);
    }

    /// Tells when it is dropped.
    struct Tell(mpsc::Sender<()>);
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    fn endless() -> (impl Future<Output = ()> + Send, mpsc::Receiver<()>) {
        let (sender, dropped) = mpsc::channel();
        let tell = Tell(sender);
        let work = async move {
            let _tell = tell;
            std::future::pending::<()>().await;
        };
        (work, dropped)
    }

    #[test]
    fn work_ends_with_its_future_and_with_the_worker() {
        let worker = Worker::start().unwrap();
        let (work, dropped) = endless();
        drop(worker.run(work));
        dropped.recv_timeout(Duration::from_secs(10)).unwrap();

        let (work, dropped) = endless();
        let running = worker.run(work);
        drop(worker);
        dropped.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(block_on(running).is_err());
    }
}
