//! From a request to an answer: who calls, which operation, what came of it.

use crate::access_key::AccessKey;
use std::net::IpAddr;
use std::sync::Arc;
use waxseal_core::SecretBytes;
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_kms::Engine;
use waxseal_kms::clock::Clock;
use waxseal_kms::dispatch::Answered;
use waxseal_kms::request::Caller;
use waxseal_kms_api::sigv4::{self, Claim, Paths, SignedRequest, SigningKeys};
use waxseal_kms_api::{ErrorCode, KmsError, wire};

/// The service that requests are signed for.
const SERVICE: &str = "kms";

/// Who may call.
#[derive(Debug)]
pub enum Callers {
    /// Whoever signs with this key is the owner.
    Owner(AccessKey),
    /// Everyone is the owner, signature or not: for development.
    Anyone,
}

/// The engine and what stands before it.
pub struct Front {
    engine: Arc<Engine>,
    callers: Callers,
    clock: Arc<dyn Clock>,
    keys: SigningKeys,
    /// Compared in place of the secret of an access key id that nobody has, so that the answer
    /// takes as long.
    decoy: SecretBytes,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Front({})", self.engine.home())
    }
}

/// What is sent back.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `x-amzn-RequestId`.
    pub request_id: String,
    /// JSON. It may hold a plaintext, and is wiped after it was sent.
    pub body: SecretBytes,
}

impl Front {
    /// Puts the parts together.
    ///
    /// # Errors
    /// `KMSInternalException` when there is no randomness.
    pub fn new(
        engine: Arc<Engine>,
        callers: Callers,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<Self, KmsError> {
        let decoy: [u8; 32] = random::array(entropy)
            .map_err(|_| KmsError::new(ErrorCode::Internal, "no random bytes"))?;
        Ok(Self {
            engine,
            callers,
            clock,
            keys: SigningKeys::default(),
            decoy: SecretBytes::copy_of(&decoy),
        })
    }

    /// Whether everyone is let in.
    pub fn is_open(&self) -> bool {
        matches!(self.callers, Callers::Anyone)
    }

    /// Answers a request. Blocks until the request is recorded.
    pub fn reply(&self, request: SignedRequest<'_>, from: IpAddr) -> Reply {
        match self.answered(request, from) {
            Ok(Answered { request_id, result }) => reply(request_id, result),
            Err(error) => self.refusal(error),
        }
    }

    /// A refusal of what never became a request.
    pub fn refusal(&self, error: KmsError) -> Reply {
        reply(self.engine.request_id().unwrap_or_default(), Err(error))
    }

    fn answered(&self, request: SignedRequest<'_>, from: IpAddr) -> Result<Answered, KmsError> {
        if request.method != "POST" || request.path != "/" {
            return Err(wire::unknown_operation());
        }
        let region = self.admit(request)?;
        let header = |name: &str| {
            let mut headers = request.headers.iter();
            let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
            found.map(|(_, value)| *value)
        };
        let operation = wire::operation(header("x-amz-target"))?;
        let user_agent = header("user-agent").unwrap_or_default();
        let caller = Caller::owner(self.engine.home(), user_agent).from_address(from.to_string());
        self.engine.answer(caller, &region, operation, request.body)
    }

    /// Lets the owner in, and tells which Region the request is for.
    fn admit(&self, request: SignedRequest<'_>) -> Result<String, KmsError> {
        let region = &self.engine.home().region;
        let Callers::Owner(owner) = &self.callers else {
            // Whatever Region the request was signed for; the signature is not looked at.
            let claim = Claim::parse(request).ok();
            let signed_for = claim.map(|claim| claim.scope().region.to_owned());
            let signed_for = signed_for.filter(|region| is_region(region));
            return Ok(signed_for.unwrap_or_else(|| region.clone()));
        };
        let claim = Claim::parse(request)?;
        claim.check(&[SERVICE], self.clock.now().unix_timestamp())?;
        let known = claim.scope().access_key_id == owner.id && claim.session_token().is_none();
        let secret = if known { &owner.secret } else { &self.decoy };
        let key = self.keys.key(secret, claim.scope());
        let verified = claim.verify(request, &key, Paths::Normalized);
        if !known {
            return Err(sigv4::unknown_access_key());
        }
        if verified?.region != *region {
            return Err(KmsError::new(
                ErrorCode::InvalidSignature,
                format!(
                    "Credential should be scoped to a valid region: this server is '{region}'. "
                ),
            ));
        }
        Ok(region.clone())
    }
}

/// Whether a text can be a Region's name: it becomes a part of ARNs and of document keys.
pub fn is_region(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(plain)
}

fn reply(request_id: String, result: Result<SecretBytes, KmsError>) -> Reply {
    let (status, body) = match result {
        Ok(body) => (200, body),
        Err(error) => {
            let body = error.body().to_string().into_bytes();
            (error.code.status(), SecretBytes::new(body))
        }
    };
    Reply {
        status,
        request_id,
        body,
    }
}
