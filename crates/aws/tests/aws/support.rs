//! A key service that answers what it is told, and child processes with a known environment.

use serde_json::{Value, json};
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};
use std::time::Duration;
use waxseal_aws::{AwsKms, AwsOptions};
use waxseal_core::{EncryptedDataKey, EncryptionContext};

pub(crate) const ARN: &str =
    "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
pub(crate) const OTHER_ARN: &str =
    "arn:aws:kms:eu-west-1:123456789012:key/99999999-12ab-34cd-56ef-1234567890ab";

/// What the stub was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value.trim())
    }

    pub(crate) fn operation(&self) -> &str {
        self.header("x-amz-target")
            .strip_prefix("TrentService.")
            .unwrap()
    }

    /// `REGION/SERVICE/aws4_request` of the signature's scope.
    pub(crate) fn scope(&self) -> String {
        let authorization = self.header("authorization");
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential="));
        assert!(authorization.contains("Signature="));
        let (credential, _) = authorization.split_once(',').unwrap();
        let parts: Vec<&str> = credential.rsplit('/').take(3).collect();
        format!("{}/{}/{}", parts[2], parts[1], parts[0])
    }
}

/// What the stub answers.
pub(crate) enum Reply {
    Json(u16, Value),
    Raw(String),
    Hang,
}

pub(crate) fn ok(body: Value) -> Reply {
    Reply::Json(200, body)
}

pub(crate) fn error(status: u16, code: &str) -> Reply {
    Reply::Json(status, json!({"__type": code, "message": "as told"}))
}

pub(crate) struct Stub {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    /// `answer` sees the request and how many came before it.
    pub(crate) fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &seen, answer.as_ref()));
            }
        });
        Self { url, requests }
    }

    /// Always the same answer.
    pub(crate) fn answering(body: Value) -> Self {
        Self::start(move |_, _| ok(body.clone()))
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn only_request(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }

    pub(crate) fn options(&self) -> AwsOptions {
        AwsOptions {
            endpoint_url: Some(self.url.clone()),
            attempts: Some(1),
            ..AwsOptions::default()
        }
    }

    pub(crate) fn kms(&self) -> Arc<AwsKms> {
        AwsKms::new(self.options())
    }
}

fn serve(
    stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &(impl Fn(&Request, usize) -> Reply + ?Sized),
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader) {
        let count = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let bytes = match answer(&request, count) {
            Reply::Hang => {
                std::thread::sleep(Duration::from_secs(60));
                return;
            }
            Reply::Raw(bytes) => bytes,
            Reply::Json(status, body) => {
                let body = body.to_string();
                format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\n\
                     x-amzn-requestid: request-{count}\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
        };
        if writer.write_all(bytes.as_bytes()).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut request = Request {
        head,
        body: Value::Null,
    };
    let mut body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    request.body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(request)
}

/// An executor that knows no runtime: the keyring must work on any.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

pub(crate) fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    let mut context = EncryptionContext::new();
    for (name, value) in pairs {
        context.insert(*name, *value).unwrap();
    }
    context
}

pub(crate) fn edk(arn: &str) -> EncryptedDataKey {
    EncryptedDataKey {
        provider_info: arn.as_bytes().to_vec(),
        ..EncryptedDataKey::bare(b"blob".to_vec())
    }
}

/// What every child sees unless a test says otherwise. Nothing else of our own environment.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];
const CHILD: &str = "WAXSEAL_AWS_TEST_CHILD";

pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the test `name` again, in a process of its own. An empty value takes a variable away.
/// Variables belong to the whole process, so no test may set them for itself.
pub(crate) fn run_child(name: &str, environment: &[(&str, &str)]) {
    let home = tempfile::tempdir().unwrap();
    let (_, name) = name.split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env_clear()
        .env(CHILD, "1")
        .env("HOME", home.path())
        .envs(ENVIRONMENT);
    for (name, value) in environment {
        match value.is_empty() {
            true => command.env_remove(name),
            false => command.env(name, value),
        };
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A test whose body runs in a child process with the standard environment and what `with` adds.
macro_rules! hermetic {
    ($(fn $name:ident() $(with $environment:expr)? => $body:block)*) => {$(
        #[test]
        fn $name() {
            if $crate::support::is_child() {
                return $body;
            }
            #[allow(unused_mut, unused_assignments)]
            let mut environment: &[(&str, &str)] = &[];
            $(environment = &$environment;)?
            let name = concat!(module_path!(), "::", stringify!($name));
            $crate::support::run_child(name, environment);
        }
    )*};
}
pub(crate) use hermetic;
