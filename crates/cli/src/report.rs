//! What is told, to whom: results, notes and errors, in words or as JSON lines.

use crate::failure::Failure;
use crate::terminal::plain;
use indicatif::BinaryBytes;
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

/// One file that was done before, or one that `--dry-run` tells of.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Planned {
    /// What would be, or would have been, read.
    pub(crate) file: String,
    /// What would be written, or is there already.
    pub(crate) output: String,
    /// `write`, `replace` or `skip`.
    pub(crate) action: &'static str,
}

/// What a run over many files came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    /// Files done.
    pub(crate) done: u64,
    /// Files that were done before (`--skip-done`).
    pub(crate) skipped: u64,
    /// Files that failed.
    pub(crate) failed: u64,
    /// Links, devices, sockets and pipes in the trees, which are not followed or opened.
    pub(crate) left_out: u64,
    /// Of the files done.
    pub(crate) plaintext_bytes: u64,
    /// Of the files done; headers included, before base64.
    pub(crate) ciphertext_bytes: u64,
    /// That the keyrings were asked for, where files share them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_keys: Option<u64>,
    /// Since the start.
    pub(crate) seconds: f64,
    /// By a signal: what is not done has left nothing behind.
    pub(crate) interrupted: bool,
    /// Nothing was done: `done` counts the files that would be, and no bytes.
    pub(crate) dry_run: bool,
}

impl Summary {
    /// For instance `9,998 files done, 2 failed: 39.05 MiB in 0.4 s, 97.60 MiB/s`.
    fn in_words(&self) -> String {
        let done = if self.dry_run { "to do" } else { "done" };
        let mut told = format!("{} {} {done}", self.done, files(self.done));
        let also = [
            (self.skipped, "skipped, done before"),
            (self.failed, "failed"),
            (self.left_out, "links or special files left out"),
        ];
        for (count, what) in also.iter().filter(|(count, _)| *count > 0) {
            told += &format!(", {count} {what}");
        }
        if self.dry_run {
            return told;
        }
        if let Some(keys) = self.data_keys {
            let plural = if keys == 1 { "" } else { "s" };
            told += &format!(", {keys} data key{plural}");
        }
        let rate = self.plaintext_bytes as f64 / self.seconds.max(0.001);
        told + &format!(
            ": {} in {:.1} s, {}/s",
            BinaryBytes(self.plaintext_bytes),
            self.seconds,
            BinaryBytes(rate as u64)
        )
    }
}

fn files(count: u64) -> &'static str {
    if count == 1 { "file" } else { "files" }
}

#[derive(Serialize)]
struct Summarized<'a> {
    #[serde(flatten)]
    told: Option<Told<'a>>,
    summary: &'a Summary,
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

    /// What `--dry-run` found: a line on stdout, in JSON or in words.
    pub(crate) fn planned(&self, planned: &Planned) {
        if self.json {
            return self.item(planned, false);
        }
        let (file, output) = (plain(&planned.file), plain(&planned.output));
        let line = match planned.action {
            "write" => format!("{file} -> {output}"),
            "replace" => format!("{file} -> {output} (replaced)"),
            _ => format!("{file} -> {output} (skipped: done before)"),
        };
        // A reader that has gone does not want the rest.
        drop(writeln!(std::io::stdout().lock(), "{line}"));
    }

    /// A file was done before: a JSON line when those were asked for, and nothing otherwise.
    pub(crate) fn skipped(&self, planned: &Planned) {
        if self.json {
            self.item(planned, false);
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

    /// The last line of a run over many files, on stderr.
    pub(crate) fn summary(&self, summary: &Summary) {
        if self.quiet {
            return;
        }
        if self.json {
            return tell_json(&Summarized {
                told: None,
                summary,
            });
        }
        let before = if summary.interrupted {
            "interrupted: "
        } else {
            ""
        };
        self.note(&format!("{before}{}", summary.in_words()));
    }

    /// The same where files failed: the error of the whole. In JSON it is one line.
    pub(crate) fn summary_of_failure(&self, summary: &Summary, failure: &Failure) {
        if !self.json {
            self.summary(summary);
            return self.failure(failure, None);
        }
        tell_json(&Summarized {
            told: Some(Told::of(failure, None)),
            summary,
        });
    }

    /// An error on stderr, with the file that it is about when there are several.
    pub(crate) fn failure(&self, failure: &Failure, file: Option<&Path>) {
        if failure.what.is_empty() {
            return;
        }
        let file = file.map(|path| path.display().to_string());
        if self.json {
            return tell_json(&Told::of(failure, file));
        }
        let file = file.map_or_else(String::new, |name| format!("{}: ", plain(&name)));
        let (what, hint) = (plain(&failure.what), plain(&failure.hint));
        tell(&format!("waxseal: error: {file}{what}\n  {hint}"));
    }
}

impl<'a> Told<'a> {
    fn of(failure: &'a Failure, file: Option<String>) -> Self {
        Self {
            file,
            error: &failure.what,
            hint: &failure.hint,
            exit: failure.exit as u8,
        }
    }
}

fn tell_json(line: &impl Serialize) {
    tell(&serde_json::to_string(line).unwrap_or_default());
}

/// One write, so that lines of several processes do not mix either. There is nobody to tell that
/// stderr failed.
fn tell(line: &str) {
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}
