//! AWS JSON 1.1 (Smithy, *AWS JSON 1.1 protocol*): what stands in the body of a request and of an
//! answer.
//!
//! ```text
//! POST /                                       answer
//! Content-Type: application/x-amz-json-1.1     Content-Type: application/x-amz-json-1.1
//! X-Amz-Target: TrentService.NAME              x-amzn-RequestId: UUID
//! {"KeyId": …}                                 {"KeyId": …} or {"__type": …}
//! ```

use crate::error::{ErrorCode, KmsError};
use crate::model::{Path, Violations, find_missing};
use crate::op::Operation;
use serde::Serialize;
use serde_json::Value;
use waxseal_core::SecretBytes;
use waxseal_core::secret::SecretWriter;

/// The media type of requests and answers.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// The most bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// How deep objects and arrays may be in each other in a request's body.
pub const DEPTH_MAX: usize = 16;

/// Room for most answers: a data key, its blob and names.
const USUAL_BYTES: usize = 1_000;

/// The operation that a request is for, from `X-Amz-Target`.
///
/// # Errors
/// `UnknownOperationException`.
pub fn operation(target: Option<&str>) -> Result<&str, KmsError> {
    let name = target.and_then(|target| target.strip_prefix("TrentService."));
    name.ok_or_else(unknown_operation)
}

/// The answer to a name that no operation has.
pub fn unknown_operation() -> KmsError {
    KmsError {
        code: ErrorCode::UnknownOperation,
        message: None,
    }
}

/// The input in a body. Members that the model does not have are left out, and those that are null;
/// an empty body is an input without members. Length is bounded by the caller.
///
/// # Errors
/// `ValidationException` for required members that are missing; `SerializationException` for
/// everything else: no JSON, a member that is there twice, a value of the wrong type, more than
/// [`DEPTH_MAX`] levels. The text that was sent is not repeated: it may hold a plaintext.
pub fn input<O: Operation>(body: &[u8]) -> Result<O, KmsError> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    if brackets(body) > DEPTH_MAX && depth(body) > DEPTH_MAX {
        return Err(KmsError::new(
            ErrorCode::Serialization,
            format!("The body has more than {DEPTH_MAX} levels."),
        ));
    }
    serde_json::from_slice(body).or_else(|error| inspected(body, &error))
}

/// How many brackets open: no body is deeper. Several bytes are looked at at once.
fn brackets(body: &[u8]) -> usize {
    body.iter()
        .filter(|byte| matches!(byte, b'{' | b'['))
        .count()
}

/// How deep brackets are in each other outside strings, whether they fit or not.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut is_text, mut is_escaped) = (false, false);
    for byte in body {
        match (is_text, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => is_text = !is_text,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// A second look at what is no input: members may be null, or missing.
fn inspected<O: Operation>(body: &[u8], error: &serde_json::Error) -> Result<O, KmsError> {
    // What is there twice would be there once in a `Value`.
    if error.to_string().starts_with("duplicate field") {
        return Err(serialization(error));
    }
    let mut value: Value = serde_json::from_slice(body).map_err(|error| serialization(&error))?;
    if !value.is_object() {
        return Err(serialization(error));
    }
    remove_nulls(&mut value);
    let mut found = Violations::default();
    find_missing(O::MEMBERS, &value, &Path::ROOT, &mut found);
    found.into_result()?;
    serde_json::from_value(value).map_err(|_| serialization(error))
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// The body of an answer. It may hold a plaintext.
///
/// # Errors
/// `KMSInternalException`, which no answer causes.
pub fn output<T: Serialize>(output: &T) -> Result<SecretBytes, KmsError> {
    let mut body = SecretWriter::with_capacity(USUAL_BYTES);
    match serde_json::to_writer(&mut body, output) {
        Ok(()) => Ok(body.finish()),
        Err(error) => Err(KmsError::new(ErrorCode::Internal, error.to_string())),
    }
}

fn serialization(error: &serde_json::Error) -> KmsError {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a member has a value that it cannot have",
        _ => "the body is no JSON",
    };
    let (line, column) = (error.line(), error.column());
    KmsError::new(
        ErrorCode::Serialization,
        format!("At line {line}, column {column}: {what}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{
        CreateGrantRequest, DescribeKeyRequest, EncryptRequest, ListKeysRequest, TagResourceRequest,
    };

    fn refused<O: Operation>(body: &str) -> KmsError {
        match input::<O>(body.as_bytes()) {
            Ok(_) => KmsError::new(ErrorCode::Internal, "it was taken"),
            Err(error) => error,
        }
    }

    #[test]
    fn targets_have_one_form() {
        assert_eq!(operation(Some("TrentService.Encrypt")), Ok("Encrypt"));
        for wrong in [
            None,
            Some(""),
            Some("Encrypt"),
            Some("trentservice.Encrypt"),
        ] {
            assert_eq!(operation(wrong), Err(unknown_operation()));
        }
    }

    #[test]
    fn unknown_members_are_left_out_and_nothing_is_no_members() {
        let key = input::<DescribeKeyRequest>(br#"{"KeyId":"k","Other":[{"a":null}]}"#);
        assert!(key.is_ok_and(|input| input.key_id == "k"));
        assert!(input::<ListKeysRequest>(b"").is_ok());
    }

    #[test]
    fn a_missing_member_is_named_as_aws_names_it() {
        let error = refused::<DescribeKeyRequest>("{}");
        assert_eq!(error.code, ErrorCode::Validation);
        assert_eq!(
            error.message.as_deref(),
            Some(
                "1 validation error detected: Value null at 'keyId' failed to satisfy \
                 constraint: Member must not be null"
            )
        );
    }

    #[test]
    fn all_that_is_missing_is_told_and_null_is_missing() {
        let error = refused::<EncryptRequest>(r#"{"KeyId":null}"#);
        assert_eq!(
            error.message.as_deref(),
            Some(
                "2 validation errors detected: Value null at 'keyId' failed to satisfy \
                 constraint: Member must not be null; Value null at 'plaintext' failed to \
                 satisfy constraint: Member must not be null"
            )
        );
        let error = refused::<TagResourceRequest>(
            r#"{"KeyId":"k","Tags":[{"TagKey":"a","TagValue":""},{"TagValue":"b"}]}"#,
        );
        assert_eq!(
            error.message.as_deref(),
            Some(
                "1 validation error detected: Value null at 'tags.2.member.tagKey' failed to \
                 satisfy constraint: Member must not be null"
            )
        );
        let many = format!(r#"{{"KeyId":"k","Tags":[{}{{}}]}}"#, "{},".repeat(9_999));
        let message = refused::<TagResourceRequest>(&many)
            .message
            .unwrap_or_default();
        assert!(message.starts_with("20000 validation errors detected: "));
        assert!(message.len() < 20_000, "{} bytes", message.len());
        let input = input::<ListKeysRequest>(br#"{"Limit":null,"ResourceOwners":null}"#);
        assert!(input.is_ok_and(|input| input.limit.is_none()));
    }

    #[test]
    fn what_breaks_a_rule_is_told_member_by_member() {
        let broken = |body: &str| {
            let input = input::<CreateGrantRequest>(body.as_bytes());
            let error = input.and_then(|input| input.validate());
            error
                .err()
                .and_then(|error| error.message)
                .unwrap_or_default()
        };
        assert_eq!(
            broken(r#"{"KeyId":"","Operations":["Decrypt","Dance"],"Name":"a b"}"#),
            "3 validation errors detected: Value '' at 'keyId' failed to satisfy constraint: \
             Member must have length greater than or equal to 1; Value '[Decrypt, Dance]' at \
             'operations' failed to satisfy constraint: Member must satisfy constraint: [Member \
             must satisfy enum value set: [Decrypt, Encrypt, GenerateDataKey, \
             GenerateDataKeyWithoutPlaintext, ReEncryptFrom, ReEncryptTo, Sign, Verify, \
             GetPublicKey, CreateGrant, RetireGrant, DescribeKey, GenerateDataKeyPair, \
             GenerateDataKeyPairWithoutPlaintext, GenerateMac, VerifyMac, DeriveSharedSecret, \
             Encapsulate, Decapsulate]]; Value 'a b' at 'name' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"
        );
        let over = "QUFB".repeat(1_366);
        let input =
            input::<EncryptRequest>(format!(r#"{{"KeyId":"k","Plaintext":"{over}"}}"#).as_bytes());
        let error = input.and_then(|input| input.validate()).err();
        assert_eq!(
            error.and_then(|error| error.message).unwrap_or_default(),
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: \
             Member must have length less than or equal to 4096"
        );
    }

    #[test]
    fn what_is_no_input_is_refused_and_not_repeated() {
        let deep = format!(
            "{{\"KeyId\":\"k\",\"x\":{}1{}}}",
            "[".repeat(9_000),
            "]".repeat(9_000)
        );
        for body in [
            "",
            " ",
            "[]",
            "null",
            "{",
            r#"{"KeyId":5,"Plaintext":"aGk="}"#,
            r#"{"KeyId":"k","Plaintext":"hunter2!"}"#,
            r#"{"KeyId":"k","KeyId":"k","Plaintext":"aGk="}"#,
            r#"{"KeyId":"\ud800","Plaintext":"aGk="}"#,
            r#"{"KeyId":"k","Plaintext":"aGk=","EncryptionContext":{"a":1}}"#,
            r#"{"KeyId":"k","Plaintext":"aGk="} more"#,
            deep.as_str(),
        ] {
            let error = refused::<EncryptRequest>(body);
            let expected = match body {
                "" => ErrorCode::Validation,
                _ => ErrorCode::Serialization,
            };
            assert_eq!(error.code, expected, "{body:.60}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
