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
use crate::op::Operation;
use serde::Serialize;
use waxseal_core::SecretBytes;

/// The media type of requests and answers.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// The most bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

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

/// The input in a body. Members that the model does not have are left out; an empty body is an
/// input without members. Nesting is bounded by the parser (128 levels), length by the caller.
///
/// # Errors
/// `ValidationException` for a required member that is missing; `SerializationException` for
/// everything else: no JSON, a member that is there twice, a value of the wrong type. The text that
/// was sent is not repeated: it may hold a plaintext.
pub fn input<O: Operation>(body: &[u8]) -> Result<O, KmsError> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        match text
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split_once('`'))
        {
            Some((member, _)) => missing(member),
            None => serialization(&error),
        }
    })
}

/// The body of an answer. It may hold a plaintext.
///
/// # Errors
/// `KMSInternalException`, which no answer causes.
pub fn output<T: Serialize>(output: &T) -> Result<SecretBytes, KmsError> {
    let body = serde_json::to_vec(output).map(SecretBytes::new);
    body.map_err(|error| KmsError::new(ErrorCode::Internal, error.to_string()))
}

/// A required member that is not there.
fn missing(member: &str) -> KmsError {
    let mut name = member.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    KmsError::new(
        ErrorCode::Validation,
        format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: \
             Member must not be null"
        ),
    )
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
    use crate::op::{DescribeKeyRequest, EncryptRequest, ListKeysRequest};

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
