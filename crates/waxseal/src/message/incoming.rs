//! From a header that nobody vouches for to an authenticated message.

use super::error::OpenError;
use super::frame::FrameCipher;
use super::header::{self, Header, PUBLIC_KEY_NAME, Parsed};
use super::opener::Body;
use super::{Limits, OpenOptions, Release, keys};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{self, Read};
use waxseal_core::context::EncryptionContext;
use waxseal_core::crypto::ecdsa::{Hasher, VerifyingKey};
use waxseal_core::keyring::{self, DataKey, EncryptedDataKey, Keyring, KeyringError};

/// Bytes that are asked for at once while the header is read. What is read beyond it is kept.
const STEP_BYTES: usize = 4096;
/// The most that is asked for at once, whatever a field announces.
const STEP_BYTES_MAX: usize = 64 * 1024;

/// A message whose header was read and is **not** trusted.
pub struct Incoming<R> {
    reader: R,
    header: Header,
    /// What was read beyond the header.
    ahead: Vec<u8>,
    limits: Limits,
}

impl<R: Read> Incoming<R> {
    /// Reads the header, and perhaps some of the body behind it.
    ///
    /// # Errors
    /// [`OpenError`]: whatever is no header, ends early, or passes `limits`.
    pub fn read(mut reader: R, limits: &Limits) -> Result<Self, OpenError> {
        let mut bytes = Vec::new();
        let mut need = 1;
        loop {
            while bytes.len() < need {
                read_some(&mut reader, &mut bytes, need)?;
            }
            match header::parse(&bytes, limits)? {
                Parsed::NeedMore(more) => need = more,
                Parsed::Header(header) => {
                    return Ok(Self {
                        reader,
                        ahead: bytes.split_off(header.header_bytes()),
                        header: *header,
                        limits: limits.clone(),
                    });
                }
            }
        }
    }

    /// What the header claims.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Obtains the data key from `keyring`, compares the key commitment, verifies the header, and
    /// only then compares the required context.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        self,
        keyring: &dyn Keyring,
        options: &OpenOptions,
    ) -> Result<Opener<R>, OpenError> {
        let header = self.header;
        let suite = header.suite();
        if !options.commitment.may_open(suite) {
            return Err(OpenError::Commitment { suite: suite.id() });
        }
        let verifying = verifying_key(&header)?;
        let data_key = data_key(keyring, &header).await?;
        let key =
            keys::derive_committed(suite, &data_key, header.message_id(), header.commitment())?;
        header.authenticate(&key)?;
        check_context(header.context(), &options.required_context)?;
        let body = Body::new(
            FrameCipher::new(key, header.message_id()),
            header.frame_bytes(),
            self.limits.frame_bytes_max,
            verifying,
        );
        Ok(Opener {
            reader: self.reader,
            header,
            ahead: self.ahead,
            body,
        })
    }
}

/// A message whose header is authentic and whose key is at hand.
///
/// [`Opener::open_stream`] gives the plaintext.
pub struct Opener<R> {
    pub(super) reader: R,
    pub(super) header: Header,
    pub(super) ahead: Vec<u8>,
    pub(super) body: Body,
}

impl<R> Opener<R> {
    /// What the header says. It is authentic.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Nothing of a signed message is verified before its end.
    pub(super) fn refuse_release(&self, release: Release) -> Result<(), OpenError> {
        match self.header.suite().is_signed() && release == Release::Verified {
            true => Err(OpenError::SignedRelease),
            false => Ok(()),
        }
    }
}

fn read_some(reader: &mut impl Read, bytes: &mut Vec<u8>, need: usize) -> Result<(), OpenError> {
    let have = bytes.len();
    bytes.resize(have + (need - have).clamp(STEP_BYTES, STEP_BYTES_MAX), 0);
    let read = loop {
        match reader.read(&mut bytes[have..]) {
            Ok(0) => return Err(OpenError::Truncated),
            Ok(read) => break read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(OpenError::Read(error)),
        }
    };
    bytes.truncate(have.saturating_add(read));
    Ok(())
}

/// The key for the signature, with the hash that the header already went into. Whether there is
/// one must agree with the suite (`framework/default-cmm.md`).
fn verifying_key(header: &Header) -> Result<Option<(VerifyingKey, Hasher)>, OpenError> {
    let malformed = |rule| OpenError::Malformed { rule };
    let stored = header.context().value(PUBLIC_KEY_NAME);
    match (header.suite().signature(), stored) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(malformed("an unsigned message carries a public key")),
        (Some(_), None) => Err(malformed("a signed message carries no public key")),
        (Some(curve), Some(text)) => {
            let wrong = || malformed("the public key is not a point of its curve in base64");
            let point = STANDARD.decode(text).map_err(|_| wrong())?;
            let key = VerifyingKey::from_point(curve, &point).map_err(|_| wrong())?;
            let mut hasher = Hasher::new(curve);
            hasher.update(header.bytes());
            Ok(Some((key, hasher)))
        }
    }
}

async fn data_key(keyring: &dyn Keyring, header: &Header) -> Result<DataKey, OpenError> {
    let encrypted = header.encrypted_data_keys();
    let key_bytes = Some(header.suite().key_bytes());
    match keyring::unwrap_any(keyring, encrypted, header.context(), key_bytes).await {
        Err(KeyringError::AllFailed(mut failures)) => Err(match failures.len() {
            0 => OpenError::NobodysKey {
                providers: encrypted.iter().map(provider).collect(),
            },
            1 => OpenError::Keyring(failures.remove(0)),
            _ => OpenError::Keyring(KeyringError::AllFailed(failures)),
        }),
        other => Ok(other?),
    }
}

/// Who wrapped a data key. The information is shown where it is text, as key ARNs are.
fn provider(encrypted: &EncryptedDataKey) -> String {
    let printable = |text: &&str| !text.is_empty() && !text.contains(char::is_control);
    match std::str::from_utf8(&encrypted.provider_info)
        .ok()
        .filter(printable)
    {
        Some(info) => format!("{} {info}", encrypted.provider_id.escape_debug()),
        None => encrypted.provider_id.escape_debug().to_string(),
    }
}

fn check_context(found: &EncryptionContext, required: &EncryptionContext) -> Result<(), OpenError> {
    match required
        .iter()
        .find(|(name, value)| found.value(name) != Some(value))
    {
        Some((name, _)) => Err(OpenError::ContextMismatch {
            name: name.to_owned(),
        }),
        None => Ok(()),
    }
}

impl<R> std::fmt::Debug for Incoming<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Incoming({:?}, not trusted)", self.header.suite())
    }
}

impl<R> std::fmt::Debug for Opener<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({:?})", self.header.suite())
    }
}
