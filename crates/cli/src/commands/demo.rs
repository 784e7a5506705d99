//! `waxseal demo`: the tour.

use super::encrypt::Recipe;
use super::{Session, blob};
use crate::args::{Demo, Format};
use crate::failure::Failure;
use crate::input::{Input, Whole};
use crate::keys;
use crate::terminal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pollster::block_on;
use std::io::{self, Write};
use waxseal::message::{self, Incoming, Limits, OpenOptions};
use waxseal::{direct, secretbox};
use waxseal_core::SecretBytes;

/// The longest text that the tour takes: it is printed twice, once as base64.
const PLAINTEXT_BYTES_MAX: u64 = 1 << 20;
/// Characters in a line of base64.
const LINE_CHARS: usize = 76;

/// Runs the command.
pub(super) fn run(args: &Demo, session: &Session) -> Result<(), Failure> {
    let recipe = Recipe::new(args.format, &args.sealing, None, session)?;
    if session.world.stdin_is_terminal {
        session.report.note("type a text and end it with Ctrl-D");
    }
    let plaintext = read()?;
    let mut tour = Tour::begin(plaintext.expose())?;
    let (ciphertext, opened) = match args.format {
        Format::Message => through_message(&mut tour, &recipe, args, session, &plaintext)?,
        Format::Direct => through_direct(&mut tour, &recipe, args, session, plaintext)?,
        Format::Secretbox => through_secretbox(&mut tour, &recipe, args, session, &plaintext)?,
    };
    tour.end(&opened, ciphertext)
}

fn read() -> Result<Whole, Failure> {
    let input = Input::open(None)?;
    let read = Whole::read(input.into_reader(), None, PLAINTEXT_BYTES_MAX);
    let read = read.map_err(|error| Failure::io("read", "stdin", &error))?;
    read.ok_or_else(|| {
        Failure::policy(
            format!("the tour takes at most {PLAINTEXT_BYTES_MAX} bytes"),
            "use waxseal encrypt, which takes any size",
        )
    })
}

fn through_message(
    tour: &mut Tour,
    recipe: &Recipe,
    args: &Demo,
    session: &Session,
    plaintext: &Whole,
) -> Result<(usize, SecretBytes), Failure> {
    let sealed = recipe.message_of(plaintext.expose())?;
    let failed = |error| Failure::opening(error, "stdin", "stdout");
    let incoming = Incoming::read(&sealed[..], &Limits::default()).map_err(failed)?;
    let header = incoming.header();
    let suite = header.suite();
    tour.step(&format!(
        "GenerateDataKey: the keyring made a data key of {} bytes, in plaintext and in encrypted form. \
         The plaintext key stays in memory; encrypted, it is:",
        suite.key_bytes()
    ))?;
    for key in header.encrypted_data_keys() {
        tour.base64(&key.ciphertext)?;
    }
    tour.step(&format!(
        "The text was sealed locally with {} (0x{:04x}), in frames of {} bytes; nobody else saw it.",
        suite.name(),
        suite.id(),
        header.frame_bytes().map_or(0, std::num::NonZeroU32::get),
    ))?;
    tour.step(
        "Encrypted key, message id, encryption context and ciphertext travel together, \
         as an AWS Encryption SDK message. In base64:",
    )?;
    tour.base64(&sealed)?;
    tour.step(
        "Decrypt: the keyring decrypts the encrypted key in the header; with it the text is \
         verified and opened locally.",
    )?;
    let keyring = keys::for_opening(&session.keys(&args.sealing.keys), &session.world)?;
    let options = OpenOptions {
        required_context: recipe.context().clone(),
        ..OpenOptions::default()
    };
    let opened = message::decrypt(keyring.as_ref(), &sealed, &options);
    let (opened, _) = block_on(opened).map_err(failed)?;
    Ok((sealed.len(), opened))
}

fn through_direct(
    tour: &mut Tour,
    recipe: &Recipe,
    args: &Demo,
    session: &Session,
    plaintext: Whole,
) -> Result<(usize, SecretBytes), Failure> {
    tour.step(
        "Encrypt: the text itself goes to the KMS, which answers with a ciphertext blob. There is \
         no data key: each text is one call and has at most 4,096 bytes.",
    )?;
    let sealed = recipe.direct(plaintext.into_secret())?;
    if let Some(id) = blob::blob_facts(&sealed).and_then(|facts| facts.key_id) {
        tour.step(&format!("The blob names its own key: {id}."))?;
    }
    tour.step("The ciphertext, in base64:")?;
    tour.base64(&sealed)?;
    tour.step("Decrypt: the blob goes to the KMS, which answers with the text.")?;
    let keyring = keys::for_opening(&session.keys(&args.sealing.keys), &session.world)?;
    let opened = direct::open(keyring.as_ref(), &sealed, recipe.context());
    let opened = block_on(opened).map_err(Failure::direct)?;
    Ok((sealed.len(), opened))
}

fn through_secretbox(
    tour: &mut Tour,
    recipe: &Recipe,
    args: &Demo,
    session: &Session,
    plaintext: &Whole,
) -> Result<(usize, SecretBytes), Failure> {
    let sealed = recipe.secretbox(plaintext.expose())?;
    let limits = secretbox::Limits::default();
    let payload = secretbox::PayloadRef::decode(&sealed, &limits);
    let payload = payload.map_err(|error| Failure::secretbox(error.into()))?;
    tour.step(
        "GenerateDataKey: the KMS made a data key of 32 bytes, in plaintext and in encrypted form. \
         The plaintext key stays in memory; encrypted, it is:",
    )?;
    tour.base64(payload.key)?;
    tour.step(
        "The text was sealed locally with secretbox (XSalsa20-Poly1305) under a random nonce of 24 \
         bytes:",
    )?;
    tour.base64(&payload.nonce)?;
    tour.step(
        "Encrypted key, nonce and message travel together, as a gob-encoded \
         struct payload{Key []byte; Nonce [24]byte; Message []byte}. In base64:",
    )?;
    tour.base64(&sealed)?;
    tour.step(
        "Decrypt: the KMS decrypts the encrypted key; with it and the nonce the text is verified \
         and opened locally.",
    )?;
    let keyring = keys::for_opening(&session.keys(&args.sealing.keys), &session.world)?;
    let opened = secretbox::open_bytes(keyring.as_ref(), &sealed, recipe.context(), &limits);
    let opened = block_on(opened).map_err(Failure::secretbox)?;
    Ok((sealed.len(), opened))
}

/// Numbered steps on stdout.
struct Tour {
    out: io::Stdout,
    steps: u32,
}

impl Tour {
    fn begin(plaintext: &[u8]) -> Result<Self, Failure> {
        let mut tour = Self {
            out: io::stdout(),
            steps: 0,
        };
        tour.step(&format!("Read {} bytes from stdin.", plaintext.len()))?;
        Ok(tour)
    }

    fn step(&mut self, text: &str) -> Result<(), Failure> {
        self.steps += 1;
        let text = format!("{}. {}", self.steps, terminal::plain(text));
        self.write(in_lines(&text).as_bytes())
    }

    fn base64(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let text = STANDARD.encode(bytes);
        for line in text.as_bytes().chunks(LINE_CHARS) {
            self.write(&[b"   ", line, b"\n"].concat())?;
        }
        Ok(())
    }

    fn end(&mut self, opened: &SecretBytes, ciphertext_bytes: usize) -> Result<(), Failure> {
        let bytes = opened.len();
        self.step(&format!(
            "{bytes} bytes of plaintext, out of {ciphertext_bytes} bytes of ciphertext:"
        ))?;
        if terminal::is_text(opened.expose()) {
            self.write(opened.expose())?;
            return match opened.expose().ends_with(b"\n") {
                true => Ok(()),
                false => self.write(b"\n"),
            };
        }
        self.write(b"   (binary, in base64)\n")?;
        self.base64(opened.expose())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.out.write_all(bytes);
        written.map_err(|error| Failure::io("write", "stdout", &error))
    }
}

/// Breaks between words, and sets off what follows the first line.
fn in_lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + 16);
    let mut chars = 0;
    for word in text.split(' ') {
        if chars > 0 && chars + 1 + word.chars().count() > LINE_CHARS {
            lines.push_str("\n  ");
            chars = 2;
        }
        if chars > 0 {
            lines.push(' ');
            chars += 1;
        }
        lines.push_str(word);
        chars += word.chars().count();
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_fit_into_lines() {
        let text = "word ".repeat(40);
        let lines = in_lines(text.trim_end());
        assert!(lines.lines().all(|line| line.len() <= LINE_CHARS));
        assert!(lines.lines().skip(1).all(|line| line.starts_with("   w")));
        assert_eq!(in_lines("1. one"), "1. one\n");
    }
}
