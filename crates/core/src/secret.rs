//! Bytes that must not leak: zeroed on drop, never printed, compared in constant time.

use subtle::ConstantTimeEq;
use zeroize::optimization_barrier;

/// A secret of any length. It is zeroed when dropped and shows only its length in `Debug`.
///
/// There is no `Clone`: a second copy is made by [`SecretBytes::copy_of`], which is easy to
/// search for. Reading needs [`SecretBytes::expose`], for the same reason.
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes ownership of `bytes`; no copy is left behind.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Copies `bytes`. The caller remains responsible for wiping the original.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }

    /// A zero-filled secret of `len` bytes, to be filled through [`SecretBytes::expose_mut`].
    pub fn zeroed(len: usize) -> Self {
        Self::new(vec![0; len])
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret itself, to be written in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Length in bytes. Not secret.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Equality in time that depends on the lengths only.
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        ct_eq(&self.0, other)
    }
}

impl Drop for SecretBytes {
    /// Zeroes all that is allocated. A fill and a barrier, which the compiler must take for a use
    /// of the zeros, in place of a volatile store a byte: buffers of messages are wiped as well.
    fn drop(&mut self) {
        let allocated = self.0.capacity();
        self.0.clear();
        self.0.resize(allocated, 0);
        optimization_barrier(self.0.as_slice());
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len())
    }
}

/// A secret that is written piece by piece. When it grows, what it leaves behind is zeroed.
#[derive(Debug)]
pub struct SecretWriter(SecretBytes);

impl SecretWriter {
    /// With room for so many bytes before it has to grow.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(SecretBytes(Vec::with_capacity(bytes)))
    }

    /// What was written.
    pub fn finish(self) -> SecretBytes {
        self.0
    }
}

impl std::io::Write for SecretWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = &mut self.0.0;
        if written.capacity() - written.len() < bytes.len() {
            let needed = (written.len() + bytes.len()).max(2 * written.capacity());
            let mut larger = Vec::with_capacity(needed);
            larger.extend_from_slice(written);
            // What is replaced is dropped, and zeroed.
            self.0 = SecretBytes(larger);
        }
        self.0.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Compares two public-length values in time that depends on their lengths only.
pub fn ct_eq(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    // Eight bytes at once.
    let ((left, left_end), (right, right_end)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    let same = |(one, other): (&[u8; 8], &[u8; 8])| {
        let [one, other] = [one, other].map(|bytes| u64::from_ne_bytes(*bytes));
        one.ct_eq(&other)
    };
    let pairs = left.iter().zip(right).map(same);
    pairs
        .fold(left_end.ct_eq(right_end), |all, one| all & one)
        .into()
}

/// How much of a stack [`wipe_stack`] reaches. Requests were seen to take 72 KiB; making and using RSA and
/// ML-DSA keys takes 144.
const STACK_BYTES: usize = 96 << 10;

/// Overwrites the stack below its caller, where calls that returned left what they had there: copies that
/// a compiler made of a secret when it was moved, and registers that were put aside.
#[inline(never)]
pub fn wipe_stack() {
    let room = [0_u8; STACK_BYTES];
    optimization_barrier(&room);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    /// Leaves a pattern on the stack. Where it was.
    #[inline(never)]
    fn leave() -> u64 {
        let room = [0xa5_u8; STACK_BYTES / 2];
        optimization_barrier(&room);
        room.as_ptr().addr() as u64
    }

    #[test]
    fn what_calls_left_on_the_stack_is_overwritten() {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut found = vec![0; STACK_BYTES / 4];
        let at = leave();
        memory.read_exact_at(&mut found, at).unwrap();
        assert!(found.iter().all(|byte| *byte == 0xa5));
        wipe_stack();
        memory.read_exact_at(&mut found, at).unwrap();
        assert!(found.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn debug_shows_no_byte() {
        let secret = SecretBytes::copy_of(b"hunter2");
        assert_eq!(format!("{secret:?}"), "SecretBytes(7 bytes)");
    }

    #[test]
    fn what_is_written_is_there() {
        use std::io::Write as _;
        let mut writer = SecretWriter::with_capacity(2);
        for piece in [&b"a"[..], b"", b"bcd", b"efghijklmnop"] {
            writer.write_all(piece).unwrap();
        }
        assert_eq!(writer.finish().expose(), b"abcdefghijklmnop");
    }

    #[test]
    fn equality_is_by_value() {
        let secret = SecretBytes::copy_of(b"abc");
        assert!(secret.ct_eq(b"abc"));
        assert!(!secret.ct_eq(b"abd"));
        assert!(!secret.ct_eq(b"ab"));
    }
}
