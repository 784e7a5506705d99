//! Load on a KMS by requests that are each signed by itself, as an SDK signs them: `bench/kms-server
//! --signed`.
//!
//! `load ADDRESS CONNECTIONS SECONDS REGION OPERATION BODY`, with the access key in
//! `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. Keep-alive connections over one thread, each with one
//! request under way. Prints requests a second, and the median and the 99th percentile of the time
//! in milliseconds; an answer other than 200 ends it.

#![allow(clippy::print_stdout, reason = "what it measured is its output")]

use std::io::{Error, ErrorKind, Result};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use waxseal_core::crypto::hash::sha256;
use waxseal_core::crypto::mac::{MacHash, hmac};

/// What every request has in common.
struct Job {
    address: String,
    region: String,
    access_key_id: String,
    secret: String,
    operation: String,
    body: String,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, seconds, region, operation, body] = &arguments[..] else {
        return Err(invalid(
            "load ADDRESS CONNECTIONS SECONDS REGION OPERATION BODY",
        ));
    };
    let number = |text: &str| text.parse::<u64>().map_err(|_| invalid("a number"));
    let (connections, seconds) = (number(connections)?, number(seconds)?);
    let variable = |name: &str| std::env::var(name).map_err(|_| invalid(name));
    let job = Job {
        address: address.clone(),
        region: region.clone(),
        access_key_id: variable("AWS_ACCESS_KEY_ID")?,
        secret: variable("AWS_SECRET_ACCESS_KEY")?,
        operation: operation.clone(),
        body: body.clone(),
    };
    let job: &'static Job = Box::leak(Box::new(job));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let begin = Instant::now();
    let mut times = runtime.block_on(async move {
        let loads: Vec<_> = (0..connections)
            .map(|number| tokio::spawn(load(job, number, end)))
            .collect();
        let mut times = Vec::new();
        for load in loads {
            times.extend(load.await.map_err(Error::other)??);
        }
        Ok::<_, Error>(times)
    })?;
    let took = begin.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len() as f64 * share) as usize;
        let time = times.get(place).copied().unwrap_or_default();
        time.as_secs_f64() * 1e3
    };
    println!(
        "{:.0} {:.3} {:.3}",
        times.len() as f64 / took,
        at(0.50),
        at(0.99)
    );
    Ok(())
}

/// One connection: a request, its answer, and again.
async fn load(job: &Job, connection: u64, end: Instant) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(&job.address).await?;
    stream.set_nodelay(true)?;
    let mut key = (String::new(), Vec::new());
    let (mut times, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    while Instant::now() < end {
        let begin = Instant::now();
        let id = format!("{connection}-{}", times.len());
        let request = job.signed(&id, &mut key);
        stream.write_all(request.as_bytes()).await?;
        answered(&mut stream, &mut buffer).await?;
        times.push(begin.elapsed());
    }
    Ok(times)
}

impl Job {
    /// A request with an id of its own, signed now. `key` is the signing key of its day.
    fn signed(&self, id: &str, key: &mut (String, Vec<u8>)) -> String {
        let now = OffsetDateTime::now_utc();
        let (year, month, day) = now.to_calendar_date();
        let (hour, minute, second) = now.to_hms();
        let month = u8::from(month);
        let moment = format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z");
        let day = &moment[..8];
        if key.0 != day {
            let first = format!("AWS4{}", self.secret).into_bytes();
            let parts = [day, &self.region, "kms", "aws4_request"];
            let derived = parts
                .iter()
                .fold(first, |key, part| mac(&key, part.as_bytes()));
            *key = (day.to_owned(), derived);
        }
        let (address, operation, body) = (&self.address, &self.operation, &self.body);
        let names = "amz-sdk-invocation-id;content-type;host;x-amz-date;x-amz-target";
        let canonical = format!(
            "POST\n/\n\namz-sdk-invocation-id:{id}\ncontent-type:application/x-amz-json-1.1\n\
             host:{address}\nx-amz-date:{moment}\nx-amz-target:TrentService.{operation}\n\n{names}\n{}",
            hex(&sha256(&[body.as_bytes()]))
        );
        let scope = format!("{day}/{}/kms/aws4_request", self.region);
        let hash = hex(&sha256(&[canonical.as_bytes()]));
        let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hash}");
        let signature = hex(&mac(&key.1, to_sign.as_bytes()));
        format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: TrentService.{operation}\r\nX-Amz-Date: {moment}\r\n\
             Amz-Sdk-Invocation-Id: {id}\r\nContent-Length: {}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
             Signature={signature}\r\n\r\n{body}",
            body.len(),
            self.access_key_id
        )
    }
}

/// Reads one answer: 200, with a length.
async fn answered(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    let mut have = 0;
    loop {
        let read = stream.read(&mut buffer[have..]).await?;
        if read == 0 {
            return Err(invalid("the connection ended"));
        }
        have += read;
        let seen = &buffer[..have];
        let Some(head) = seen.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
        if !text.starts_with("http/1.1 200 ") {
            return Err(invalid(&String::from_utf8_lossy(seen)));
        }
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse::<usize>().ok());
        let length = length.ok_or_else(|| invalid("an answer without a length"))?;
        if have >= head + 4 + length {
            return Ok(());
        }
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac(MacHash::Sha256, key, &[text])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, what)
}
