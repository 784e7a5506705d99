//! AWS STS (API version 2011-06-15, the Query protocol): who a caller is, and sessions of roles, for
//! principals and for whom the tokens of an OpenID Connect provider name.
//!
//! ```text
//! POST /                                            answer
//! Content-Type: application/x-www-form-urlencoded   Content-Type: text/xml
//! Action=AssumeRole&Version=2011-06-15&RoleArn=…    <AssumeRoleResponse xmlns=…> … or <ErrorResponse …>
//! ```

use crate::error::{ErrorCode, KmsError};
use crate::model::{Rule, Shape, patterns, shapes};
use crate::op::Operation;
use crate::shape::{SecretBlob, Timestamp};
use std::fmt::Write as _;
use waxseal_core::SecretBytes;

/// The service that requests are signed for.
pub const SERVICE: &str = "sts";

/// The media type of answers.
pub const CONTENT_TYPE: &str = "text/xml";

/// The most parameters: more than a session with fifty tags and all policies has. Each is held against those before it, and
/// nobody has proved who they are yet.
const PARAMETERS_MAX: usize = 256;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

shapes! {
    /// Tells who calls.
    GetCallerIdentityRequest {}

    /// Answer of GetCallerIdentity.
    #[derive(Clone, PartialEq)]
    GetCallerIdentityResponse {
        /// 12 digits.
        account: String => "Account", Rule::text(12, 12);
        /// The principal.
        arn: String => "Arn", Rule::text(20, 2048);
        /// Its unique id.
        user_id: String => "UserId", Rule::any_text();
    }

    /// Begins a session of a role.
    #[derive(Clone, PartialEq)]
    AssumeRoleRequest {
        /// The role.
        role_arn: String => "RoleArn", Rule::text(20, 2048).matching(&patterns::ANY_ARN).required();
        /// A name for the session.
        role_session_name: String => "RoleSessionName", Rule::text(2, 64).matching(&patterns::PRINCIPAL_NAME).required();
        /// How long, in seconds; 3,600 when not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_seconds: Option<i64> => "DurationSeconds", Rule::number(900, 43200);
        /// A session policy, which allows no more than the role's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String> => "Policy", Rule::text(1, 2048).matching(&patterns::POLICY);
        /// What the trust policy may ask for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id: Option<String> => "ExternalId", Rule::text(2, 1224).matching(&patterns::EXTERNAL_ID);
    }

    /// Begins a session of a role for whom a token of an OpenID Connect provider names. Not signed:
    /// the token is the proof.
    AssumeRoleWithWebIdentityRequest {
        /// The role.
        role_arn: String => "RoleArn", Rule::text(20, 2048).matching(&patterns::ANY_ARN).required();
        /// A name for the session.
        role_session_name: String => "RoleSessionName", Rule::text(2, 64).matching(&patterns::PRINCIPAL_NAME).required();
        /// A JSON Web Token. Secret: whoever has it can be the role.
        web_identity_token: SecretBlob => "WebIdentityToken", Rule::blob(4, 20000).required();
        /// How long, in seconds; 3,600 when not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_seconds: Option<i64> => "DurationSeconds", Rule::number(900, 43200);
        /// A session policy, which allows no more than the role's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String> => "Policy", Rule::text(1, 2048).matching(&patterns::POLICY);
    }

    /// Answer of AssumeRoleWithWebIdentity.
    AssumeRoleWithWebIdentityResponse {
        /// The session.
        session: AssumeRoleResponse => "Session", Rule::structure(<AssumeRoleResponse as Shape>::MEMBERS);
        /// `sub` of the token.
        subject: String => "SubjectFromWebIdentityToken", Rule::text(6, 255);
        /// `iss` of the token.
        provider: String => "Provider", Rule::any_text();
        /// `aud` of the token, or `azp`.
        audience: String => "Audience", Rule::any_text();
    }

    /// Answer of AssumeRole.
    AssumeRoleResponse {
        /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`
        arn: String => "Arn", Rule::text(20, 2048);
        /// The role's unique id and the session's name.
        assumed_role_id: String => "AssumedRoleId", Rule::any_text();
        /// `ASIA…`
        access_key_id: String => "AccessKeyId", Rule::text(16, 128);
        /// Secret.
        secret_access_key: SecretBlob => "SecretAccessKey", Rule::blob(1, 128);
        /// Secret.
        session_token: SecretBlob => "SessionToken", Rule::blob(1, 8192);
        /// When the session ends.
        expiration: Timestamp => "Expiration", Rule::time();
    }
}

impl Operation for GetCallerIdentityRequest {
    const NAME: &'static str = "GetCallerIdentity";
    const SERVICE: &'static str = SERVICE;
    type Output = GetCallerIdentityResponse;
}

impl Operation for AssumeRoleRequest {
    const NAME: &'static str = "AssumeRole";
    const SERVICE: &'static str = SERVICE;
    type Output = AssumeRoleResponse;
}

impl Operation for AssumeRoleWithWebIdentityRequest {
    const NAME: &'static str = "AssumeRoleWithWebIdentity";
    const SERVICE: &'static str = SERVICE;
    type Output = AssumeRoleWithWebIdentityResponse;
}

/// A request.
#[derive(Debug)]
pub enum Call {
    /// GetCallerIdentity
    GetCallerIdentity(GetCallerIdentityRequest),
    /// AssumeRole
    AssumeRole(AssumeRoleRequest),
    /// AssumeRoleWithWebIdentity
    AssumeRoleWithWebIdentity(AssumeRoleWithWebIdentityRequest),
}

impl Call {
    /// Reads the parameters in a body or a query string.
    ///
    /// # Errors
    /// `UnknownOperationException` for an action that there is not; `ValidationException` for
    /// parameters that are missing, there twice, no numbers where they must be, or not known here:
    /// one that would narrow a session must not be passed over.
    pub fn parse(text: &[u8]) -> Result<Self, KmsError> {
        let mut parameters = Parameters::parse(text)?;
        let action = parameters.take("Action").unwrap_or_default();
        parameters.take("Version");
        let call = match action.as_str() {
            "GetCallerIdentity" => Self::GetCallerIdentity(GetCallerIdentityRequest {}),
            "AssumeRole" => Self::AssumeRole(AssumeRoleRequest {
                role_arn: parameters.needed("RoleArn")?,
                role_session_name: parameters.needed("RoleSessionName")?,
                duration_seconds: parameters.number("DurationSeconds")?,
                policy: parameters.take("Policy"),
                external_id: parameters.take("ExternalId"),
            }),
            "AssumeRoleWithWebIdentity" => {
                let token = parameters.needed("WebIdentityToken")?;
                Self::AssumeRoleWithWebIdentity(AssumeRoleWithWebIdentityRequest {
                    role_arn: parameters.needed("RoleArn")?,
                    role_session_name: parameters.needed("RoleSessionName")?,
                    web_identity_token: SecretBlob(SecretBytes::new(token.into_bytes())),
                    duration_seconds: parameters.number("DurationSeconds")?,
                    policy: parameters.take("Policy"),
                })
            }
            _ => return Err(crate::wire::unknown_operation()),
        };
        match parameters.0.first() {
            None => Ok(call),
            Some((name, _)) => Err(invalid(format!(
                "The parameter {name} is not supported here."
            ))),
        }
    }

    /// The operation's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GetCallerIdentity(_) => GetCallerIdentityRequest::NAME,
            Self::AssumeRole(_) => AssumeRoleRequest::NAME,
            Self::AssumeRoleWithWebIdentity(_) => AssumeRoleWithWebIdentityRequest::NAME,
        }
    }
}

fn invalid(message: String) -> KmsError {
    KmsError::new(ErrorCode::Validation, message)
}

/// The parameters of a form or a query string.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, KmsError> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in text
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
        {
            if parameters.len() == PARAMETERS_MAX {
                return Err(invalid(format!(
                    "There are more than {PARAMETERS_MAX} parameters."
                )));
            }
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = pair.split_at(at.unwrap_or(pair.len()));
            let (name, value) = (decoded(name)?, decoded(value.get(1..).unwrap_or_default())?);
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(invalid(format!("The parameter {name} is there twice.")));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn needed(&mut self, name: &str) -> Result<String, KmsError> {
        self.take(name).ok_or_else(|| {
            let (first, rest) = name.split_at(1);
            let path = format!("{}{rest}", first.to_ascii_lowercase());
            invalid(format!(
                "1 validation error detected: Value null at '{path}' failed to satisfy \
                 constraint: Member must not be null"
            ))
        })
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<i64>, KmsError> {
        let number = self.take(name).map(|text| text.parse());
        let number = number.transpose();
        number.map_err(|_| invalid(format!("{name} must be a number.")))
    }
}

/// A name or value of a form (WHATWG URL, *application/x-www-form-urlencoded parsing*).
pub(crate) fn decoded(text: &[u8]) -> Result<String, KmsError> {
    let broken = || invalid("The parameters are not URL-encoded.".to_owned());
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
                let high = digit(bytes.next()).ok_or_else(broken)?;
                let low = digit(bytes.next()).ok_or_else(broken)?;
                (high * 16 + low) as u8
            }
            other => *other,
        });
    }
    String::from_utf8(out).map_err(|_| broken())
}

/// What can be answered.
pub trait Answer {
    /// The members of the result, as XML.
    fn write(&self, out: &mut Xml);
}

/// A text as it stands in XML.
pub(crate) fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Not allowed in XML 1.0 at all.
            char if char.is_control() => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped
}

/// XML text under way. It may hold a secret.
#[derive(Debug)]
pub struct Xml(SecretBytes);

impl Xml {
    fn text(&mut self, text: &str) {
        let parts = [self.0.expose(), text.as_bytes()];
        self.0 = SecretBytes::new(parts.concat());
    }

    fn element(&mut self, name: &str, value: &str) {
        let escaped = escaped(value);
        self.text(&format!("<{name}>{escaped}</{name}>"));
    }

    /// A secret of characters that need no escape.
    fn secret(&mut self, name: &str, value: &SecretBlob) {
        self.text(&format!("<{name}>"));
        let parts = [self.0.expose(), value.0.expose()];
        self.0 = SecretBytes::new(parts.concat());
        self.text(&format!("</{name}>"));
    }
}

impl Answer for GetCallerIdentityResponse {
    fn write(&self, out: &mut Xml) {
        out.element("Arn", &self.arn);
        out.element("UserId", &self.user_id);
        out.element("Account", &self.account);
    }
}

impl Answer for AssumeRoleResponse {
    fn write(&self, out: &mut Xml) {
        out.text("<AssumedRoleUser>");
        out.element("AssumedRoleId", &self.assumed_role_id);
        out.element("Arn", &self.arn);
        out.text("</AssumedRoleUser><Credentials>");
        out.element("AccessKeyId", &self.access_key_id);
        out.secret("SecretAccessKey", &self.secret_access_key);
        out.secret("SessionToken", &self.session_token);
        out.element("Expiration", &date(self.expiration));
        out.text("</Credentials>");
    }
}

impl Answer for AssumeRoleWithWebIdentityResponse {
    fn write(&self, out: &mut Xml) {
        self.session.write(out);
        out.element("SubjectFromWebIdentityToken", &self.subject);
        out.element("Provider", &self.provider);
        out.element("Audience", &self.audience);
    }
}

/// `2026-01-31T23:59:59Z`
fn date(Timestamp(seconds): Timestamp) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(seconds as i64);
    let format = &time::format_description::well_known::Rfc3339;
    let text = time.ok().and_then(|time| time.format(format).ok());
    text.unwrap_or_default()
}

/// The body of an answer.
pub fn output(name: &str, request_id: &str, answer: &impl Answer) -> SecretBytes {
    let mut out = Xml(SecretBytes::new(Vec::new()));
    out.text(&format!(
        "<{name}Response xmlns=\"{NAMESPACE}\"><{name}Result>"
    ));
    answer.write(&mut out);
    out.text(&format!("</{name}Result><ResponseMetadata>"));
    out.element("RequestId", request_id);
    out.text(&format!("</ResponseMetadata></{name}Response>"));
    out.0
}

/// The status and body of an error, under STS's own names.
pub fn error(error: &KmsError, request_id: &str) -> (u16, SecretBytes) {
    let (status, code) = match error.code {
        ErrorCode::AccessDenied => (403, "AccessDenied"),
        ErrorCode::UnrecognizedClient => (403, "InvalidClientTokenId"),
        ErrorCode::InvalidSignature => (403, "SignatureDoesNotMatch"),
        ErrorCode::ExpiredToken => (403, "ExpiredToken"),
        ErrorCode::ExpiredIdentityToken => (400, "ExpiredTokenException"),
        ErrorCode::InvalidIdentityToken => (400, "InvalidIdentityToken"),
        ErrorCode::MissingAuthenticationToken => (403, "MissingAuthenticationToken"),
        ErrorCode::IncompleteSignature => (400, "IncompleteSignature"),
        ErrorCode::MalformedPolicyDocument => (400, "MalformedPolicyDocument"),
        ErrorCode::UnknownOperation => (400, "InvalidAction"),
        ErrorCode::Throttling => (400, "Throttling"),
        ErrorCode::Internal => (500, "InternalFailure"),
        _ => (400, "ValidationError"),
    };
    let side = if status == 500 { "Receiver" } else { "Sender" };
    let mut out = Xml(SecretBytes::new(Vec::new()));
    let mut begin = String::new();
    // Writing to a text does not fail.
    let _ = write!(
        begin,
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{side}</Type>"
    );
    out.text(&begin);
    out.element("Code", code);
    out.element("Message", error.message.as_deref().unwrap_or_default());
    out.text("</Error>");
    out.element("RequestId", request_id);
    out.text("</ErrorResponse>");
    (status, out.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_strictly() {
        let many = |count: usize| (0..count).map(|n| format!("{n}=x&")).collect::<String>();
        let told = |count| {
            Call::parse(many(count).as_bytes())
                .err()
                .and_then(|error| error.message)
        };
        assert_eq!(told(PARAMETERS_MAX), None, "no action");
        let over = "There are more than 256 parameters.";
        assert_eq!(told(PARAMETERS_MAX + 1).as_deref(), Some(over));
        let text = b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=a+b&DurationSeconds=900";
        let Ok(Call::AssumeRole(call)) = Call::parse(text) else {
            unreachable!("it is one");
        };
        assert_eq!(call.role_arn, "arn:aws:iam::1:role/r");
        assert_eq!(call.role_session_name, "a b");
        assert_eq!(call.duration_seconds, Some(900));
        for (wrong, code) in [
            (&b""[..], ErrorCode::UnknownOperation),
            (b"Action=GetFederationToken", ErrorCode::UnknownOperation),
            (
                b"Action=GetCallerIdentity&Action=AssumeRole",
                ErrorCode::Validation,
            ),
            (b"Action=GetCallerIdentity&a=%zz", ErrorCode::Validation),
            (b"Action=GetCallerIdentity&a=%f", ErrorCode::Validation),
            (b"Action=GetCallerIdentity&a=%ff", ErrorCode::Validation),
            (b"Action=AssumeRole&RoleArn=r", ErrorCode::Validation),
            (
                b"Action=AssumeRole&RoleArn=r&RoleSessionName=s&DurationSeconds=x",
                ErrorCode::Validation,
            ),
            (
                b"Action=AssumeRole&RoleArn=r&RoleSessionName=s&PolicyArns.member.1.arn=p",
                ErrorCode::Validation,
            ),
        ] {
            let error = Call::parse(wrong).err().map(|error| error.code);
            assert_eq!(error, Some(code), "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn texts_are_escaped() {
        let answer = GetCallerIdentityResponse {
            account: "000000000000".to_owned(),
            arn: "<a&b>\u{7}".to_owned(),
            user_id: "u".to_owned(),
        };
        let body = output("GetCallerIdentity", "r", &answer);
        let text = String::from_utf8_lossy(body.expose());
        assert!(
            text.contains("<Arn>&lt;a&amp;b&gt;\u{fffd}</Arn>"),
            "{text}"
        );
    }
}
