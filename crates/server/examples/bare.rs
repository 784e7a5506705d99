//! A server that answers every request with the same bytes, over the same hyper and tokio as the
//! real one and nothing behind it: what `bench/kms-server` holds the real one against.
//!
//! `bare ADDRESS BYTES`: listens there, answers with a JSON text of that many bytes.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::io;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_default();
    let bytes = arguments.next().and_then(|text| text.parse().ok());
    let text = format!("{{\"x\":\"{}\"}}", "x".repeat(bytes.unwrap_or(600)));
    let answer = Bytes::from(text);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer.clone();
                    async move {
                        // The body is read, as the real server reads it.
                        drop(request.into_body().collect().await);
                        Ok::<_, Infallible>(Response::new(Full::new(answer)))
                    }
                });
                let builder = Builder::new(TokioExecutor::new());
                drop(
                    builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
        }
    })
}
