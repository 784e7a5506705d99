//! From a request to an answer: who calls, which operation, what came of it.

use crate::access_key::AccessKey;
use crate::metrics::{self, Metrics};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;
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
    Anyone(Anew),
}

/// Makes an engine that is empty, in the place of one that was used up; why not, in one line.
pub struct Anew(pub Box<dyn Fn() -> Result<Arc<Engine>, String> + Send + Sync>);

impl std::fmt::Debug for Anew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Anew")
    }
}

/// The engine and what stands before it.
pub struct Front {
    engine: RwLock<Arc<Engine>>,
    callers: Callers,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    keys: SigningKeys,
    /// Compared in place of the secret of an access key id that nobody has, so that the answer
    /// takes as long.
    decoy: SecretBytes,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Front({})", self.engine().home())
    }
}

/// What is sent back.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `x-amzn-RequestId`; empty where there is none.
    pub request_id: String,
    /// The media type of the body.
    pub content_type: &'static str,
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
            engine: RwLock::new(engine),
            callers,
            metrics: Arc::default(),
            clock,
            keys: SigningKeys::default(),
            decoy: SecretBytes::copy_of(&decoy),
        })
    }

    /// Whether everyone is let in.
    pub fn is_open(&self) -> bool {
        matches!(self.callers, Callers::Anyone(_))
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn engine(&self) -> Arc<Engine> {
        self.engine
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Answers `GET /healthz` to everyone, and `GET /metrics` to those on this machine. Blocks.
    pub fn look(&self, path: &str, from: IpAddr) -> Option<Reply> {
        let (status, content_type, text) = match path {
            "/healthz" => match self.engine().check_health() {
                Ok(()) => (200, "application/json", "{\"status\":\"ok\"}".to_owned()),
                Err(_) => (
                    503,
                    "application/json",
                    "{\"status\":\"failing\"}".to_owned(),
                ),
            },
            "/metrics" if from.is_loopback() => (200, metrics::CONTENT_TYPE, self.metrics.text()),
            _ => return None,
        };
        Some(Reply {
            status,
            request_id: String::new(),
            content_type,
            body: SecretBytes::new(text.into_bytes()),
        })
    }

    /// Does what has come due: rotations, and the ends of waiting periods. Blocks.
    ///
    /// # Errors
    /// As [`Engine::tend`].
    pub fn tend(&self) -> Result<(), KmsError> {
        self.engine().tend().map(drop)
    }

    /// Empties a server for development.
    fn reset(&self) -> Result<Answered, KmsError> {
        let Callers::Anyone(Anew(anew)) = &self.callers else {
            return Err(wire::unknown_operation());
        };
        let engine = anew().map_err(|why| KmsError::new(ErrorCode::Internal, why))?;
        let request_id = engine.request_id()?;
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = engine;
        Ok(Answered {
            request_id,
            result: Ok(SecretBytes::new(b"{}".to_vec())),
        })
    }

    /// Answers a request. Blocks until the request is recorded.
    pub fn reply(&self, request: SignedRequest<'_>, from: IpAddr) -> Reply {
        let begin = Instant::now();
        let target = request.headers.iter();
        let target = target
            .filter(|(name, _)| name.eq_ignore_ascii_case("x-amz-target"))
            .find_map(|(_, value)| value.strip_prefix("TrentService."));
        let answered = self.answered(request, from);
        let error = match &answered {
            Ok(answered) => answered.result.as_ref().err(),
            Err(error) => Some(error),
        };
        let code = error.map(|error| error.code);
        self.metrics
            .request(target.unwrap_or_default(), code, begin.elapsed());
        match answered {
            Ok(Answered { request_id, result }) => reply(request_id, result),
            Err(error) => self.refusal(error),
        }
    }

    /// A refusal of what never became a request.
    pub fn refusal(&self, error: KmsError) -> Reply {
        reply(self.engine().request_id().unwrap_or_default(), Err(error))
    }

    fn answered(&self, request: SignedRequest<'_>, from: IpAddr) -> Result<Answered, KmsError> {
        if request.method == "POST" && request.path == "/reset" {
            // Pages in a browser may send this to whomever they like, but not without saying so.
            return match request.value("origin")? {
                None => self.reset(),
                Some(_) => Err(wire::unknown_operation()),
            };
        }
        if request.method != "POST" || request.path != "/" {
            return Err(wire::unknown_operation());
        }
        let engine = self.engine();
        let region = self.admit(&engine, request)?;
        let header = |name: &str| {
            let mut headers = request.headers.iter();
            let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
            found.map(|(_, value)| *value)
        };
        let operation = wire::operation(header("x-amz-target"))?;
        let user_agent = header("user-agent").unwrap_or_default();
        let caller = Caller::owner(engine.home(), user_agent).from_address(from.to_string());
        engine.answer(caller, &region, operation, request.body)
    }

    /// Lets the owner in, and tells which Region the request is for.
    fn admit(&self, engine: &Engine, request: SignedRequest<'_>) -> Result<String, KmsError> {
        let region = &engine.home().region;
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
        let signed_for = verified?.region;
        if !is_region(&signed_for) {
            return Err(KmsError::new(
                ErrorCode::InvalidSignature,
                "Credential should be scoped to a valid region. ",
            ));
        }
        Ok(signed_for)
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
        content_type: wire::CONTENT_TYPE,
        body,
    }
}
