//! More than the server can take: idle connections, heads and bodies that never end, bodies that are
//! too long, and more work at once than is let in. It keeps to its limits, answers health and requests
//! all the while, and needs no more memory than is said.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use waxseal_conformance::{Served, World, promise};

/// More than twice as many as the server holds.
const IDLE: usize = 10_000;
/// From so many addresses of the loopback network.
const ADDRESSES: u8 = 10;
/// Requests for key pairs, more than are let in; and so many are made at least.
const PAIRS: usize = 600;
const PAIRS_MIN: usize = 128;
/// Other requests that one after the other are answered meanwhile, in some seconds.
const OTHERS_MIN: usize = 50;
/// The most resident memory, in KiB.
const RESIDENT_KIB_MAX: u64 = 512 * 1024;

/// A connection whose other end is an address of its own.
fn connect_from(server: &Served, host: u8) -> std::io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let own = SocketAddr::from((Ipv4Addr::new(127, 0, 1, host), 0));
    let address: SocketAddr = server.address.parse().unwrap();
    bind(&socket, &own)?;
    connect(&socket, &address)?;
    Ok(TcpStream::from(socket))
}

#[track_caller]
fn is_well(server: &Served) {
    assert_eq!(server.get("/healthz").status(), 200);
    server.done("GenerateRandom", &json!({ "NumberOfBytes": 16 }));
    let resident = server.resident_kib("VmHWM");
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB");
}

fn request(operation: &str, body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: TrentService.{operation}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// As many files as the test needs, where the system lets us.
fn allow_files(wanted: u64) -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.current.unwrap()
}

/// Whether the server keeps the connection: it closes those that it has no place for.
fn is_kept(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut byte = [0];
    let read = (&*stream).read(&mut byte);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn more_than_it_can_take_does_not_take_the_server() {
    let files = allow_files(IDLE as u64 + 1_000);
    assert!(
        files >= IDLE as u64 + 100,
        "{files} files can be open, and {IDLE} connections are to be"
    );
    let world = World::new();
    let server = Served::start(&world, &["--dev"]);
    is_well(&server);

    // Idle connections: as many as there is room for stay, and others are let in all the same.
    let idle: Vec<TcpStream> = (0..IDLE)
        .filter_map(|at| connect_from(&server, 1 + at as u8 % ADDRESSES).ok())
        .collect();
    is_well(&server);
    let kept = idle.iter().filter(|stream| is_kept(stream)).count();
    assert!((1_024..=4_096 + 128).contains(&kept), "{kept} are kept");
    drop(idle);
    std::thread::sleep(Duration::from_millis(500));

    // Heads and bodies that do not end.
    let endless: Vec<TcpStream> = (0..1_000)
        .map(|at| {
            let mut stream = connect_from(&server, 1 + at as u8 % ADDRESSES).unwrap();
            let begun: &[u8] = match at % 2 {
                0 => b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
                _ => b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{",
            };
            stream.write_all(begun).unwrap();
            stream
        })
        .collect();
    for _ in 0..4 {
        for mut stream in &endless {
            let _ = stream.write_all(b"x");
        }
        is_well(&server);
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(endless);

    // Bodies and heads that are too long: refused at the limit, not after all of it.
    let long = [request("Encrypt", ""), vec![b' '; 1 << 20]].concat();
    let long = String::from_utf8(long).unwrap();
    let long = long.replacen("Content-Length: 0", "Content-Length: 1073741824", 1);
    // A server that closes while we send resets: then there is no answer.
    let is_refused = |status: u16| status == 0 || (400..500).contains(&status);
    let answer = server.raw(long.as_bytes(), b"");
    assert!(is_refused(answer.status()), "{answer:?}");
    let head = format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    let answer = server.raw(head.as_bytes(), b"");
    assert!(is_refused(answer.status()), "{answer:?}");
    is_well(&server);

    // More work than is let in at once: some is done, the rest is told to come again, nothing else; and
    // there are places left for other work.
    let made = server.done("CreateKey", &json!({}));
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap();
    let work = request(
        "GenerateDataKeyPair",
        &format!(r#"{{"KeyId":"{key}","KeyPairSpec":"RSA_2048"}}"#),
    );
    let (done, throttled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let others = std::thread::scope(|scope| {
        for _ in 0..PAIRS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(&server.address).unwrap();
                stream.write_all(&work).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                if answer.starts_with("HTTP/1.1 200 ") {
                    done.fetch_add(1, Ordering::Relaxed);
                } else {
                    assert!(answer.contains("\"ThrottlingException\""), "{answer}");
                    throttled.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut others = 0;
        while done.load(Ordering::Relaxed) + throttled.load(Ordering::Relaxed) < PAIRS {
            let answer = server.send("GenerateRandom", b"{\"NumberOfBytes\":16}", "");
            others += usize::from(answer.status() == 200);
        }
        others
    });
    let (done, throttled) = (done.into_inner(), throttled.into_inner());
    assert!(
        done >= PAIRS_MIN && throttled > 0,
        "{done} done, {throttled} not"
    );
    assert!(
        others > OTHERS_MIN,
        "{others} others were answered meanwhile"
    );
    is_well(&server);
    promise(
        "27",
        format_args!(
            "{IDLE} idle connections ({kept} kept), 1,000 that send without an end, {PAIRS} key pairs at once \
             ({done} made, {throttled} throttled, {others} other requests answered meanwhile): health and \
             requests answered, at most {} MiB resident",
            server.resident_kib("VmHWM") / 1024
        ),
    );
}
