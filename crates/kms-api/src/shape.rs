//! Shapes that JSON 1.1 writes in its own way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use waxseal_core::SecretBytes;

/// Bytes that are not secret, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(Self)
            .map_err(|_| de::Error::custom("not base64"))
    }
}

/// Secret bytes, in base64 on the wire. The decoded bytes are zeroed on drop; text buffers of a
/// request or an answer are their owner's to wipe.
#[derive(Debug)]
pub struct SecretBlob(pub SecretBytes);

impl SecretBlob {
    /// Whether there is nothing: a secret that was handed over in another way is left out of answers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for SecretBlob {
    /// No bytes.
    fn default() -> Self {
        Self(SecretBytes::new(Vec::new()))
    }
}

impl Serialize for SecretBlob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0.expose()))
    }
}

impl<'de> Deserialize<'de> for SecretBlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SecretBytes::new(String::deserialize(deserializer)?.into_bytes());
        let bytes = STANDARD
            .decode(text.expose())
            .map_err(|_| de::Error::custom("not base64"))?;
        Ok(Self(SecretBytes::new(bytes)))
    }
}

/// Seconds since 1970-01-01T00:00:00Z; fractions are allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub f64);
