//! A server of the built program that lets everyone in, and a client that knows which of its requests
//! were answered.

use crate::World;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Longer than any answer may take, whatever the machine is doing besides.
const ANSWER_SECONDS_MAX: u64 = 60;

/// A process that serves.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Serves the home in `data`, which is made where it is not there, once it listens.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(world: &World, data: &Path) -> Self {
        Self::try_start(world, data).expect("the server listens")
    }

    /// The same; what it says on stderr when it does not listen.
    ///
    /// # Errors
    /// What it said.
    pub fn try_start(world: &World, data: &Path) -> Result<Self, String> {
        let data = data.to_str().expect("text");
        let args = ["serve", "--dev", "--data", data, "--listen", "127.0.0.1:0"];
        let mut child = world
            .command(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut told = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        told.read_line(&mut line).expect("stdout is text");
        let mut stderr = child.stderr.take().expect("it is piped");
        if let Some(url) = line.trim().strip_prefix("AWS_ENDPOINT_URL_KMS=http://") {
            let address = url.parse().expect("an address");
            // Nobody else reads what it says.
            std::thread::spawn(move || io::copy(&mut stderr, &mut io::sink()));
            std::thread::spawn(move || io::copy(&mut told, &mut io::sink()));
            return Ok(Self { child, address });
        }
        let mut why = String::new();
        stderr.read_to_string(&mut why).expect("stderr is text");
        child.wait().expect("a child can be waited for");
        Err(why)
    }

    /// Ends it by SIGKILL.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Someone who asks.
    pub fn client(&self) -> Client {
        Client::of(self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.end();
        }
    }
}

/// One connection, made again when it broke.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// As in the audit log.
    pub request_id: String,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        self.status == 200
    }

    /// A member of the body that is a text.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> &str {
        let text = self.body.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no {pointer} in {self:?}"))
    }
}

impl Client {
    /// Someone who asks the server at an address.
    pub fn of(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    /// An operation of the KMS.
    ///
    /// # Errors
    /// As the system says when there is no answer.
    pub fn call(&mut self, operation: &str, input: &Value) -> io::Result<Answer> {
        let input = input.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amz-target: TrentService.{operation}\r\ncontent-length: {}\r\n\r\n{input}",
            input.len()
        );
        self.exchange(&head)
    }

    /// A look at the server.
    ///
    /// # Errors
    /// As the system says when there is no answer.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
    }

    fn exchange(&mut self, request: &str) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        stream.get_mut().write_all(request.as_bytes())?;
        let answer = read(&mut stream)?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut answer = Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        request_id: String::new(),
        body: Value::Null,
    };
    let mut bytes = 0;
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(": ") {
            None => break,
            Some(("content-length", value)) => {
                bytes = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
            Some(("x-amzn-requestid", value)) => answer.request_id = value.to_owned(),
            Some(_) => {}
        }
    }
    let mut body = vec![0; bytes];
    stream.read_exact(&mut body)?;
    answer.body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(answer)
}
