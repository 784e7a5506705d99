//! What is told, to whom: results, notes and errors, in words or as JSON lines.

use crate::failure::Failure;
use crate::terminal::plain;
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// Tells results and errors in the form that was asked for. Lines from several threads do not
/// mix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    /// JSON lines instead of words.
    pub(crate) json: bool,
    /// Neither notes nor progress.
    pub(crate) quiet: bool,
}

/// One file that is done.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Done {
    /// What was read; `-` is stdin.
    pub(crate) file: String,
    /// What was written; `-` is stdout.
    pub(crate) output: String,
    /// `message`, `direct` or `secretbox`.
    pub(crate) format: &'static str,
    /// Bytes of plaintext.
    pub(crate) plaintext_bytes: u64,
    /// Bytes of ciphertext, headers included, before base64.
    pub(crate) ciphertext_bytes: u64,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    error: &'a str,
    hint: &'a str,
    exit: u8,
}

impl Report {
    /// A report in words, or in JSON lines.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// A file is done: a JSON line when those were asked for, and nothing otherwise.
    pub(crate) fn done(&self, done: &Done) {
        if self.json {
            self.item(done, done.output == "-");
        }
    }

    /// A JSON line on stdout, or on stderr when stdout carries the data.
    pub(crate) fn item(&self, item: &impl Serialize, stdout_is_data: bool) {
        let Ok(line) = serde_json::to_string(item) else {
            return;
        };
        match stdout_is_data {
            true => tell(&line),
            // A reader that has gone does not want the rest.
            false => drop(writeln!(std::io::stdout().lock(), "{line}")),
        }
    }

    /// A remark on stderr that changes nothing.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            tell(&format!("waxseal: {}", plain(text)));
        }
    }

    /// An error on stderr, with the file that it is about when there are several.
    pub(crate) fn failure(&self, failure: &Failure, file: Option<&Path>) {
        if failure.what.is_empty() {
            return;
        }
        let file = file.map(|path| path.display().to_string());
        if self.json {
            let told = Told {
                file,
                error: &failure.what,
                hint: &failure.hint,
                exit: failure.exit as u8,
            };
            return tell(&serde_json::to_string(&told).unwrap_or_default());
        }
        let file = file.map_or_else(String::new, |name| format!("{}: ", plain(&name)));
        let (what, hint) = (plain(&failure.what), plain(&failure.hint));
        tell(&format!("waxseal: error: {file}{what}\n  {hint}"));
    }
}

/// One write, so that lines of several processes do not mix either. There is nobody to tell that
/// stderr failed.
fn tell(line: &str) {
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}
