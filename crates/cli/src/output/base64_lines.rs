//! Base64 in lines, as it is written when asked for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{self, Write};

/// Bytes in a line: 76 characters (RFC 2045, section 6.8).
const LINE_BYTES: usize = 57;
const LINE_CHARS: usize = LINE_BYTES / 3 * 4;

/// What is not a whole line yet.
#[derive(Debug, Default)]
pub(super) struct Base64Lines {
    pending: Vec<u8>,
}

impl Base64Lines {
    /// Writes every whole line to `text`.
    pub(super) fn write(&mut self, mut bytes: &[u8], text: &mut impl Write) -> io::Result<()> {
        if !self.pending.is_empty() {
            let missing = (LINE_BYTES - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.pending.len() < LINE_BYTES {
                return Ok(());
            }
            line(&self.pending, text)?;
            self.pending.clear();
        }
        let lines = bytes.chunks_exact(LINE_BYTES);
        self.pending.extend_from_slice(lines.remainder());
        for bytes in lines {
            line(bytes, text)?;
        }
        Ok(())
    }

    /// Writes the last line.
    pub(super) fn finish(&mut self, text: &mut impl Write) -> io::Result<()> {
        match self.pending.is_empty() {
            true => Ok(()),
            false => line(&std::mem::take(&mut self.pending), text),
        }
    }
}

fn line(bytes: &[u8], text: &mut impl Write) -> io::Result<()> {
    let mut line = [0; LINE_CHARS + 1];
    let chars = STANDARD
        .encode_slice(bytes, &mut line)
        .map_err(io::Error::other)?;
    line[chars] = b'\n';
    text.write_all(&line[..=chars])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_depend_on_how_they_are_written() {
        let bytes: Vec<u8> = (0..400_u32).map(|at| at as u8).collect();
        for len in [0, 1, 56, 57, 58, 114, 400] {
            for step in [1, 7, 57, 58, 400] {
                let (mut lines, mut text) = (Base64Lines::default(), Vec::new());
                for part in bytes[..len].chunks(step) {
                    lines.write(part, &mut text).unwrap();
                }
                lines.finish(&mut text).unwrap();
                let text = String::from_utf8(text).unwrap();
                assert!(text.lines().all(|line| line.len() <= LINE_CHARS));
                assert!(text.is_empty() || text.ends_with('\n'));
                let decoded = STANDARD.decode(text.replace('\n', "")).unwrap();
                assert_eq!(decoded, bytes[..len], "{len} by {step}");
            }
        }
    }
}
