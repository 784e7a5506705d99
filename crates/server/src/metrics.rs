//! What the server counts, in the text format of Prometheus (version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use waxseal_kms_api::ErrorCode;
use waxseal_kms_api::op::OPERATIONS;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Upper bounds of the buckets of times, in microseconds.
const BUCKETS: [u64; 12] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000, 10_000_000,
];

/// What is not an operation is counted under this name.
const OTHER: &str = "other";

/// Counters that many threads add to.
#[derive(Debug)]
pub struct Metrics {
    operations: Vec<Counts>,
    errors: Mutex<BTreeMap<(usize, &'static str), u64>>,
    connections: AtomicI64,
    refused_connections: AtomicU64,
    unrecorded_refusals: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    micros: AtomicU64,
    /// Requests that took at most as long as the bound of the same place.
    buckets: [AtomicU64; BUCKETS.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            operations: (0..=OPERATIONS.len()).map(|_| Counts::default()).collect(),
            errors: Mutex::default(),
            connections: AtomicI64::new(0),
            refused_connections: AtomicU64::new(0),
            unrecorded_refusals: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// A request for `operation` (any text) that came to `error`, or to none.
    pub fn request(&self, operation: &str, error: Option<ErrorCode>, took: Duration) {
        let found = OPERATIONS.iter().position(|name| *name == operation);
        let at = found.unwrap_or(OPERATIONS.len());
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let counts = &self.operations[at];
        counts.requests.fetch_add(1, Ordering::Relaxed);
        counts.micros.fetch_add(micros, Ordering::Relaxed);
        for (bound, bucket) in BUCKETS.iter().zip(&counts.buckets) {
            if micros <= *bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(code) = error {
            let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
            *errors.entry((at, code.name())).or_default() += 1;
        }
    }

    /// A connection was accepted; it counts until what is returned is dropped.
    pub(crate) fn connection(self: &std::sync::Arc<Self>) -> Open {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }

    /// A connection was closed at once, for there are too many.
    pub(crate) fn refused_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A stranger was refused without a record of it.
    pub(crate) fn unrecorded_refusal(&self) {
        self.unrecorded_refusals.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(4096);
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let name = |at: usize| OPERATIONS.get(at).copied().unwrap_or(OTHER);
        let seen = || {
            let counts = self.operations.iter().enumerate();
            counts.filter(|(_, counts)| counts.requests.load(Ordering::Relaxed) > 0)
        };
        text.push_str("# HELP waxseal_requests_total Requests answered.\n");
        text.push_str("# TYPE waxseal_requests_total counter\n");
        for (at, counts) in seen() {
            let requests = counts.requests.load(Ordering::Relaxed);
            writeln!(
                text,
                "waxseal_requests_total{{operation=\"{}\"}} {requests}",
                name(at)
            )?;
        }
        text.push_str("# HELP waxseal_errors_total Requests answered with an error.\n");
        text.push_str("# TYPE waxseal_errors_total counter\n");
        for ((at, code), count) in &*self.errors.lock().unwrap_or_else(PoisonError::into_inner) {
            let operation = name(*at);
            writeln!(
                text,
                "waxseal_errors_total{{operation=\"{operation}\",error=\"{code}\"}} {count}"
            )?;
        }
        text.push_str(
            "# HELP waxseal_request_seconds Time from the last byte of a request to its answer.\n",
        );
        text.push_str("# TYPE waxseal_request_seconds histogram\n");
        for (at, counts) in seen() {
            let operation = name(at);
            for (bound, bucket) in BUCKETS.iter().zip(&counts.buckets) {
                let (bound, count) = (*bound as f64 / 1e6, bucket.load(Ordering::Relaxed));
                writeln!(
                    text,
                    "waxseal_request_seconds_bucket{{operation=\"{operation}\",le=\"{bound}\"}} {count}"
                )?;
            }
            let requests = counts.requests.load(Ordering::Relaxed);
            let seconds = counts.micros.load(Ordering::Relaxed) as f64 / 1e6;
            writeln!(
                text,
                "waxseal_request_seconds_bucket{{operation=\"{operation}\",le=\"+Inf\"}} {requests}"
            )?;
            writeln!(
                text,
                "waxseal_request_seconds_sum{{operation=\"{operation}\"}} {seconds}"
            )?;
            writeln!(
                text,
                "waxseal_request_seconds_count{{operation=\"{operation}\"}} {requests}"
            )?;
        }
        let (open, refused) = (
            self.connections.load(Ordering::Relaxed),
            self.refused_connections.load(Ordering::Relaxed),
        );
        text.push_str("# HELP waxseal_connections Connections that are open.\n");
        text.push_str("# TYPE waxseal_connections gauge\n");
        writeln!(text, "waxseal_connections {open}")?;
        text.push_str("# HELP waxseal_connections_refused_total Connections beyond the limits.\n");
        text.push_str("# TYPE waxseal_connections_refused_total counter\n");
        writeln!(text, "waxseal_connections_refused_total {refused}")?;
        let unrecorded = self.unrecorded_refusals.load(Ordering::Relaxed);
        text.push_str("# HELP waxseal_unrecorded_refusals_total Refusals of strangers beyond those in the audit log.\n");
        text.push_str("# TYPE waxseal_unrecorded_refusals_total counter\n");
        writeln!(text, "waxseal_unrecorded_refusals_total {unrecorded}")
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Open(std::sync::Arc<Metrics>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_operation_and_error() {
        let metrics = Metrics::default();
        metrics.request("Encrypt", None, Duration::from_micros(300));
        metrics.request(
            "Encrypt",
            Some(ErrorCode::Disabled),
            Duration::from_secs(100),
        );
        metrics.request(
            "no such \"thing\"",
            Some(ErrorCode::UnknownOperation),
            Duration::ZERO,
        );
        let text = metrics.text();
        for line in [
            "waxseal_requests_total{operation=\"Encrypt\"} 2",
            "waxseal_requests_total{operation=\"other\"} 1",
            "waxseal_errors_total{operation=\"Encrypt\",error=\"DisabledException\"} 1",
            "waxseal_request_seconds_bucket{operation=\"Encrypt\",le=\"0.00025\"} 0",
            "waxseal_request_seconds_bucket{operation=\"Encrypt\",le=\"0.0005\"} 1",
            "waxseal_request_seconds_bucket{operation=\"Encrypt\",le=\"+Inf\"} 2",
            "waxseal_request_seconds_sum{operation=\"Encrypt\"} 100.0003",
            "waxseal_connections 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
        assert!(!text.contains("no such"));
    }
}
