//! Connections: HTTP/1.1 and HTTP/2, with TLS or on loopback addresses.

use crate::count::Count;
use crate::front::{Front, Peer, Reply, failing};
use crate::metrics::Metrics;
use crate::tls::{Tls, TlsError};
use crate::workers::Workers;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinHandle};
use waxseal_core::SecretBytes;
use waxseal_core::secret::{SecretWriter, wipe_stack};
use waxseal_kms_api::sigv4::SignedRequest;
use waxseal_kms_api::{ErrorCode, KmsError, wire};

/// Connections at once; more are closed as they come, but for the first one of an address.
pub const CONNECTIONS_MAX: usize = 4_096;
/// First connections of an address beyond all others: whoever watches the server is let in while a few
/// addresses hold all there is.
pub const CONNECTIONS_RESERVED: usize = 128;
/// Connections at once from one address; more are closed as they come.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 1_024;
/// How long a TLS handshake may take.
pub const HANDSHAKE_SECONDS: u64 = 10;
/// How often it is looked whether keys are due for rotation or removal.
pub const TEND_SECONDS: u64 = 60;
/// How often the audit log's end is signed, when records came since.
pub const CHECKPOINT_SECONDS: u64 = 5;
/// How often it is looked whether certificates were replaced. SIGHUP has it done at once.
pub const RELOAD_SECONDS: u64 = 30;
/// Requests in the engine at once: each has a thread, and all of them share one sync of the audit
/// log. More are answered with `ThrottlingException`.
pub const REQUESTS_MAX: usize = 256;
/// How long a connection may be idle, or take for its headers.
pub const HEADER_SECONDS: u64 = 30;
/// How long a request's body may take.
pub const BODY_SECONDS: u64 = 10;
/// How long requests that are under way are waited for at the end.
pub const DRAIN_SECONDS: u64 = 10;
/// A body as long as this is kept without growing; a longer one has to come before there is room for it.
const BODY_BYTES_USUAL: usize = 4 * 1024;
/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// How often a request that waits for a thread looks whether the disk holds it up.
const STALL_LOOK: Duration = Duration::from_millis(50);
/// What is said when it does.
const STALLED: &str = "the disk of the audit log or of the store does not answer";
/// Threads for those who look how the server is, when all others are held up.
const LOOKERS_MAX: usize = 8;
/// How long to wait when no connection can be accepted, for want of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where to listen.
#[derive(Debug)]
pub struct Door {
    /// Port 0 takes one that is free.
    pub address: SocketAddr,
    /// Certificate and key; without them the address must be a loopback address.
    pub tls: Option<Tls>,
}

/// What those who run the server are told while it runs.
#[derive(Debug)]
pub enum Notice {
    /// Connections are accepted at this address.
    Listening(SocketAddr),
    /// Certificates were replaced, and new connections see the new ones.
    Reloaded,
    /// Certificates were replaced by something that is none; the old ones are shown still.
    ReloadFailed(TlsError),
    /// Keys that are due for rotation or removal wait: what came due could not be done.
    TendFailed(KmsError),
    /// The end of the audit log could not be signed; told once, until it can again.
    CheckpointFailed(KmsError),
}

/// Listens.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for an address that is no loopback address when there is no
/// TLS: requests and answers would cross the network in the clear. As the system says otherwise.
pub async fn bind(address: SocketAddr, with_tls: bool) -> io::Result<TcpListener> {
    if !with_tls && !address.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "plain HTTP is served on loopback addresses only",
        ));
    }
    TcpListener::bind(address).await
}

/// Serves until SIGTERM or SIGINT. `told` hears the address once connections are accepted, with
/// the port that was free where 0 was asked for, and what happens to certificates.
///
/// # Errors
/// As [`bind`], and when there can be no threads or signal handlers.
pub fn run(door: Door, front: Arc<Front>, told: impl Fn(Notice)) -> io::Result<()> {
    front.pace();
    let idle = front.clone();
    let workers = Workers::start(move || idle.idle())?;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime
        .enable_all()
        .max_blocking_threads(REQUESTS_MAX + LOOKERS_MAX);
    runtime.build()?.block_on(async {
        let listener = bind(door.address, door.tls.is_some()).await?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        told(Notice::Listening(listener.local_addr()?));
        let tls = door.tls.map(Arc::new);
        let reloads = async {
            loop {
                let pause = tokio::time::sleep(Duration::from_secs(RELOAD_SECONDS));
                tokio::select! {
                    _ = hangup.recv() => {}
                    () = pause => {}
                }
                match tls.as_ref().map(|tls| tls.reload()) {
                    Some(Ok(true)) => told(Notice::Reloaded),
                    Some(Err(error)) => told(Notice::ReloadFailed(error)),
                    Some(Ok(false)) | None => {}
                }
            }
        };
        let tends = async {
            loop {
                let front = front.clone();
                let tended = tokio::task::spawn_blocking(move || front.tend()).await;
                if let Ok(Err(error)) = tended {
                    told(Notice::TendFailed(error));
                }
                tokio::time::sleep(Duration::from_secs(TEND_SECONDS)).await;
            }
        };
        let checkpoints = async {
            let mut was_well = true;
            loop {
                tokio::time::sleep(Duration::from_secs(CHECKPOINT_SECONDS)).await;
                let signing = front.clone();
                let signed = tokio::task::spawn_blocking(move || signing.checkpoint()).await;
                let failed = signed.ok().and_then(Result::err);
                let is_well = failed.is_none();
                if let Some(error) = failed.filter(|_| was_well) {
                    told(Notice::CheckpointFailed(error));
                }
                was_well = is_well;
            }
        };
        let stop = async {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
                () = reloads => {}
                () = tends => {}
                () = checkpoints => {}
            }
        };
        serve(listener, tls.clone(), front.clone(), &workers, stop).await;
        let last = front.clone();
        let signed = tokio::task::spawn_blocking(move || last.checkpoint()).await;
        if let Ok(Err(error)) = signed {
            told(Notice::CheckpointFailed(error));
        }
        Ok(())
    })
}

/// Serves until `stop` is ready; then lets requests that are under way come to their end, for
/// [`DRAIN_SECONDS`] at most.
async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    front: Arc<Front>,
    workers: &Workers,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Places::default());
    let host = Arc::new(Host {
        metrics: front.metrics().clone(),
        service: Service {
            front,
            requests: Count::default(),
            threads: Handle::current(),
        },
        builder: builder(),
    });
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        // Answers are written whole: nothing is gained by waiting for more.
        let ready = accepted.and_then(|(stream, peer)| {
            stream.set_nodelay(true)?;
            // It is to be watched by the worker that it is for.
            Ok((stream.into_std()?, peer.ip()))
        });
        let Ok((stream, from)) = ready else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = places.take(from) else {
            host.metrics.refused_connection();
            continue;
        };
        let (host, tls, watcher) = (host.clone(), tls.clone(), graceful.watcher());
        workers.spawn(async move {
            let _open = (place, host.metrics.connection());
            let Ok(stream) = TcpStream::from_std(stream) else {
                return;
            };
            match tls {
                None => host.talk(stream, from, watcher).await,
                Some(tls) => {
                    if let Some(stream) = handshake(&tls, stream).await {
                        host.talk(stream, from, watcher).await;
                    }
                }
            }
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(Duration::from_secs(DRAIN_SECONDS), graceful.shutdown());
    drop(drained.await);
}

async fn handshake(
    tls: &Tls,
    stream: TcpStream,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let limit = Duration::from_secs(HANDSHAKE_SECONDS);
    let done = tokio::time::timeout(limit, tls.acceptor().accept(stream)).await;
    done.ok()?.ok()
}

/// What connections share.
struct Host {
    service: Service,
    builder: Builder<TokioExecutor>,
    metrics: Arc<Metrics>,
}

impl Host {
    /// Answers the requests of one connection. When it breaks, there is nobody to be told.
    async fn talk<S>(&self, stream: S, from: IpAddr, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let call = Arc::new(Call {
            service: self.service.clone(),
            from: Peer::from(from),
            pulse: Pulse::new(),
        });
        let answer = service_fn(|request| {
            let call = call.clone();
            async move {
                let busy = call.pulse.busy();
                let answer = call.service.answer(request, &call.from).await;
                drop(busy);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), answer);
        tokio::select! {
            done = watcher.watch(connection) => drop(done),
            () = call.pulse.stopped() => {}
        }
    }
}

/// What the requests of one connection share: it is counted by one thread, and not by all.
struct Call {
    service: Service,
    from: Peer,
    pulse: Pulse,
}

/// Since when a connection has had nothing to answer. One timer a connection is looked at when it
/// has run out; one a request would have to be set and taken back each time.
#[derive(Debug)]
struct Pulse {
    begin: Instant,
    /// In milliseconds from `begin`.
    idle_since: AtomicU64,
    under_way: AtomicUsize,
}

/// A request that is being answered.
#[derive(Debug)]
struct Busy<'p>(&'p Pulse);

impl Pulse {
    fn new() -> Self {
        Self {
            begin: Instant::now(),
            idle_since: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
        }
    }

    fn busy(&self) -> Busy<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }

    /// Ready when nothing was asked for [`HEADER_SECONDS`], or was and was not read to its end.
    async fn stopped(&self) {
        let limit = Duration::from_secs(HEADER_SECONDS);
        loop {
            let idle_since = self.idle_since.load(Ordering::Relaxed);
            let idle = self.begin.elapsed() - Duration::from_millis(idle_since);
            let is_idle = self.under_way.load(Ordering::Relaxed) == 0;
            match limit.checked_sub(idle) {
                Some(left) if is_idle => tokio::time::sleep(left).await,
                None if is_idle => return,
                _ => tokio::time::sleep(limit).await,
            }
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let elapsed = self.0.begin.elapsed();
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.0.idle_since.store(millis, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many connections there are, by address.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

impl Places {
    /// Room for one more from this address, held until it is dropped.
    fn take(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let of_one = taken.entry(from).or_default();
        let room = match *of_one {
            0 => CONNECTIONS_MAX + CONNECTIONS_RESERVED,
            _ => CONNECTIONS_MAX,
        };
        if all >= room || *of_one >= CONNECTIONS_PER_ADDRESS_MAX {
            if *of_one == 0 {
                taken.remove(&from);
            }
            return None;
        }
        *of_one += 1;
        Some(Place {
            places: self.clone(),
            from,
        })
    }
}

#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    from: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_one) = taken.get_mut(&self.from) {
            *of_one -= 1;
            if *of_one == 0 {
                taken.remove(&self.from);
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // See [`Pulse`].
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(HEADER_SECONDS))
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(64);
    builder
}

#[derive(Clone)]
struct Service {
    front: Arc<Front>,
    /// How many are in the engine.
    requests: Count,
    /// Where there are threads for what blocks.
    threads: Handle,
}

impl Service {
    async fn answer(&self, request: Request<Incoming>, from: &Peer) -> Response<Full<Bytes>> {
        if request.method() == hyper::Method::GET {
            let path = request.uri().path().to_owned();
            let (front, from) = (self.front.clone(), from.clone());
            let found = self
                .threads
                .spawn_blocking(move || front.look(&path, &from));
            match self.answer_in_time(found).await {
                None => return self.response(failing(STALLED)),
                Some(Ok(Some(reply))) => return self.response(reply),
                Some(_) => {}
            }
        }
        let reply = match self.read(request).await {
            Ok((head, body)) => self.reply(head, body, from).await,
            Err(error) => self.front.refusal(error),
        };
        self.response(reply)
    }

    async fn read(&self, request: Request<Incoming>) -> Result<(Head, SecretBytes), KmsError> {
        let (parts, body) = request.into_parts();
        let limit = Duration::from_secs(BODY_SECONDS);
        let mut body = pin!(whole(body));
        // Most are there with the head, and need no timer.
        let body = match poll_fn(|context| Poll::Ready(body.as_mut().poll(context))).await {
            Poll::Ready(body) => Ok(body),
            Poll::Pending => tokio::time::timeout(limit, body).await,
        };
        let body = match body {
            Ok(Some(body)) => body,
            Ok(None) => {
                return Err(malformed(
                    "The body is longer than 65536 bytes, or broke off.",
                ));
            }
            Err(_) => return Err(malformed("The body took too long.")),
        };
        Ok((Head(parts), body))
    }

    async fn reply(&self, head: Head, body: SecretBytes, from: &Peer) -> Reply {
        let Some(permit) = self.requests.one_of(REQUESTS_MAX) else {
            return self.front.refusal(KmsError::throttled());
        };
        let front = self.front.clone();
        let begun = head.with(&body, |request| front.begin(request, from));
        let begun = match begun {
            Ok(begun) => begun,
            Err(error) => return front.refusal(error),
        };
        if let Some(begun) = begun {
            // Little is to wait with those that wait.
            drop((head, body));
            return front.finish(begun).await;
        }
        if front.is_stalled() {
            return front.refusal(KmsError::new(ErrorCode::Internal, STALLED));
        }
        let from = from.clone();
        let done = self.threads.spawn_blocking(move || {
            let _permit = permit;
            let replied = head.with(&body, |request| front.reply(request, &from));
            wipe_stack();
            replied.unwrap_or_else(|error| front.refusal(error))
        });
        let message = match self.answer_in_time(done).await {
            Some(Ok(reply)) => return reply,
            Some(Err(_)) => None,
            None => Some(STALLED.to_owned()),
        };
        self.front.refusal(KmsError {
            code: ErrorCode::Internal,
            message,
        })
    }

    /// What a thread gives, unless the disk holds it up. Then it goes on by itself, and with it its
    /// permit; what it does in the end is recorded, and was refused.
    async fn answer_in_time<T>(&self, mut done: JoinHandle<T>) -> Option<Result<T, JoinError>> {
        loop {
            match tokio::time::timeout(STALL_LOOK, &mut done).await {
                Ok(done) => return Some(done),
                Err(_) if self.front.is_stalled() => return None,
                Err(_) => {}
            }
        }
    }

    fn response(&self, reply: Reply) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from_owner(Wiped(reply.body))));
        *response.status_mut() =
            StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let media = HeaderValue::from_static(reply.content_type);
        headers.insert(hyper::header::CONTENT_TYPE, media);
        for (name, value) in reply.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        if reply.request_id.is_empty() {
            return response;
        }
        if let Ok(id) = HeaderValue::from_maybe_shared(Bytes::from(reply.request_id)) {
            headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
        }
        if self.front.is_open() {
            let name = HeaderName::from_static("x-waxseal-insecure");
            headers.insert(name, HeaderValue::from_static("true"));
        }
        response
    }
}

/// A body to its end. Nothing when it breaks off, or is longer than [`wire::BODY_BYTES_MAX`].
async fn whole(body: Incoming) -> Option<SecretBytes> {
    let told = usize::try_from(body.size_hint().lower()).ok()?;
    if told > wire::BODY_BYTES_MAX {
        return None;
    }
    let mut whole = SecretWriter::with_capacity(told.min(BODY_BYTES_USUAL));
    let mut body = Limited::new(body, wire::BODY_BYTES_MAX);
    while let Some(frame) = body.frame().await {
        // What else there may be are trailers.
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        whole.write_all(&data).ok()?;
    }
    Some(whole.finish())
}

/// A request without its body.
struct Head(Parts);

impl Head {
    /// Hands the request to `then`, if its headers are text.
    fn with<T>(
        &self,
        body: &SecretBytes,
        then: impl FnOnce(SignedRequest<'_>) -> T,
    ) -> Result<T, KmsError> {
        let Parts {
            method,
            uri,
            headers: map,
            ..
        } = &self.0;
        let mut headers = Vec::with_capacity(map.len() + 1);
        for (name, value) in map {
            let text = str::from_utf8(value.as_bytes());
            let text = text.map_err(|_| malformed("A header is no text."))?;
            headers.push((name.as_str(), text));
        }
        // HTTP/2 has the host elsewhere.
        if let (Some(authority), false) = (uri.authority(), map.contains_key(HOST)) {
            headers.push(("host", authority.as_str()));
        }
        Ok(then(SignedRequest {
            method: method.as_str(),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers: &headers,
            body: body.expose(),
        }))
    }
}

/// An answer's bytes, zeroed when the last of those who send them lets go.
struct Wiped(SecretBytes);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

fn malformed(what: &str) -> KmsError {
    KmsError::new(ErrorCode::Serialization, what)
}
