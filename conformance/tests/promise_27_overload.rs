//! More than the server can take: idle connections, heads and bodies that never end, bodies that are
//! too long, and more work at once than is let in. It keeps to its limits, answers health and requests
//! all the while, and needs no more memory than is said.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

use rustix::process::{Resource, getrlimit, setrlimit};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use waxseal_conformance::{World, promise};

/// More than twice as many as the server holds.
const IDLE: usize = 10_000;
/// From so many addresses of the loopback network.
const ADDRESSES: u8 = 10;
/// The most resident memory, in KiB.
const RESIDENT_KIB_MAX: u64 = 512 * 1024;

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(world: &World) -> Self {
        let mut child = world
            .command(&["serve", "--dev", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut first).unwrap();
        let address = first.trim().split("http://").nth(1).unwrap();
        let address = address.parse().unwrap();
        Self { child, address }
    }

    fn resident_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.unwrap().split_whitespace().nth(1).unwrap();
        number.parse().unwrap()
    }

    /// A connection whose other end is an address of its own.
    fn connect_from(&self, host: u8) -> std::io::Result<TcpStream> {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        let own = SocketAddr::from((Ipv4Addr::new(127, 0, 1, host), 0));
        bind(&socket, &own)?;
        connect(&socket, &self.address)?;
        Ok(TcpStream::from(socket))
    }

    /// The answer to what is sent over a connection of its own.
    fn ask(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        // A server that closes while we send resets: what it said before counts.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[track_caller]
    fn is_well(&self) {
        let answer = self.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer = self.ask(&request("GenerateRandom", r#"{"NumberOfBytes":16}"#));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let resident = self.resident_kib();
        assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB");
    }
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
    let server = Server::start(&world);
    server.is_well();

    // Idle connections: as many as there is room for stay, and others are let in all the same.
    let idle: Vec<TcpStream> = (0..IDLE)
        .filter_map(|at| server.connect_from(1 + at as u8 % ADDRESSES).ok())
        .collect();
    server.is_well();
    let kept = idle.iter().filter(|stream| is_kept(stream)).count();
    assert!((1_024..=4_096 + 128).contains(&kept), "{kept} are kept");
    drop(idle);
    std::thread::sleep(Duration::from_millis(500));

    // Heads and bodies that do not end.
    let endless: Vec<TcpStream> = (0..1_000)
        .map(|at| {
            let mut stream = server.connect_from(1 + at as u8 % ADDRESSES).unwrap();
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
        server.is_well();
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(endless);

    // Bodies and heads that are too long: refused at the limit, not after all of it.
    let long = [request("Encrypt", ""), vec![b' '; 1 << 20]].concat();
    let long = String::from_utf8(long).unwrap();
    let long = long.replacen("Content-Length: 0", "Content-Length: 1073741824", 1);
    let answer = server.ask(long.as_bytes());
    let is_refused = |answer: &str| answer.is_empty() || answer.starts_with("HTTP/1.1 4");
    assert!(is_refused(&answer), "{answer}");
    let head = format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    let answer = server.ask(head.as_bytes());
    assert!(is_refused(&answer), "{answer}");
    server.is_well();

    // More work than is let in at once: some is done, the rest is told to come again, nothing else.
    let made = server.ask(&request("CreateKey", "{}"));
    let key = made.split("\"KeyId\":\"").nth(1).unwrap()[..36].to_owned();
    let work = request(
        "GenerateDataKeyPair",
        &format!(r#"{{"KeyId":"{key}","KeyPairSpec":"RSA_2048"}}"#),
    );
    let (done, throttled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..600 {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(server.address).unwrap();
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
    });
    let (done, throttled) = (done.into_inner(), throttled.into_inner());
    assert!(done >= 256 && throttled > 0, "{done} done, {throttled} not");
    server.is_well();
    promise(
        "27",
        format_args!(
            "{IDLE} idle connections ({kept} kept), 1,000 that send without an end, 600 requests at once \
             ({done} done, {throttled} throttled): health and requests answered, at most {} MiB resident",
            server.resident_kib() / 1024
        ),
    );
}
