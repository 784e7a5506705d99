//! Connections: HTTP/1.1 and HTTP/2, with TLS or on loopback addresses.

use crate::front::{Front, Reply};
use crate::metrics::Metrics;
use crate::tls::{Tls, TlsError};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use waxseal_core::SecretBytes;
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
/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 32 * 1024;
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
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().max_blocking_threads(REQUESTS_MAX);
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
        let stop = async {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
                () = reloads => {}
                () = tends => {}
            }
        };
        serve(listener, tls.clone(), front.clone(), stop).await;
        Ok(())
    })
}

/// Serves until `stop` is ready; then lets requests that are under way come to their end, for
/// [`DRAIN_SECONDS`] at most.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    front: Arc<Front>,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Places::default());
    let host = Arc::new(Host {
        metrics: front.metrics().clone(),
        service: Service {
            front,
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
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
            Ok((stream, peer.ip()))
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
        tokio::spawn(async move {
            let _open = (place, host.metrics.connection());
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
        let answer = service_fn(move |request| {
            let service = self.service.clone();
            async move { Ok::<_, Infallible>(service.answer(request, from).await) }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), answer);
        drop(watcher.watch(connection).await);
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
        .header_read_timeout(Duration::from_secs(HEADER_SECONDS))
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
    requests: Arc<Semaphore>,
}

impl Service {
    async fn answer(&self, request: Request<Incoming>, from: IpAddr) -> Response<Full<Bytes>> {
        if request.method() == hyper::Method::GET {
            let path = request.uri().path().to_owned();
            let front = self.front.clone();
            let found = tokio::task::spawn_blocking(move || front.look(&path, from)).await;
            if let Ok(Some(reply)) = found {
                return self.response(reply);
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
        let whole = Limited::new(body, wire::BODY_BYTES_MAX).collect();
        let limit = Duration::from_secs(BODY_SECONDS);
        let body = match tokio::time::timeout(limit, whole).await {
            Ok(Ok(body)) => SecretBytes::new(body.to_bytes().into()),
            Ok(Err(_)) => {
                return Err(malformed(
                    "The body is longer than 65536 bytes, or broke off.",
                ));
            }
            Err(_) => return Err(malformed("The body took too long.")),
        };
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let headers = headers(&parts.headers, authority)?;
        let head = Head {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers,
        };
        Ok((head, body))
    }

    async fn reply(&self, head: Head, body: SecretBytes, from: IpAddr) -> Reply {
        let Ok(permit) = self.requests.clone().try_acquire_owned() else {
            return self.front.refusal(throttled());
        };
        let front = self.front.clone();
        if let Some(begun) = head.with(&body, |request| front.begin(request, from)) {
            drop(body);
            return front.finish(begun).await;
        }
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            head.with(&body, |request| front.reply(request, from))
        });
        match done.await {
            Ok(reply) => reply,
            Err(_) => self.front.refusal(KmsError {
                code: ErrorCode::Internal,
                message: None,
            }),
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
        if let Ok(id) = HeaderValue::from_str(&reply.request_id) {
            headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
        }
        if self.front.is_open() {
            let name = HeaderName::from_static("x-waxseal-insecure");
            headers.insert(name, HeaderValue::from_static("true"));
        }
        response
    }
}

/// A request without its body.
struct Head {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Hands the request to `then`.
    fn with<T>(&self, body: &SecretBytes, then: impl FnOnce(SignedRequest<'_>) -> T) -> T {
        let headers = self.headers.iter();
        let headers: Vec<(&str, &str)> = headers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        then(SignedRequest {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            body: body.expose(),
        })
    }
}

/// An answer's bytes, zeroed when the last of those who send them lets go.
struct Wiped(SecretBytes);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// The headers as text. HTTP/2 has the host elsewhere.
fn headers(map: &HeaderMap, authority: Option<&str>) -> Result<Vec<(String, String)>, KmsError> {
    let mut headers = Vec::with_capacity(map.len() + 1);
    for (name, value) in map {
        let text = str::from_utf8(value.as_bytes());
        let text = text.map_err(|_| malformed("A header is no text."))?;
        headers.push((name.as_str().to_owned(), text.to_owned()));
    }
    if let (Some(authority), false) = (authority, map.contains_key(hyper::header::HOST)) {
        headers.push(("host".to_owned(), authority.to_owned()));
    }
    Ok(headers)
}

fn malformed(what: &str) -> KmsError {
    KmsError::new(ErrorCode::Serialization, what)
}

fn throttled() -> KmsError {
    KmsError::new(
        ErrorCode::Throttling,
        "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
    )
}
