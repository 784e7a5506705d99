//! Connections: HTTP/1.1 and HTTP/2 without TLS, on loopback only.

use crate::front::{Front, Reply};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use waxseal_core::SecretBytes;
use waxseal_kms_api::sigv4::SignedRequest;
use waxseal_kms_api::{ErrorCode, KmsError, wire};

/// Connections at once; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 1_024;
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

/// Listens on a loopback address.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for any other address: requests and answers would cross the
/// network in the clear. As the system says otherwise.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "plain HTTP is served on loopback addresses only",
        ));
    }
    TcpListener::bind(address).await
}

/// Serves on `address` until SIGTERM or SIGINT. `ready` is told the address once connections are
/// accepted, with the port that was free where 0 was asked for.
///
/// # Errors
/// As [`bind`], and when there can be no threads or signal handlers.
pub fn run(
    address: SocketAddr,
    front: Arc<Front>,
    ready: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().max_blocking_threads(REQUESTS_MAX);
    runtime.build()?.block_on(async {
        let listener = bind(address).await?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        ready(listener.local_addr()?);
        let stop = async {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        serve(listener, front, stop).await;
        Ok(())
    })
}

/// Serves until `stop` is ready; then lets requests that are under way come to their end, for
/// [`DRAIN_SECONDS`] at most.
pub async fn serve(listener: TcpListener, front: Arc<Front>, stop: impl Future<Output = ()>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let service = Service {
        front,
        requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
    };
    let (graceful, builder) = (GracefulShutdown::new(), builder());
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            () = &mut stop => break,
        };
        let Some((stream, peer, permit)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = service.clone();
        let answer = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.answer(request, peer.ip()).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), answer);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            // A connection that breaks has nobody to be told.
            drop(connection.await);
            drop(permit);
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(Duration::from_secs(DRAIN_SECONDS), graceful.shutdown());
    drop(drained.await);
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = connections.clone().acquire_owned().await.ok()?;
    let (stream, peer) = listener.accept().await.ok()?;
    // Answers are written whole: nothing is gained by waiting for more.
    stream.set_nodelay(true).ok()?;
    Some((stream, peer, permit))
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
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let headers = head.headers.iter();
            let headers: Vec<(&str, &str)> =
                headers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let request = SignedRequest {
                method: &head.method,
                path: &head.path,
                query: &head.query,
                headers: &headers,
                body: body.expose(),
            };
            front.reply(request, from)
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
        let json = HeaderValue::from_static(wire::CONTENT_TYPE);
        headers.insert(hyper::header::CONTENT_TYPE, json);
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
