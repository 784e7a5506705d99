//! From a request to an answer: who calls, which operation, what came of it.

use crate::access_key::AccessKey;
use crate::metrics::{self, Metrics};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;
use time::OffsetDateTime;
use waxseal_core::SecretBytes;
use waxseal_core::arn::is_account;
use waxseal_core::crypto::random::{self, Entropy};
use waxseal_kms::Engine;
use waxseal_kms::caller::Caller;
use waxseal_kms::clock::Clock;
use waxseal_kms::dispatch::{Answered, Waiting, quick};
use waxseal_kms::op::Perform;
use waxseal_kms::principals::Credential;
use waxseal_kms_api::sigv4::{self, Claim, Paths, SignedRequest, SigningKeys};
use waxseal_kms_api::trail::{self, S3Call};
use waxseal_kms_api::{ErrorCode, KmsError, sts, wire};

/// The service that requests are signed for.
const SERVICE: &str = "kms";

/// Who may call.
#[derive(Debug)]
pub enum Callers {
    /// Whoever signs with this key is the owner; users and sessions are those that the engine knows.
    Owner(AccessKey),
    /// Everyone else is the owner, signature or not: for development.
    Anyone(Anew),
}

/// Makes an engine that is empty, in the place of one that was used up; why not, in one line.
pub struct Anew(pub Box<dyn Fn() -> Result<Arc<Engine>, String> + Send + Sync>);

impl std::fmt::Debug for Anew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Anew")
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub struct Peer {
    address: IpAddr,
    /// The address as the audit log has it.
    text: Arc<str>,
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        let text = address.to_string().into();
        Self { address, text }
    }
}

/// The engine and what stands before it.
pub struct Front {
    engine: RwLock<Arc<Engine>>,
    callers: Callers,
    /// The owner, as a caller who signed with the owner's access key.
    owner: Caller,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    /// Whether requests come over TLS.
    is_secure: bool,
    /// Whether somebody says when there is nothing else to do.
    is_paced: AtomicBool,
    /// Where else checkpoints of the audit log are written.
    checkpoint_file: Option<PathBuf>,
    errand: Option<Errand>,
    keys: SigningKeys,
    strangers: Strangers,
    /// Stands in for the secret of an access key id that nobody has: a signature is compared all the same.
    /// The answer names the id as unknown, as AWS does.
    decoy: Arc<SecretBytes>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Front({})", self.engine().home())
    }
}

/// What is done besides, every minute: shipping of the trail, which needs a network that is not ours.
pub struct Errand(pub Box<Work>);

/// What an errand does.
type Work = dyn Fn(&Engine) -> Result<(), KmsError> + Send + Sync;

impl std::fmt::Debug for Errand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Errand(..)")
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct Begun {
    operation: &'static str,
    begin: Instant,
    waiting: Waiting,
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
    /// Other headers.
    pub headers: Vec<(&'static str, String)>,
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
        let owner = Caller::owner(engine.home(), "");
        let owner = match &callers {
            Callers::Owner(key) => owner.with_access_key(&key.id),
            Callers::Anyone(_) => owner,
        };
        Ok(Self {
            engine: RwLock::new(engine),
            callers,
            owner,
            metrics: Arc::default(),
            clock,
            is_secure: false,
            is_paced: AtomicBool::new(false),
            checkpoint_file: None,
            errand: None,
            keys: SigningKeys::default(),
            strangers: Strangers::default(),
            decoy: Arc::new(SecretBytes::copy_of(&decoy)),
        })
    }

    /// The same, behind TLS or not.
    #[must_use]
    pub fn over_tls(mut self, is_secure: bool) -> Self {
        self.is_secure = is_secure;
        self
    }

    /// The same, with a file to which checkpoints of the audit log are written as well.
    #[must_use]
    pub fn with_checkpoint_file(mut self, path: Option<PathBuf>) -> Self {
        self.checkpoint_file = path;
        self
    }

    /// The same, with something that is done besides when the trail was delivered.
    #[must_use]
    pub fn with_errand(mut self, errand: Option<Errand>) -> Self {
        self.errand = errand;
        self
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
    pub fn look(&self, path: &str, from: &Peer) -> Option<Reply> {
        let (status, content_type, text) = match path {
            "/healthz" => match self.engine().check_health() {
                Ok(()) => (200, "application/json", "{\"status\":\"ok\"}".to_owned()),
                Err(unhealthy) => return Some(failing(unhealthy.reason)),
            },
            "/metrics" if from.address.is_loopback() => {
                (200, metrics::CONTENT_TYPE, self.metrics.text())
            }
            _ => return None,
        };
        Some(Reply {
            status,
            request_id: String::new(),
            content_type,
            headers: Vec::new(),
            body: SecretBytes::new(text.into_bytes()),
        })
    }

    /// Whether the disk does not answer: requests are refused until it does.
    pub fn is_stalled(&self) -> bool {
        self.engine().is_stalled()
    }

    /// Promises that [`Front::idle`] is called whenever there is nothing else to do: until then, and not
    /// for long, the records of requests wait for each other.
    pub fn pace(&self) {
        self.is_paced.store(true, Ordering::Relaxed);
        self.engine().pace();
    }

    /// There is nothing else to do.
    pub fn idle(&self) {
        self.engine().idle();
    }

    /// Does what has come due: rotations, the ends of waiting periods, the delivery of the trail,
    /// compression of the audit log. Blocks.
    ///
    /// # Errors
    /// As [`Engine::tend`], [`Engine::deliver`] and [`Engine::pack_log`].
    pub fn tend(&self) -> Result<(), KmsError> {
        let engine = self.engine();
        let tended = engine.tend().map(drop);
        engine.deliver()?;
        engine.pack_log()?;
        if let Some(Errand(errand)) = &self.errand {
            errand(&engine)?;
        }
        tended
    }

    /// Signs how far the audit log is, if records came since. Blocks.
    ///
    /// # Errors
    /// As [`Engine::checkpoint`].
    pub fn checkpoint(&self) -> Result<(), KmsError> {
        let engine = self.engine();
        engine.checkpoint(self.checkpoint_file.as_deref()).map(drop)
    }

    /// Empties a server for development.
    fn reset(&self) -> Result<Answered, KmsError> {
        let Callers::Anyone(Anew(anew)) = &self.callers else {
            return Err(wire::unknown_operation());
        };
        let engine = anew().map_err(|why| KmsError::new(ErrorCode::Internal, why))?;
        let request_id = engine.request_id()?;
        if self.is_paced.load(Ordering::Relaxed) {
            engine.pace();
        }
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = engine;
        Ok(Answered {
            request_id,
            result: Ok(SecretBytes::new(b"{}".to_vec())),
        })
    }

    /// Answers a request. Blocks until the request is recorded.
    pub fn reply(&self, request: SignedRequest<'_>, from: &Peer) -> Reply {
        let begin = Instant::now();
        if request.path == "/" && header(request, "content-type").is_some_and(is_form) {
            return self.sts_reply(request, from, begin);
        }
        if request.method == "GET" && scoped_to(request, trail::S3) {
            return self.s3_reply(request, from, begin);
        }
        let target = header(request, "x-amz-target");
        if let Some(name) = target.and_then(|value| value.strip_prefix(trail::TARGET_PREFIX)) {
            let answered = self.trail_reply(request, from, name);
            return self.counted(name, begin, answered);
        }
        let target = target.and_then(|value| value.strip_prefix("TrentService."));
        let answered = self.answered(request, from);
        self.counted(target.unwrap_or_default(), begin, answered)
    }

    /// Answers a request to CloudTrail.
    fn trail_reply(
        &self,
        request: SignedRequest<'_>,
        from: &Peer,
        name: &str,
    ) -> Result<Answered, KmsError> {
        let engine = self.engine();
        let service = trail::CLOUDTRAIL;
        let (caller, region) = match self.admit(&engine, request, from, service) {
            Ok(admitted) => admitted,
            Err(error) => return self.stranger(&engine, request, from, (service, name), error),
        };
        match name {
            "DescribeTrails" => {
                engine.answer_input::<trail::DescribeTrailsRequest>(caller, region, request.body)
            }
            "ListPublicKeys" => {
                engine.answer_input::<trail::ListPublicKeysRequest>(caller, region, request.body)
            }
            "LookupEvents" => {
                engine.answer_input::<trail::LookupEventsRequest>(caller, region, request.body)
            }
            _ => engine.refuse(&caller, (service, region), name, wire::unknown_operation()),
        }
    }

    /// Answers a request to S3, which is a `GET` in the scope of that service.
    fn s3_reply(&self, request: SignedRequest<'_>, from: &Peer, begin: Instant) -> Reply {
        let call = S3Call::parse(request.path, request.query);
        let name = call.as_ref().map(S3Call::name).unwrap_or_default();
        let engine = self.engine();
        let refused = |refused: Answered| (refused.request_id, refused.result.map(Sent::text));
        let answered = match (self.admit(&engine, request, from, trail::S3), call) {
            (Err(error), _) => self
                .stranger(&engine, request, from, (trail::S3, name), error)
                .map(refused),
            (Ok((caller, region)), Err(error)) => engine
                .refuse(&caller, (trail::S3, region), name, error)
                .map(refused),
            (Ok((caller, region)), Ok(call)) => match call {
                S3Call::GetBucketLocation(input) => {
                    performed(&engine, caller, region, input, |_, answer| {
                        Sent::xml(answer.xml())
                    })
                }
                S3Call::ListObjects(input) => {
                    performed(&engine, caller, region, input, |_, answer| {
                        Sent::xml(answer.xml())
                    })
                }
                S3Call::GetObject(input) => {
                    performed(&engine, caller, region, input, |_, answer| Sent {
                        body: SecretBytes::new(answer.body.0),
                        content_type: "application/octet-stream",
                        signature: answer.signature,
                    })
                }
            },
        };
        let (request_id, result) =
            answered.unwrap_or_else(|error| (engine.request_id().unwrap_or_default(), Err(error)));
        let code = result.as_ref().err().map(|error| error.code);
        self.metrics.request(name, code, begin.elapsed());
        match result {
            Ok(sent) => Reply {
                status: 200,
                request_id,
                content_type: sent.content_type,
                headers: sent.signature.map(digest_headers).unwrap_or_default(),
                body: sent.body,
            },
            Err(error) => {
                let (status, body) = trail::s3_error(&error, &request_id);
                Reply {
                    status,
                    request_id,
                    content_type: trail::XML,
                    headers: Vec::new(),
                    body: SecretBytes::new(body.into_bytes()),
                }
            }
        }
    }

    /// Begins a request that needs no thread of its own, if it is one; the others are for
    /// [`Front::reply`].
    pub fn begin(&self, request: SignedRequest<'_>, from: &Peer) -> Option<Begun> {
        let target = header(request, "x-amz-target")?;
        let operation = quick(target.strip_prefix("TrentService.")?)?;
        if request.method != "POST" || request.path != "/" {
            return None;
        }
        let begin = Instant::now();
        let engine = self.engine();
        // What is refused already takes the other way, and is recorded there.
        let (caller, region) = self.admit(&engine, request, from, SERVICE).ok()?;
        let waiting = engine.begin_answer(caller, region, operation, request.body);
        Some(Begun {
            operation,
            begin,
            waiting: waiting.ok()?,
        })
    }

    /// The reply to what was begun, once it is recorded.
    pub async fn finish(&self, begun: Begun) -> Reply {
        let Begun {
            operation,
            begin,
            waiting,
        } = begun;
        self.counted(operation, begin, waiting.recorded().await)
    }

    fn counted(
        &self,
        operation: &str,
        begin: Instant,
        answered: Result<Answered, KmsError>,
    ) -> Reply {
        self.metrics
            .request(operation, code(&answered), begin.elapsed());
        match answered {
            Ok(Answered { request_id, result }) => reply(request_id, result),
            Err(error) => self.refusal(error),
        }
    }

    /// Answers a request to STS.
    fn sts_reply(&self, request: SignedRequest<'_>, from: &Peer, begin: Instant) -> Reply {
        let (name, answered) = self.sts_answered(request, from);
        self.metrics.request(name, code(&answered), begin.elapsed());
        let answered = answered.unwrap_or_else(|error| Answered {
            request_id: self.engine().request_id().unwrap_or_default(),
            result: Err(error),
        });
        let request_id = answered.request_id;
        let (status, body) = match answered.result {
            Ok(body) => (200, body),
            Err(error) => sts::error(&error, &request_id),
        };
        Reply {
            status,
            request_id,
            content_type: sts::CONTENT_TYPE,
            headers: Vec::new(),
            body,
        }
    }

    fn sts_answered(
        &self,
        request: SignedRequest<'_>,
        from: &Peer,
    ) -> (&'static str, Result<Answered, KmsError>) {
        let engine = self.engine();
        let call = sts::Call::parse(request.body);
        let name = call.as_ref().map(sts::Call::name).unwrap_or_default();
        let admitted = match &call {
            // Not signed: the token is the proof.
            Ok(sts::Call::AssumeRoleWithWebIdentity(input)) => {
                let region = engine.home().region.as_str();
                let caller = engine.web_identity(input);
                caller.map(|caller| (self.seen(caller, request, from), region))
            }
            _ => self.admit(&engine, request, from, sts::SERVICE),
        };
        let answered = match (admitted, call) {
            (Err(error), _) => self.stranger(&engine, request, from, (sts::SERVICE, name), error),
            (Ok((caller, region)), Err(error)) => {
                engine.refuse(&caller, (sts::SERVICE, region), name, error)
            }
            (Ok((caller, region)), Ok(call)) => match call {
                sts::Call::GetCallerIdentity(input) => sts_answer(&engine, caller, region, input),
                sts::Call::AssumeRole(input) => sts_answer(&engine, caller, region, input),
                sts::Call::AssumeRoleWithWebIdentity(input) => {
                    sts_answer(&engine, caller, region, input)
                }
            },
        };
        (name, answered)
    }

    /// A refusal of what never became a request.
    pub fn refusal(&self, error: KmsError) -> Reply {
        reply(self.engine().request_id().unwrap_or_default(), Err(error))
    }

    fn answered(&self, request: SignedRequest<'_>, from: &Peer) -> Result<Answered, KmsError> {
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
        let target = header(request, "x-amz-target");
        let (caller, region) = match self.admit(&engine, request, from, SERVICE) {
            Ok(admitted) => admitted,
            Err(error) => {
                let operation = wire::operation(target).unwrap_or_default();
                return self.stranger(&engine, request, from, (SERVICE, operation), error);
            }
        };
        match wire::operation(target) {
            Ok(operation) => engine.answer(caller, region, operation, request.body),
            Err(error) => engine.refuse(&caller, (SERVICE, region), "", error),
        }
    }

    /// Refuses somebody who is not let in. So many of these are recorded in a second and no more:
    /// strangers are not to fill the log.
    fn stranger(
        &self,
        engine: &Engine,
        request: SignedRequest<'_>,
        from: &Peer,
        (service, operation): (&str, &str),
        error: KmsError,
    ) -> Result<Answered, KmsError> {
        if error.code == ErrorCode::Internal || !self.strangers.admit(self.clock.now()) {
            self.metrics.unrecorded_refusal();
            return Ok(Answered {
                request_id: engine.request_id()?,
                result: Err(error),
            });
        }
        let caller = Caller::stranger()
            .by_program(header(request, "user-agent").unwrap_or_default())
            .from_address(from.text.clone());
        let region = engine.home().region.as_str();
        engine.refuse(&caller, (service, region), operation, error)
    }

    /// Who calls, by the signature, and which Region the request is for.
    fn admit<'a>(
        &self,
        engine: &'a Engine,
        request: SignedRequest<'a>,
        from: &Peer,
        service: &str,
    ) -> Result<(Caller, &'a str), KmsError> {
        let (caller, region) = match &self.callers {
            Callers::Owner(owner) => self.signer(engine, request, Some(owner), service)?,
            Callers::Anyone(_) => self.anyone(engine, request, service)?,
        };
        Ok((self.seen(caller, request, from), region))
    }

    /// A caller, with what this request shows of them.
    fn seen(&self, caller: Caller, request: SignedRequest<'_>, from: &Peer) -> Caller {
        caller
            .by_program(header(request, "user-agent").unwrap_or_default())
            .from_address(from.text.clone())
            .over_tls(self.is_secure)
    }

    /// Who signed a request.
    fn signer<'a>(
        &self,
        engine: &Engine,
        request: SignedRequest<'a>,
        owner: Option<&AccessKey>,
        service: &str,
    ) -> Result<(Caller, &'a str), KmsError> {
        let claim = Claim::parse(request)?;
        claim.check(&[service], self.clock.now().unix_timestamp())?;
        let id = claim.scope().access_key_id;
        let owner = owner.filter(|owner| owner.id == id && claim.session_token().is_none());
        let known = match owner {
            Some(owner) => Some(Credential {
                secret: owner.secret.clone(),
                caller: self.owner.clone(),
            }),
            None => engine.credential(id, claim.session_token())?,
        };
        let secret = known.as_ref().map(|known| &known.secret);
        let secret = secret.unwrap_or(&self.decoy);
        let key = self.keys.key(secret, claim.scope());
        let paths = match service {
            trail::S3 => Paths::AsGiven,
            _ => Paths::Normalized,
        };
        let verified = claim.verify(request, &key, paths);
        let Some(known) = known else {
            return Err(sigv4::unknown_access_key());
        };
        let region = verified?.scope.region;
        if !is_region(region) {
            return Err(KmsError::new(
                ErrorCode::InvalidSignature,
                "Credential should be scoped to a valid region. ",
            ));
        }
        Ok((known.caller, region))
    }

    /// For development: users and sessions that are known are who they are, if they sign as they
    /// should; everyone else is an owner. An access key id of 12 digits names the account.
    fn anyone<'a>(
        &self,
        engine: &'a Engine,
        request: SignedRequest<'a>,
        service: &str,
    ) -> Result<(Caller, &'a str), KmsError> {
        let home = engine.home();
        let Ok(claim) = Claim::parse(request) else {
            return Ok((Caller::owner(home, ""), &home.region));
        };
        let scope = claim.scope();
        let id = scope.access_key_id;
        if engine.credential(id, claim.session_token())?.is_some() {
            return self.signer(engine, request, None, service);
        }
        let region = Some(scope.region).filter(|region| is_region(region));
        let region = region.unwrap_or(&home.region);
        let account = if is_account(id) { id } else { &home.account };
        Ok((engine.owner_of(account, ""), region))
    }
}

/// The answer about a server that cannot work.
pub fn failing(reason: &str) -> Reply {
    // The reasons are ours: there is nothing in them to be escaped.
    let text = format!("{{\"status\":\"failing\",\"reason\":\"{reason}\"}}");
    Reply {
        status: 503,
        request_id: String::new(),
        content_type: "application/json",
        headers: Vec::new(),
        body: SecretBytes::new(text.into_bytes()),
    }
}

fn sts_answer<O: Perform>(
    engine: &Engine,
    caller: Caller,
    region: &str,
    input: O,
) -> Result<Answered, KmsError>
where
    O::Output: sts::Answer,
{
    let (request_id, result) = performed(engine, caller, region, input, |id, answer| {
        sts::output(O::NAME, id, &answer)
    })?;
    Ok(Answered { request_id, result })
}

/// The id of a request and what `send` makes of its answer.
fn performed<O: Perform, T>(
    engine: &Engine,
    caller: Caller,
    region: &str,
    input: O,
    send: impl FnOnce(&str, O::Output) -> T,
) -> Result<(String, Result<T, KmsError>), KmsError> {
    let request = engine.by_caller(caller, region, input)?;
    let request_id = request.request_id().to_owned();
    let result = engine.call(request).map(|answer| send(&request_id, answer));
    Ok((request_id, result))
}

/// What S3 sends back.
struct Sent {
    body: SecretBytes,
    content_type: &'static str,
    signature: Option<String>,
}

impl Sent {
    fn text(body: SecretBytes) -> Self {
        Self {
            body,
            content_type: trail::XML,
            signature: None,
        }
    }

    fn xml(text: String) -> Self {
        Self::text(SecretBytes::new(text.into_bytes()))
    }
}

/// The metadata of a digest.
fn digest_headers(signature: String) -> Vec<(&'static str, String)> {
    vec![
        ("x-amz-meta-signature", signature),
        ("x-amz-meta-signature-algorithm", "SHA256withRSA".to_owned()),
    ]
}

/// Whether a request says that it is signed for a service. Nothing is believed of it.
fn scoped_to(request: SignedRequest<'_>, service: &str) -> bool {
    let claim = Claim::parse(request);
    claim.is_ok_and(|claim| claim.scope().service == service)
}

/// How many refusals of strangers were recorded in this second.
#[derive(Debug, Default)]
struct Strangers(Mutex<(i64, u32)>);

/// The most refusals of strangers that are recorded in a second.
const STRANGERS_PER_SECOND: u32 = 10;

impl Strangers {
    fn admit(&self, now: OffsetDateTime) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.unix_timestamp();
        if seen.0 != second {
            *seen = (second, 0);
        }
        seen.1 = seen.1.saturating_add(1);
        seen.1 <= STRANGERS_PER_SECOND
    }
}

/// Which error was answered, if one was.
fn code(answered: &Result<Answered, KmsError>) -> Option<ErrorCode> {
    let error = match answered {
        Ok(answered) => answered.result.as_ref().err(),
        Err(error) => Some(error),
    };
    error.map(|error| error.code)
}

fn header<'a>(request: SignedRequest<'a>, name: &str) -> Option<&'a str> {
    let mut headers = request.headers.iter();
    let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map(|(_, value)| *value)
}

/// Whether a media type is that of the Query protocol.
fn is_form(media: &str) -> bool {
    let kind = media.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
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
        headers: Vec::new(),
        body,
    }
}
