//! Cryptographic Message Syntax (RFC 5652): bytes for one holder of an RSA key.
//!
//! ```text
//! ContentInfo  id-envelopedData
//!   EnvelopedData  version 2
//!     KeyTransRecipientInfo  version 2, subjectKeyIdentifier, RSAES-OAEP with SHA-256 (RFC 4055)
//!     EncryptedContentInfo   id-data, AES-256-CBC with PKCS #7 padding (RFC 3565), in one piece
//! ```
//!
//! The content is not authenticated: whoever needs that gets it from the channel that carries the
//! message.

use super::Unauthentic;
use super::hash;
use super::random::{self, Entropy};
use super::rsa::{RsaPadding, RsaPublicKey};
use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::enveloped_data::{
    EncryptedContentInfo, EnvelopedData, KeyTransRecipientInfo, RecipientIdentifier, RecipientInfo,
    RecipientInfos,
};
use der::asn1::{Any, Null, ObjectIdentifier, OctetString};
use der::{Encode, Sequence};
use spki::AlgorithmIdentifier;
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use zeroize::Zeroizing;

const ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");
/// Bytes of a key identifier (RFC 7093, section 2, method 1).
const KEY_ID_BYTES: usize = 20;

/// `RSAES-OAEP-params` (RFC 4055, section 4.1), with an empty label.
#[derive(Sequence)]
struct OaepParameters {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    hash: AlgorithmIdentifier<Any>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    mask: AlgorithmIdentifier<Any>,
}

/// Encrypts `plaintext` for the holder of `key`, whose SubjectPublicKeyInfo is `spki`, as a
/// ContentInfo in DER.
///
/// # Errors
/// [`Unauthentic`] when the library fails, which no input causes.
pub fn seal_for(
    key: &RsaPublicKey,
    spki: &[u8],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, Unauthentic> {
    let content_key: Zeroizing<[u8; 32]> =
        Zeroizing::new(random::array(entropy).map_err(|_| Unauthentic)?);
    let wrapped = key.encrypt(RsaPadding::OaepSha256, content_key.as_slice())?;
    let cipher = UnboundCipherKey::new(&AES_256, content_key.as_slice());
    let cipher = cipher.and_then(PaddedBlockEncryptingKey::cbc_pkcs7);
    let mut content = Zeroizing::new(plaintext.to_vec());
    let context = cipher.and_then(|cipher| cipher.encrypt(&mut *content));
    let Ok(DecryptionContext::Iv128(iv)) = context else {
        return Err(Unauthentic);
    };
    let key_id = &hash::sha256(&[spki])[..KEY_ID_BYTES];
    let iv: &[u8; 16] = iv.as_ref();
    encoded(key_id, wrapped, iv, content.to_vec()).map_err(|_| Unauthentic)
}

fn encoded(
    key_id: &[u8],
    wrapped: Vec<u8>,
    iv: &[u8],
    content: Vec<u8>,
) -> Result<Vec<u8>, der::Error> {
    let sha256 = AlgorithmIdentifier {
        oid: SHA256,
        parameters: Some(Any::from(Null)),
    };
    let oaep = OaepParameters {
        mask: AlgorithmIdentifier {
            oid: MGF1,
            parameters: Some(Any::encode_from(&sha256)?),
        },
        hash: sha256,
    };
    let recipient = KeyTransRecipientInfo {
        version: CmsVersion::V2,
        rid: RecipientIdentifier::SubjectKeyIdentifier(SubjectKeyIdentifier(OctetString::new(
            key_id,
        )?)),
        key_enc_alg: AlgorithmIdentifier {
            oid: RSAES_OAEP,
            parameters: Some(Any::encode_from(&oaep)?),
        },
        enc_key: OctetString::new(wrapped)?,
    };
    let enveloped = EnvelopedData {
        version: CmsVersion::V2,
        originator_info: None,
        recip_infos: RecipientInfos::try_from(vec![RecipientInfo::Ktri(recipient)])?,
        encrypted_content: EncryptedContentInfo {
            content_type: DATA,
            content_enc_alg: AlgorithmIdentifier {
                oid: AES_256_CBC,
                parameters: Some(Any::encode_from(&OctetString::new(iv)?)?),
            },
            encrypted_content: Some(OctetString::new(content)?),
        },
        unprotected_attrs: None,
    };
    ContentInfo {
        content_type: ENVELOPED_DATA,
        content: Any::encode_from(&enveloped)?,
    }
    .to_der()
}
