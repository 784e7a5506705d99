//! Web identities: whose tokens begin sessions, and of which roles.

use crate::support::{World, refused, secret};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use waxseal_core::crypto::key_pair::{KeyPair, PairSpec, SignatureAlgorithm, Signed};
use waxseal_kms::caller::Caller;
use waxseal_kms_api::iam::*;
use waxseal_kms_api::op::EncryptRequest;
use waxseal_kms_api::shape::SecretBlob;
use waxseal_kms_api::sts::*;
use waxseal_kms_api::{ErrorCode, KmsError};

const ISSUER: &str = "https://ci.example.com/realms/one";
const CONDITIONS: &str = "ci.example.com/realms/one";
const PROVIDER: &str = "arn:aws:iam::000000000000:oidc-provider/ci.example.com/realms/one";
const ROLE: &str = "arn:aws:iam::000000000000:role/deploy";

/// Who issues tokens.
struct Issuer(KeyPair);

impl Issuer {
    fn new() -> Self {
        Self(KeyPair::generate(PairSpec::Ed25519).unwrap())
    }

    fn keys(&self) -> String {
        let spki = self.0.spki().unwrap();
        let x = URL_SAFE_NO_PAD.encode(&spki[spki.len() - 32..]);
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x }] }).to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": "k1" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(claims));
        let signed = Signed::Message(text.as_bytes());
        let signature = self.0.sign(SignatureAlgorithm::Ed25519, signed).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn trust(condition: &Value) -> String {
    let statement = json!({
        "Effect": "Allow", "Principal": { "Federated": PROVIDER },
        "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition,
    });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

fn asked(token: &str) -> AssumeRoleWithWebIdentityRequest {
    AssumeRoleWithWebIdentityRequest {
        role_arn: ROLE.to_owned(),
        role_session_name: "job-1".to_owned(),
        web_identity_token: secret(token.as_bytes()),
        ..AssumeRoleWithWebIdentityRequest::default()
    }
}

impl World {
    fn second(&self) -> i64 {
        self.clock.0.lock().unwrap().unix_timestamp()
    }

    fn claims(&self) -> Value {
        json!({
            "iss": ISSUER, "sub": "repo:waxseal:ref:main", "aud": "sts.amazonaws.com",
            "iat": self.second(), "exp": self.second() + 300, "environment": "production",
            "run": 17, "groups": ["ops", "dev"],
        })
    }

    fn knows(&self, issuer: &Issuer) {
        let request = CreateOpenIDConnectProviderRequest {
            url: ISSUER.to_owned(),
            client_ids: vec!["other".to_owned(), "sts.amazonaws.com".to_owned()],
            keys: issuer.keys(),
        };
        assert_eq!(self.call(request).unwrap().arn, PROVIDER);
    }

    fn deploys(&self, trust: String) {
        self.call(CreateRoleRequest {
            role_name: "deploy".to_owned(),
            assume_role_policy_document: trust,
            max_session_duration: Some(7_200),
        })
        .unwrap();
    }

    fn begin(
        &self,
        request: AssumeRoleWithWebIdentityRequest,
    ) -> Result<AssumeRoleWithWebIdentityResponse, KmsError> {
        let caller = self.engine.web_identity(&request)?;
        let request = self.engine.by_caller(caller, "local", request);
        self.engine.call(request?)
    }

    fn session(&self, begun: &AssumeRoleResponse) -> Option<Caller> {
        let text = |secret: &SecretBlob| String::from_utf8(secret.0.expose().to_vec()).unwrap();
        let token = text(&begun.session_token);
        let credential = self.engine.credential(&begun.access_key_id, Some(&token));
        credential.unwrap().map(|credential| credential.caller)
    }
}

#[test]
fn a_token_begins_a_session_of_the_roles_that_trust_its_issuer() {
    let world = World::new();
    let (issuer, key) = (Issuer::new(), world.symmetric());
    world.knows(&issuer);
    world.deploys(trust(&json!({
        "StringEquals": {
            format!("{CONDITIONS}:aud"): "sts.amazonaws.com",
            format!("{CONDITIONS}:environment"): "production",
        },
        "StringLike": { format!("{CONDITIONS}:sub"): "repo:waxseal:*" },
        "NumericEquals": { format!("{CONDITIONS}:run"): "17" },
        "ForAnyValue:StringEquals": { format!("{CONDITIONS}:groups"): ["ops"] },
        "StringNotEquals": { "aws:PrincipalType": "Account" },
    })));
    // What the session may do can hang from whom the token named.
    let statement = json!({
        "Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*",
        "Condition": { "StringEquals": {
            format!("{CONDITIONS}:sub"): "repo:waxseal:ref:main",
            "aws:FederatedProvider": PROVIDER,
        } },
    });
    world
        .call(PutRolePolicyRequest {
            role_name: "deploy".to_owned(),
            policy_name: "p".to_owned(),
            policy_document: Some(
                json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string(),
            ),
        })
        .unwrap();
    let token = issuer.token(&world.claims());
    let begun = world.begin(asked(&token)).unwrap();
    assert_eq!(begun.subject, "repo:waxseal:ref:main");
    assert_eq!(begun.audience, "sts.amazonaws.com");
    assert_eq!(begun.provider, ISSUER);
    let session = || world.session(&begun.session).unwrap();
    let encrypt = EncryptRequest {
        key_id: key,
        plaintext: secret(b"plaintext"),
        ..EncryptRequest::default()
    };
    let request = world.engine.by_caller(session(), "local", encrypt);
    assert!(world.engine.call(request.unwrap()).is_ok());
    // It lasts beyond its token.
    *world.clock.0.lock().unwrap() += time::Duration::seconds(3_599);
    assert_eq!(
        session().arn(),
        "arn:aws:sts::000000000000:assumed-role/deploy/job-1"
    );
    let log = world.log();
    for told in [
        r#""type":"WebIdentityUser""#,
        r#""userName":"repo:waxseal:ref:main""#,
        r#""webIdFederationData":{"#,
        r#""eventName":"AssumeRoleWithWebIdentity""#,
    ] {
        assert!(log.contains(told), "{told} is not in {log}");
    }
    assert!(!log.contains(&token));
}

#[test]
fn a_token_that_does_not_count_begins_nothing() {
    let world = World::new();
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    world.knows(&issuer);
    world.deploys(trust(&json!({})));
    assert!(world.begin(asked(&issuer.token(&world.claims()))).is_ok());
    let now = world.second();
    let with = |name: &str, value: Value| {
        let mut claims = world.claims();
        claims[name] = value;
        claims
    };
    let invalid = ErrorCode::InvalidIdentityToken;
    for (claims, code, why) in [
        (
            with("iss", json!("https://ci.example.com")),
            invalid,
            "provider",
        ),
        (
            with("iss", json!("ci.example.com/realms/one")),
            invalid,
            "provider",
        ),
        (with("iss", Value::Null), invalid, "provider"),
        (with("aud", json!("somebody")), invalid, "audience"),
        (with("aud", Value::Null), invalid, "audience"),
        (with("aud", json!([])), invalid, "audience"),
        (with("azp", json!("somebody")), invalid, "audience"),
        (with("sub", Value::Null), invalid, "sub"),
        (with("sub", json!("x".repeat(256))), invalid, "sub"),
        (with("exp", Value::Null), invalid, "exp"),
        (with("exp", json!("soon")), invalid, "exp"),
        (
            with("exp", json!(now)),
            ErrorCode::ExpiredIdentityToken,
            "expired",
        ),
        (with("iat", Value::Null), invalid, "iat"),
        (with("iat", json!(now + 301)), invalid, "yet"),
        (with("nbf", json!(now + 301)), invalid, "yet"),
    ] {
        let (is, message) = refused(world.begin(asked(&issuer.token(&claims))));
        assert_eq!(is, code, "{message}");
        assert!(message.contains(why), "{message}");
    }
    for claims in [
        with("exp", json!(now + 1)),
        with("iat", json!(now + 300)),
        with("aud", json!(["somebody", "other"])),
    ] {
        assert!(
            world.begin(asked(&issuer.token(&claims))).is_ok(),
            "{claims}"
        );
    }
    let forged = stranger.token(&world.claims());
    assert_eq!(refused(world.begin(asked(&forged))).0, invalid);
    for text in ["", "a.b.c", "\u{0}"] {
        assert_eq!(refused(world.begin(asked(text))).0, invalid);
    }
    // The account of the role knows the issuer, or it does not.
    let mut elsewhere = asked(&issuer.token(&world.claims()));
    elsewhere.role_arn = "arn:aws:iam::111122223333:role/deploy".to_owned();
    assert_eq!(refused(world.begin(elsewhere)).0, invalid);
}

#[test]
fn a_web_identity_may_be_whom_it_is_let_be_and_nothing_else() {
    let world = World::new();
    let issuer = Issuer::new();
    world.knows(&issuer);
    let token = || issuer.token(&world.claims());
    let denied = |request| {
        let (code, message) = refused(world.begin(request));
        assert_eq!(code, ErrorCode::AccessDenied, "{message}");
        assert_eq!(
            message,
            "Not authorized to perform sts:AssumeRoleWithWebIdentity"
        );
    };
    // There is no such role.
    denied(asked(&token()));
    for trusted in [
        trust(&json!({ "StringEquals": { format!("{CONDITIONS}:sub"): "somebody" } })),
        trust(&json!({})).replace("WithWebIdentity", ""),
        trust(&json!({})).replace("realms/one", "realms/two"),
        trust(&json!({}))
            .replace("Federated", "AWS")
            .replace(PROVIDER, "000000000000"),
    ] {
        world.deploys(trusted);
        denied(asked(&token()));
    }
    world.deploys(trust(&json!({})));
    let too_long = AssumeRoleWithWebIdentityRequest {
        duration_seconds: Some(7_201),
        ..asked(&token())
    };
    assert_eq!(refused(world.begin(too_long)).0, ErrorCode::Validation);
    // Other keys hold for the next token, and the sessions there are go on.
    let begun = world.begin(asked(&token())).unwrap();
    let next = Issuer::new();
    world.knows(&next);
    assert_eq!(
        refused(world.begin(asked(&token()))).0,
        ErrorCode::InvalidIdentityToken
    );
    assert!(world.begin(asked(&next.token(&world.claims()))).is_ok());
    assert!(world.session(&begun.session).is_some());
    let listed = world.call(ListOpenIDConnectProvidersRequest {}).unwrap();
    assert_eq!(listed.providers.len(), 1);
    assert_eq!(listed.providers[0].url, ISSUER);
    let url = ISSUER.to_owned();
    world
        .call(DeleteOpenIDConnectProviderRequest { url: url.clone() })
        .unwrap();
    assert_eq!(
        refused(world.begin(asked(&next.token(&world.claims())))).0,
        ErrorCode::InvalidIdentityToken
    );
    let gone = world.call(DeleteOpenIDConnectProviderRequest { url });
    assert_eq!(refused(gone).0, ErrorCode::NotFound);
}

#[test]
fn what_an_issuer_says_is_never_taken_for_what_is_known() {
    let world = World::new();
    let issuer = Issuer::new();
    // An issuer of this name could speak of `aws:…`, if it had a host called so.
    for url in [
        "http://ci.example.com",
        "https://CI.example.com",
        "https://a/?b",
        "https://",
        "x",
    ] {
        let request = CreateOpenIDConnectProviderRequest {
            url: url.to_owned(),
            client_ids: vec!["c".to_owned()],
            keys: issuer.keys(),
        };
        assert_eq!(
            refused(world.call(request)).0,
            ErrorCode::Validation,
            "{url}"
        );
    }
    let request = CreateOpenIDConnectProviderRequest {
        url: "https://aws".to_owned(),
        client_ids: vec!["sts.amazonaws.com".to_owned()],
        keys: issuer.keys(),
    };
    world.call(request).unwrap();
    world.deploys(
        trust(&json!({ "StringEquals": { "aws:PrincipalType": "Account" } }))
            .replace(CONDITIONS, "aws"),
    );
    let mut claims = world.claims();
    claims["iss"] = json!("https://aws");
    claims["PrincipalType"] = json!("Account");
    let (code, _) = refused(world.begin(asked(&issuer.token(&claims))));
    assert_eq!(code, ErrorCode::AccessDenied);
}
