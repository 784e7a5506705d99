//! A web server that keeps what it is sent as messages: an upload is sealed while it arrives, a
//! download is opened while it leaves. No plaintext touches the disk, and memory does not grow
//! with the file.
//!
//! ```text
//! cargo run --release -p waxseal --example axum_upload
//! curl -T photo.jpg http://127.0.0.1:3000/files/photo && curl http://127.0.0.1:3000/files/photo
//! ```
#![allow(clippy::print_stdout, reason = "an example tells where it listens")]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;
use futures_util::stream::{self, Stream, StreamExt};
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use waxseal::message::{
    Incoming, Limits, OpenError, OpenOptions, Opening, Release, SealOptions, Sealer, Sealing,
};
use waxseal::{Keyring, RawAesKeyring, SecretBytes, SystemEntropy};

/// How much of a message is read at a time.
const PIECE_BYTES: usize = 256 * 1024;

struct Shelf {
    directory: PathBuf,
    keyring: Arc<dyn Keyring>,
}

type Failed = (StatusCode, String);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let directory = std::env::temp_dir().join("waxseal-shelf");
    fs::create_dir_all(&directory).await?;
    Ok(axum::serve(listener, shelf(directory)?).await?)
}

fn shelf(directory: PathBuf) -> Result<Router, Box<dyn Error>> {
    let key = SecretBytes::new(vec![7; 32]); // yours comes from a safe place
    let keyring = RawAesKeyring::new("my-company", "shelf", &key, Arc::new(SystemEntropy))?;
    let shelf = Shelf {
        directory,
        keyring: Arc::new(keyring),
    };
    let files = put(upload).get(download);
    Ok(Router::new()
        .route("/files/{name}", files)
        .with_state(Arc::new(shelf)))
}

/// Seals the body of the request as it comes in. The file has its name only when the message is
/// complete: a connection that breaks off leaves nothing that could be taken for one.
async fn upload(
    State(shelf): State<Arc<Shelf>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Failed> {
    let path = shelf.path(&name)?;
    // Two uploads of one name at once would need a name of their own each.
    let partial = path.with_extension("partial");
    let mut options = SealOptions::default();
    options.context.insert("name", &name).map_err(bad_request)?;
    let sealer = Sealer::new(shelf.keyring.as_ref(), options, &SystemEntropy).await;

    let mut file = File::create(&partial).await.map_err(internal)?;
    let mut sealed = Vec::new();
    let mut sealing = Sealing::begin(sealer.map_err(internal)?, &mut sealed);
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(bad_request)?;
        sealing.push(&piece, &mut sealed).map_err(internal)?;
        file.write_all(&sealed).await.map_err(internal)?;
        sealed.clear();
    }
    sealing.finish(&mut sealed).map_err(internal)?;
    file.write_all(&sealed).await.map_err(internal)?;
    file.sync_all().await.map_err(internal)?;
    fs::rename(&partial, &path).await.map_err(internal)?;
    Ok(StatusCode::CREATED)
}

/// Opens the message while it is sent. The header is verified before the first byte of the answer,
/// each frame before its own; where one does not verify, the connection is cut, so that nobody
/// takes what came for the whole.
async fn download(
    State(shelf): State<Arc<Shelf>>,
    Path(name): Path<String>,
) -> Result<Body, Failed> {
    let file = File::open(shelf.path(&name)?).await.map_err(not_found)?;
    let mut demands = OpenOptions::default();
    let named = demands.required_context.insert("name", &name);
    named.map_err(bad_request)?;
    let (file, opening) = opened(file, shelf.keyring.as_ref(), &demands)
        .await
        .map_err(internal)?;
    Ok(Body::from_stream(plaintext_of(file, opening)))
}

async fn opened(
    mut file: File,
    keyring: &dyn Keyring,
    demands: &OpenOptions,
) -> Result<(File, Opening), OpenError> {
    let incoming = Incoming::read_async(&mut file, &Limits::default()).await?;
    let (incoming, _) = incoming.without_reader();
    let opener = incoming.open(keyring, demands).await?;
    Ok((file, opener.into_opening(Release::Verified)?))
}

/// The plaintext, piece by piece; the last piece only when the message has ended well.
fn plaintext_of(file: File, opening: Opening) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(Some((file, opening)), |state| async {
        let Some((mut file, mut opening)) = state else {
            return Ok(None);
        };
        let mut piece = vec![0; PIECE_BYTES];
        let mut plaintext = Vec::new();
        let read = file.read(&mut piece).await?;
        if read == 0 {
            opening.finish(&mut plaintext)?;
            return Ok(Some((Bytes::from(plaintext), None)));
        }
        opening.push(&piece[..read], &mut plaintext)?;
        Ok(Some((Bytes::from(plaintext), Some((file, opening)))))
    })
}

impl Shelf {
    fn path(&self, name: &str) -> Result<PathBuf, Failed> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        match !name.is_empty() && name.len() <= 100 && name.chars().all(plain) {
            true => Ok(self.directory.join(name).with_extension("wax")),
            false => Err((StatusCode::BAD_REQUEST, "letters, digits and '-'\n".into())),
        }
    }
}

fn bad_request(error: impl Error) -> Failed {
    (StatusCode::BAD_REQUEST, format!("{error}\n"))
}

fn not_found(_: io::Error) -> Failed {
    (StatusCode::NOT_FOUND, "there is no such file\n".into())
}

/// What went wrong is for the log; the client need not know.
fn internal(_: impl Error) -> Failed {
    let told = "the file could not be kept or read\n";
    (StatusCode::INTERNAL_SERVER_ERROR, told.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::net::TcpStream;

    /// One request over HTTP/1.0, which ends with the connection: status line and body.
    async fn request(address: SocketAddr, head: &str, body: &[u8]) -> (String, Vec<u8>) {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let head = format!("{head} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is cut may be reported as such.
        let _ = connection.read_to_end(&mut answer).await;
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let body = answer.split_off(end + 4);
        let head = String::from_utf8(answer).unwrap();
        (head.lines().next().unwrap().to_owned(), body)
    }

    async fn served(directory: PathBuf) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shelf = shelf(directory).unwrap();
        tokio::spawn(async move { axum::serve(listener, shelf).await });
        address
    }

    #[tokio::test]
    async fn what_was_uploaded_is_downloaded() {
        let directory = tempfile::tempdir().unwrap();
        let address = served(directory.path().to_owned()).await;
        let plaintext: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        let (status, _) = request(address, "PUT /files/photo", &plaintext).await;
        assert!(status.ends_with("201 Created"), "{status}");
        let kept = fs::read(directory.path().join("photo.wax")).await.unwrap();
        assert!(kept.len() > plaintext.len());
        assert!(!kept.windows(100).any(|part| part == &plaintext[1000..1100]));

        let (status, body) = request(address, "GET /files/photo", b"").await;
        assert!(status.ends_with("200 OK"), "{status}");
        assert!(body == plaintext);

        // Under another name it is another file.
        let (from, to) = (
            directory.path().join("photo.wax"),
            directory.path().join("other.wax"),
        );
        fs::copy(from, to).await.unwrap();
        let (status, _) = request(address, "GET /files/other", b"").await;
        assert!(status.contains("500"), "{status}");
        let (status, _) = request(address, "GET /files/nothing", b"").await;
        assert!(status.contains("404"), "{status}");
        let (status, _) = request(address, "GET /files/..%2Fphoto", b"").await;
        assert!(status.contains("400"), "{status}");
    }

    #[tokio::test]
    async fn an_altered_file_is_cut_short() {
        let directory = tempfile::tempdir().unwrap();
        let address = served(directory.path().to_owned()).await;
        let plaintext = vec![b'x'; 3_000_000];
        request(address, "PUT /files/photo", &plaintext).await;
        let path = directory.path().join("photo.wax");
        let mut kept = fs::read(&path).await.unwrap();
        kept[1_500_000] ^= 1;
        fs::write(&path, kept).await.unwrap();
        let (_, body) = request(address, "GET /files/photo", b"").await;
        assert!(body.len() < 1_500_000);
        assert!(plaintext.starts_with(&body));
    }
}
