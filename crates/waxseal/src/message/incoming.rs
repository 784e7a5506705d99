//! From a header that nobody vouches for to an authenticated message.

use super::error::OpenError;
use super::frame::FrameCipher;
use super::header::{self, Header, Parsed, RESERVED_PREFIX};
use super::keys::{self, Info};
use super::opener::Body;
use super::{Limits, OpenOptions, Release};
use crate::materials::{DefaultManager, MaterialsManager, OpeningRequest};
use std::io::{self, Read};
use waxseal_core::context::EncryptionContext;
use waxseal_core::crypto::aead::AesGcm;
use waxseal_core::crypto::ecdsa::{Hasher, VerifyingKey};
use waxseal_core::keyring::Keyring;

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
}

impl<R> Incoming<R> {
    /// A header that was read elsewhere.
    pub(super) fn of(reader: R, header: Header, ahead: Vec<u8>, limits: Limits) -> Self {
        Self {
            reader,
            header,
            ahead,
            limits,
        }
    }

    /// The same with another reader, which gives what follows.
    #[cfg(feature = "tokio")]
    pub(super) fn with_reader<S>(self, reader: S) -> Incoming<S> {
        Incoming::of(reader, self.header, self.ahead, self.limits)
    }

    /// Takes the reader away, for a caller who will read on and
    /// [push](super::Opening::push) what follows.
    pub fn without_reader(self) -> (Incoming<()>, R) {
        let rest = Incoming::of((), self.header, self.ahead, self.limits);
        (rest, self.reader)
    }

    /// What the header claims.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Obtains the data key from `keyring`, compares the key commitment, verifies the header, and
    /// only then compares the required context.
    ///
    /// Required pairs that the header does not have are taken to be authenticated and not stored
    /// (`framework/required-encryption-context-cmm.md`): they join the context.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        self,
        keyring: &dyn Keyring,
        options: &OpenOptions,
    ) -> Result<Opener<R>, OpenError> {
        self.open_with(&DefaultManager::new(keyring), options).await
    }

    /// The same with the keys that `manager` supplies.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_with(
        self,
        manager: &dyn MaterialsManager,
        options: &OpenOptions,
    ) -> Result<Opener<R>, OpenError> {
        let mut header = self.header;
        let Unlocked {
            key,
            verifying_key,
            context,
        } = unlock(&header, manager, options).await?;
        check_context(header.context(), &options.required_context)?;
        header.complete(context);
        let suite = header.suite();
        let signature = verifying_key.zip(suite.signature()).map(|(key, curve)| {
            let mut hasher = Hasher::new(curve);
            hasher.update(header.bytes());
            (key, hasher)
        });
        let body = Body::new(
            FrameCipher::new(key, header.message_id()),
            header.frame_bytes(),
            self.limits.frame_bytes_max,
            signature,
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

/// A header that verified.
struct Unlocked {
    key: AesGcm,
    verifying_key: Option<VerifyingKey>,
    /// The pairs in the header, and those that the reader added.
    context: EncryptionContext,
}

async fn unlock(
    header: &Header,
    manager: &dyn MaterialsManager,
    options: &OpenOptions,
) -> Result<Unlocked, OpenError> {
    let suite = header.suite();
    if !options.commitment.may_open(suite) {
        return Err(OpenError::Commitment { suite: suite.id() });
    }
    let mut added = options.required_context.clone();
    for (name, _) in header.context().iter() {
        added.remove(name);
    }
    let Some(first) = added.iter().next().map(|(name, _)| name.to_owned()) else {
        return attempt(header, &added, manager, options).await;
    };
    if first.starts_with(RESERVED_PREFIX) {
        return Err(OpenError::ContextMismatch { name: first });
    }
    let failed = match attempt(header, &added, manager, options).await {
        Err(error) if error.may_be_context() => error,
        other => return other,
    };
    // A message that opens without the pairs was never under them: that is worth its own answer.
    match attempt(header, &EncryptionContext::new(), manager, options).await {
        Ok(_) => Err(OpenError::ContextMismatch { name: first }),
        Err(_) => Err(failed),
    }
}

/// Opens under the pairs in the header and those `added`.
async fn attempt(
    header: &Header,
    added: &EncryptionContext,
    manager: &dyn MaterialsManager,
    options: &OpenOptions,
) -> Result<Unlocked, OpenError> {
    let suite = header.suite();
    let mut context = header.context().clone();
    for (name, value) in added.iter() {
        context
            .insert(name, value)
            .map_err(OpenError::MalformedContext)?;
    }
    let unstored = added.serialize().map_err(OpenError::MalformedContext)?;
    let materials = manager.for_opening(OpeningRequest {
        suite,
        context: &context,
        encrypted_data_keys: header.encrypted_data_keys(),
        commitment: options.commitment,
    });
    let materials = materials.await?;
    let key = |info| -> Result<AesGcm, OpenError> {
        let (id, commitment) = (header.message_id(), header.commitment());
        let key = keys::derive_committed(suite, &materials.data_key, id, commitment, info)?;
        Ok(key)
    };
    let mut opened = key(Info::Specified).and_then(|key| {
        header.authenticate(&key, &unstored)?;
        Ok(key)
    });
    if options.net_4_0_0 && opened.is_err() {
        opened = as_net_4_0_0(header, &unstored, key);
    }
    Ok(Unlocked {
        key: opened?,
        verifying_key: materials.verifying_key,
        context,
    })
}

/// What the AWS Encryption SDK for .NET 4.0.0 wrote: a message id that is missing in the
/// derivation, a length before the unstored pairs, or both.
fn as_net_4_0_0(
    header: &Header,
    unstored: &[u8],
    key: impl Fn(Info) -> Result<AesGcm, OpenError>,
) -> Result<AesGcm, OpenError> {
    // What was serialized has no more than 65,535 bytes.
    let prefixed = [&(unstored.len() as u16).to_be_bytes(), unstored].concat();
    for (info, behind) in [
        (Info::SuiteOnly, unstored),
        (Info::Specified, &prefixed),
        (Info::SuiteOnly, &prefixed),
    ] {
        let key = key(info)?;
        if header.authenticate(&key, behind).is_ok() {
            return Ok(key);
        }
    }
    Err(OpenError::Unauthentic)
}

/// Pairs that are in the header must have the values that were demanded; the others were added,
/// and the header's tag has spoken for them.
fn check_context(
    stored: &EncryptionContext,
    required: &EncryptionContext,
) -> Result<(), OpenError> {
    let differs =
        |(name, value): &(&str, &str)| stored.value(name).is_some_and(|stored| stored != *value);
    match required.iter().find(differs) {
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
