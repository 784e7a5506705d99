//! Messages through asynchronous readers and writers.
#![allow(clippy::panic, clippy::unwrap_used, reason = "test code")]

mod message_support;

use message_support::*;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use waxseal::message::{
    Incoming, Limits, OpenError, Release, SealError, Sealer, Suite, Totals, seal_async,
};

/// Gives and takes a few bytes at a time, and every other time nothing yet.
struct Slow<T> {
    inner: T,
    step_bytes: usize,
    /// After as many bytes, an error.
    fails_after: Option<usize>,
    through: usize,
    waits: bool,
}

impl<T> Slow<T> {
    fn new(inner: T, step_bytes: usize) -> Self {
        Self {
            inner,
            step_bytes,
            fails_after: None,
            through: 0,
            waits: false,
        }
    }

    fn failing(inner: T, fails_after: usize) -> Self {
        Self {
            fails_after: Some(fails_after),
            ..Self::new(inner, 100)
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waits = !self.waits;
        if self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.fails_after {
            Some(bytes) if self.through >= bytes => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Slow<&[u8]> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        std::task::ready!(me.poll(cx))?;
        let (now, later) = me
            .inner
            .split_at(me.step_bytes.min(me.inner.len()).min(buffer.remaining()));
        buffer.put_slice(now);
        me.inner = later;
        me.through += now.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow<Vec<u8>> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let me = &mut *self;
        std::task::ready!(me.poll(cx))?;
        let taken = bytes.len().min(me.step_bytes);
        me.inner.extend_from_slice(&bytes[..taken]);
        me.through += taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn open_from(
    message: impl AsyncRead + Unpin,
    plaintext: &mut (impl AsyncWrite + Unpin),
) -> Result<Totals, OpenError> {
    let incoming = Incoming::read_async(message, &Limits::default()).await?;
    let opener = incoming.open(&keyring(), &lenient()).await?;
    opener.open_async(plaintext, Release::Unverified).await
}

#[test]
fn slow_ends_agree_with_streams() {
    pollster::block_on(async {
        for suite in Suite::all() {
            for (frame_bytes, size, step) in [
                (1, 3, 1),
                (7, 0, 1),
                (128, 128, 1),
                (128, 1000, 1),
                (4096, 20_000, 13),
                (65_536, 1_000_000, 70_000),
                (1 << 20, 3_000_000, 1 << 20),
            ] {
                let plaintext = pattern(size);
                let mut message = Slow::new(Vec::new(), step);
                let mut source = Slow::new(&plaintext[..], step);
                let sealer = sealer(suite, frame_bytes);
                let expected = sealer.message_bytes(size as u64);
                let totals = seal_async(sealer, &mut source, &mut message).await.unwrap();
                assert_eq!(Some(totals.message_bytes), expected);
                let message = message.inner;
                assert!(open(&message).1 == plaintext);
                let mut out = Slow::new(Vec::new(), step);
                let opened = open_from(Slow::new(&message[..], step), &mut out).await;
                assert_eq!(opened.unwrap(), totals);
                assert!(out.inner == plaintext);
            }
        }
    });
}

#[test]
fn altered_messages_are_refused() {
    let plaintext = pattern(200);
    pollster::block_on(async {
        for suite in COMMITTING {
            let sealed = seal(suite, 64, &plaintext);
            let cuts = (0..sealed.len()).map(|len| sealed[..len].to_vec());
            let flips = (0..sealed.len() * 8).step_by(3).map(|bit| {
                let mut altered = sealed.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                altered
            });
            let longer = [
                [&sealed[..], &[0]].concat(),
                [&sealed[..], &sealed].concat(),
            ];
            for altered in cuts.chain(flips).chain(longer) {
                let mut out = Slow::new(Vec::new(), 1000);
                let opened = open_from(Slow::new(&altered[..], 50), &mut out).await;
                assert!(opened.is_err());
                let out = out.inner;
                assert!(out.len() < plaintext.len() && plaintext.starts_with(&out));
            }
        }
    });
}

#[test]
fn errors_of_either_end_are_told() {
    pollster::block_on(async {
        let plaintext = pattern(10_000);
        let sealed = seal(Suite::COMMITTING, 64, &plaintext);
        for after in [0, 100, 5000] {
            let sealer = || sealer(Suite::COMMITTING, 64);
            let mut whole = Slow::new(Vec::new(), 100);
            let mut source = Slow::failing(&plaintext[..], after);
            let error = seal_async(sealer(), &mut source, &mut whole).await;
            assert!(matches!(error, Err(SealError::Read(_))));
            assert!(open(&whole.inner).0.is_err());
            let mut target = Slow::failing(Vec::new(), after);
            let error = seal_async(sealer(), &mut &plaintext[..], &mut target).await;
            assert!(matches!(error, Err(SealError::Write(_))));
            let error = open_from(Slow::failing(&sealed[..], after), &mut whole).await;
            assert!(matches!(error, Err(OpenError::Read(_))));
            let mut target = Slow::failing(Vec::new(), after);
            let error = open_from(&sealed[..], &mut target).await;
            assert!(matches!(error, Err(OpenError::Write(_))));
        }
    });
}

/// Polls a future so many times and drops it.
fn cancelled<F: Future>(future: F, polls: usize) {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(std::task::Waker::noop());
    for _ in 0..polls {
        if future.as_mut().poll(&mut context).is_ready() {
            return;
        }
    }
}

#[test]
fn what_is_cancelled_claims_nothing() {
    let plaintext = pattern(1000);
    for suite in COMMITTING {
        let sealed = seal(suite, 64, &plaintext);
        let mut whole = 0;
        for polls in 0..60 {
            let mut message = Slow::new(Vec::new(), 100);
            let mut source = Slow::new(&plaintext[..], 100);
            cancelled(
                seal_async(sealer(suite, 64), &mut source, &mut message),
                polls,
            );
            let (result, out) = open(&message.inner);
            match result {
                Ok(_) => whole += 1,
                Err(error) => assert!(matches!(error, OpenError::Truncated)),
            }
            assert!(plaintext.starts_with(&out));
            let mut out = Slow::new(Vec::new(), 100);
            cancelled(open_from(Slow::new(&sealed[..], 100), &mut out), polls);
            assert!(plaintext.starts_with(&out.inner));
        }
        assert!((1..60).contains(&whole), "{whole}");
    }
}

/// Tasks of a runtime with several threads may hold these.
#[test]
fn the_futures_may_change_threads() {
    fn sent<T: Send>(value: T) -> T {
        value
    }
    pollster::block_on(sent(async {
        let mut message = Vec::new();
        let (keyring, options) = (keyring(), options(Suite::COMMITTING_SIGNED, 64));
        let sealer = Sealer::new(&keyring, options, &waxseal::SystemEntropy).await;
        let sealed = seal_async(sealer.unwrap(), &mut &b"text"[..], &mut message).await;
        sealed.unwrap();
        let mut out = Vec::new();
        open_from(&message[..], &mut out).await.unwrap();
        assert_eq!(out, b"text");
    }));
}
