//! A server that ships its trail and removes what is old, into a bucket that is a program of ours: what
//! arrives, what is left, and what the copy is worth.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use time::{Duration, OffsetDateTime};
use waxseal_conformance::{Served, World, engines};
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_kms::audit::{self, AuditLog};
use waxseal_kms::clock::Clock;
use waxseal_kms::engine::{Engine, Parts};
use waxseal_kms::home::{EmbeddedHome, FileRoot};
use waxseal_kms::op::Perform;
use waxseal_kms::root::{Root, RootKind, RootRecord};
use waxseal_kms::store::SqliteStore;
use waxseal_kms::trail;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::SecretBlob;

const BUCKET: &str = "company-trail";
const AGE: Duration = Duration::days(100);
/// A few records.
const SEGMENT_BYTES: u64 = 6_000;
const WAIT_SECONDS: u64 = 60;

struct Hands(Mutex<OffsetDateTime>);

impl Clock for Hands {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }
}

fn place() -> Home {
    Home {
        partition: "aws".into(),
        region: "local".into(),
        account: "000000000000".into(),
    }
}

/// An engine on the home of a world that ends segments early, at another time.
fn engine(world: &World, clock: Arc<Hands>) -> Engine {
    let directory = world.home();
    let entropy = Arc::new(SystemEntropy);
    EmbeddedHome::open(&directory, &place(), Arc::new(FileRoot), entropy.clone()).unwrap();
    let key = SecretBytes::new(fs::read(directory.join("root.key")).unwrap());
    let root = Root {
        kind: RootKind::File,
        keyring: Box::new(RootKind::File.keyring(&key, entropy.clone()).unwrap()),
    };
    let store = SqliteStore::open(&directory.join("store.db")).unwrap();
    let opened = RootRecord::read(&store).unwrap().unwrap().open(&root);
    let opened = opened.unwrap();
    let log = AuditLog::open(&world.audit()).unwrap();
    Engine::new(Parts {
        store: Box::new(store),
        audit: log.with_segment_bytes_max(SEGMENT_BYTES),
        rows: opened.rows,
        home: opened.home,
        clock,
        entropy,
    })
    .unwrap()
}

fn call<O: Perform>(engine: &Engine, input: O) -> O::Output {
    engines::call(engine, input).unwrap()
}

fn last_use(engine: &Engine, key: &str) -> KeyLastUsageData {
    let key_id = key.to_owned();
    call(engine, GetKeyLastUsageRequest { key_id }).key_last_usage
}

/// An object as it was put.
type Object = (Vec<u8>, BTreeMap<String, String>);

/// What speaks enough of S3 to be shipped to.
#[derive(Clone, Default)]
struct Bucket {
    objects: Arc<Mutex<BTreeMap<String, Object>>>,
    puts: Arc<Mutex<usize>>,
    /// So many requests are answered with 503.
    failures: Arc<Mutex<usize>>,
}

impl Bucket {
    /// Listens until the test ends; its URL.
    fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bucket = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let bucket = bucket.clone();
                std::thread::spawn(move || bucket.answer(&stream.unwrap()));
            }
        });
        url
    }

    /// One request of a connection, which ends with it.
    fn answer(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let mut words = line.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return;
        };
        let (method, path) = (method.to_owned(), path.to_owned());
        let (mut metadata, mut bytes) = (BTreeMap::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            let name = name.to_ascii_lowercase();
            if name == "content-length" {
                bytes = value.parse().unwrap();
            }
            if name.starts_with("x-amz-meta-") {
                metadata.insert(name, value.to_owned());
            }
        }
        let mut body = vec![0; bytes];
        reader.read_exact(&mut body).unwrap();
        let key = path
            .strip_prefix(&format!("/{BUCKET}/"))
            .unwrap()
            .to_owned();
        let (status, metadata, body) = self.done(&method, key, (body, metadata));
        let metadata = metadata
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let head = format!(
            "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n",
            body.len(),
            metadata.collect::<String>()
        );
        let mut stream = stream;
        stream
            .write_all(&[head.as_bytes(), &body].concat())
            .unwrap();
    }

    fn done(
        &self,
        method: &str,
        key: String,
        object: Object,
    ) -> (u16, BTreeMap<String, String>, Vec<u8>) {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return (503, BTreeMap::new(), b"<Code>SlowDown</Code>".to_vec());
        }
        let mut objects = self.objects.lock().unwrap();
        match (method, objects.get(&key)) {
            ("PUT", _) => {
                *self.puts.lock().unwrap() += 1;
                objects.insert(key, object);
                (200, BTreeMap::new(), Vec::new())
            }
            ("GET", Some((body, metadata))) => (200, metadata.clone(), body.clone()),
            _ => (404, BTreeMap::new(), b"<Code>NoSuchKey</Code>".to_vec()),
        }
    }

    fn has(&self, end: &str) -> usize {
        let objects = self.objects.lock().unwrap();
        objects.keys().filter(|key| key.ends_with(end)).count()
    }
}

fn served(world: &World, url: &str) -> Served {
    let to = format!("s3://{BUCKET}");
    let mut command = world.command(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--allow-swap",
        "--trail-bucket",
        BUCKET,
        "--ship-to",
        &to,
        "--retain",
        "30",
    ]);
    command
        .env("AWS_ENDPOINT_URL_S3", url)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "any")
        .env("AWS_SECRET_ACCESS_KEY", "any")
        .env("NO_PROXY", "127.0.0.1")
        .env("HOME", world.path("tmp"));
    Served::of(command, world)
}

/// Waits until something has happened in a server.
fn wait(world: &World, what: &str, has_happened: impl Fn() -> bool) {
    let begin = Instant::now();
    while !has_happened() {
        let said = String::from_utf8_lossy(&world.read("served.err")).into_owned();
        let waited = begin.elapsed().as_secs();
        assert!(waited < WAIT_SECONDS, "{what}: {said}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let (mut names, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => names.push(
                    path.strip_prefix(folder)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                ),
            }
        }
    }
    names.retain(|name| name.starts_with("AWSLogs"));
    names.sort();
    names
}

#[test]
fn a_server_ships_and_removes_what_is_old() {
    let world = World::new();
    // A KMS that was busy for a few hours, long ago.
    let clock = Arc::new(Hands(Mutex::new(OffsetDateTime::now_utc() - AGE)));
    let old = engine(&world, clock.clone());
    old.deliver().unwrap();
    let key = call(&old, CreateKeyRequest::default()).key_metadata.key_id;
    let request = EncryptRequest {
        key_id: key.clone(),
        plaintext: SecretBlob(SecretBytes::copy_of(b"plaintext")),
        ..EncryptRequest::default()
    };
    call(&old, request);
    let used = last_use(&old, &key);
    assert_eq!(used.operation.as_deref(), Some("Encrypt"));
    for _ in 0..3 {
        for _ in 0..20 {
            call(&old, ListKeysRequest::default());
        }
        *clock.0.lock().unwrap() += Duration::HOUR;
        assert!(old.deliver().unwrap());
    }
    drop(old);
    let before = audit::verify(&world.audit()).unwrap();
    assert!(before.segments > 6 && before.removed == 0);

    let bucket = Bucket::default();
    *bucket.failures.lock().unwrap() = 2;
    let url = bucket.serve();
    let hour = OffsetDateTime::now_utc().unix_timestamp() / 3_600;
    let mut server = served(&world, &url);
    // Three digests of then, and one for all hours until now.
    wait(&world, "digests arrive", || bucket.has("Z.json.gz") >= 4);
    let begin = world.audit().join(audit::BEGIN_FILE);
    wait(&world, "the log is shortened", || begin.exists());
    server.end_by("TERM");
    let after = audit::verify(&world.audit()).unwrap();
    assert!(after.removed > 40, "{after:?}");
    assert!(after.records >= before.records, "{after:?}");

    // What lies there is what lies here.
    let trail = world.audit().join(trail::FOLDER);
    let objects = bucket.objects.lock().unwrap().clone();
    assert_eq!(objects.keys().cloned().collect::<Vec<_>>(), names(&trail));
    for (name, (content, metadata)) in &objects {
        assert_eq!(&fs::read(trail.join(name)).unwrap(), content, "{name}");
        let signature = fs::read_to_string(trail.join(format!("{name}.signature")));
        let given = metadata.get("x-amz-meta-signature");
        assert_eq!(given, signature.ok().as_ref(), "{name}");
    }

    // A copy of the bucket as files verifies with the public keys alone.
    for (name, (content, _)) in &objects {
        let path = world.path("copy").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let keys = world.ok(&["audit", "public-key"], b"");
    world.write("keys.pem", keys);
    let verify = [
        "audit",
        "verify",
        "--public-key",
        "keys.pem",
        "--trail",
        "copy",
    ];
    let told = world.ok(&verify, b"");
    assert!(String::from_utf8_lossy(&told).contains("digests until"));
    let digest = objects.keys().find(|name| name.ends_with("Z.json.gz"));
    let path = world
        .path("copy")
        .join(format!("{}.signature", digest.unwrap()));
    fs::remove_file(path).unwrap();
    world.run(&verify, b"").exits(3);
    world.ok(&["audit", "verify", "--public-key", "keys.pem"], b"");

    // The next server has nothing to ship, and knows of what is gone.
    let puts = *bucket.puts.lock().unwrap();
    let mut server = served(&world, &url);
    std::thread::sleep(std::time::Duration::from_secs(2));
    server.end_by("TERM");
    if OffsetDateTime::now_utc().unix_timestamp() / 3_600 == hour {
        assert_eq!(*bucket.puts.lock().unwrap(), puts);
    }
    let clock = Arc::new(Hands(Mutex::new(OffsetDateTime::now_utc())));
    assert_eq!(last_use(&engine(&world, clock), &key), used);
}
