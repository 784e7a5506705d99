//! `waxseal serve`, and a client that speaks no more HTTP than it has to.

use crate::world::World;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any answer may take, whatever the machine is doing besides.
const ANSWER_SECONDS_MAX: u64 = 60;

/// A server that is running. Its stdout and stderr are the files `served.out` and `served.err` of the
/// world.
#[derive(Debug)]
pub struct Served {
    child: Child,
    /// `HOST:PORT`.
    pub address: String,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// Status line and headers.
    pub head: String,
    /// The body, as long as the head says.
    pub body: Vec<u8>,
    /// From the last byte that was sent to the last one that was read.
    pub took: Duration,
}

impl Answer {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        let status = self.head.split(' ').nth(1);
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = headers.find(|(other, _)| *other == name);
        found.map(|(_, value)| value)
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Served {
    /// Starts a server in `world`, on a free port, with more arguments.
    ///
    /// # Panics
    /// When it does not say where it listens.
    pub fn start(world: &World, more: &[&str]) -> Self {
        Self::of(
            world.command(&[&["serve", "--listen", "127.0.0.1:0"], more].concat()),
            world,
        )
    }

    /// The same from a command that becomes one.
    ///
    /// # Panics
    /// When it does not say where it listens.
    pub fn of(mut command: Command, world: &World) -> Self {
        let stderr = std::fs::File::create(world.path("served.err")).expect("a file");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("it is built");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let (mut said, mut address) = (String::new(), String::new());
        while address.is_empty() {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("it is text");
            assert_ne!(read, 0, "{}", world_says(world));
            if let Some(url) = line.strip_prefix("AWS_ENDPOINT_URL_KMS=http://") {
                address = url.trim_end().to_owned();
            }
            said += &line;
        }
        let path = world.path("served.out");
        std::thread::spawn(move || {
            // Until it ends.
            let _ = lines.read_to_string(&mut said);
            let _ = std::fs::write(path, said);
        });
        Self { child, address }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An operation of the KMS over a connection of its own, unsigned.
    pub fn ask(&self, operation: &str, body: &Value) -> Answer {
        self.send(operation, body.to_string().as_bytes(), "")
    }

    /// The same, which must be done; its answer.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn done(&self, operation: &str, body: &Value) -> Value {
        let answer = self.ask(operation, body);
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status(), 200, "{operation}: {told}");
        answer.json()
    }

    /// Any body, with more headers, each with its line end.
    pub fn send(&self, operation: &str, body: &[u8], headers: &str) -> Answer {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: TrentService.{operation}\r\n\
             {headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.raw(head.as_bytes(), body)
    }

    /// A form, as STS takes it.
    pub fn form(&self, form: &str) -> Answer {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            form.len()
        );
        self.raw(head.as_bytes(), form.as_bytes())
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        self.raw(head.as_bytes(), b"")
    }

    /// Head and body over a connection that ends with the answer.
    ///
    /// # Panics
    /// When nobody listens, or answers.
    pub fn raw(&self, head: &[u8], body: &[u8]) -> Answer {
        self.exchange(&[head, body].concat(), None)
    }

    /// Any bytes, over a connection that ends with the answer. Where there is none for as long as
    /// `patience`, no more is sent, and the server knows that what it has is all.
    ///
    /// # Panics
    /// When nobody listens, or answers.
    pub fn exchange(&self, bytes: &[u8], patience: Option<Duration>) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let most = Duration::from_secs(ANSWER_SECONDS_MAX);
        let wait = |stream: &TcpStream, time| stream.set_read_timeout(Some(time)).expect("a time");
        wait(&stream, patience.unwrap_or(most));
        // Who refuses early does not read all of it.
        let _ = stream.write_all(bytes);
        let (mut answer, mut begin, mut is_ended) = (Vec::new(), Instant::now(), false);
        loop {
            let read = stream.read_to_end(&mut answer);
            let is_late = read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            match (is_late, is_ended || patience.is_none()) {
                (false, _) => break,
                (true, true) => panic!("no answer to {}", String::from_utf8_lossy(bytes)),
                (true, false) => {
                    is_ended = true;
                    begin = Instant::now();
                    // It may have ended by itself.
                    let _ = stream.shutdown(Shutdown::Write);
                    wait(&stream, most);
                }
            }
        }
        let took = begin.elapsed();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or(answer.len());
        let mut answer = Answer {
            head: String::from_utf8_lossy(&answer[..end]).into_owned(),
            body: answer.get(end + 4..).unwrap_or_default().to_vec(),
            took,
        };
        let length = answer.header("content-length").map(str::parse);
        if let Some(Ok(length)) = length {
            answer.body.truncate(length);
        }
        answer
    }

    /// Resident memory in KiB: `VmRSS` for now, `VmHWM` for the most there ever was.
    ///
    /// # Panics
    /// When the process has ended.
    pub fn resident_kib(&self, what: &str) -> u64 {
        let status = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(status).expect("it runs");
        let mut words = status.split_whitespace();
        let found = words.find(|word| word.strip_suffix(':') == Some(what));
        let kib = found.and_then(|_| words.next());
        kib.and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Sends a signal by its name until the process has ended: the first SIGSEGV that comes from outside
    /// only takes away the handler of Rust's runtime.
    ///
    /// # Panics
    /// When there is no `kill`, and after ten seconds.
    pub fn end_by(&mut self, signal: &str) -> std::process::ExitStatus {
        for _ in 0..100 {
            let killed = Command::new("kill")
                .args([&format!("-{signal}"), &self.child.id().to_string()])
                .status();
            assert!(killed.is_ok_and(|status| status.success()));
            std::thread::sleep(Duration::from_millis(100));
            if let Some(ended) = self.child.try_wait().expect("a child can be waited for") {
                return ended;
            }
        }
        panic!("{signal} does not end it");
    }
}

fn world_says(world: &World) -> String {
    std::fs::read_to_string(world.path("served.err")).unwrap_or_default()
}

impl Drop for Served {
    fn drop(&mut self) {
        // Ended already, where the test came to its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
