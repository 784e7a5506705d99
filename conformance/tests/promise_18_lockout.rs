//! A policy that would lock out whoever puts it is refused, unless they say that they mean it; one that is
//! taken can be replaced by another.
//!
//! Cases as people met them (ekristen/aws-nuke#537: keys that nobody may delete any more), by each way to
//! give a key a policy, and random policies: whatever is refused would have locked its author out, and
//! whatever is taken leaves the author or the account a way back.
//!
//! Who meant it stays out: a key's policy is above its owner. What is lost then is the key's use, not the
//! store; a policy that lets the account in comes back with a backup from before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use waxseal_conformance::engines::{call, home, parts};
use waxseal_conformance::policies::{Policies, Subject};
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{Dice, campaign, promise};
use waxseal_kms::Engine;
use waxseal_kms::audit::AuditLog;
use waxseal_kms::caller::Caller;
use waxseal_kms::op::Perform;
use waxseal_kms::seed::SeedUser;
use waxseal_kms::store::MemoryStore;
use waxseal_kms_api::iam::PutUserPolicyRequest;
use waxseal_kms_api::op::*;
use waxseal_kms_api::{ErrorCode, KmsError};

const REGION: &str = "local";
const ACCOUNT: &str = "000000000000";
/// May everything by a policy of her own.
const ANN: &str = "arn:aws:iam::000000000000:user/ann";
/// May what policies of keys say.
const EVE: &str = "arn:aws:iam::000000000000:user/eve";

/// What locks out whom: the root user of the account, ann, and eve.
#[rustfmt::skip]
const CASES: &[(&str, &str, [bool; 3])] = &[
    ("the account may everything",
        r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:*","Resource":"*"}"#,
        [false, false, false]),
    ("everybody may everything",
        r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}"#,
        [false, false, false]),
    ("ann may everything, and nobody else",
        r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/ann"},"Action":"kms:*","Resource":"*"}"#,
        [true, false, true]),
    ("the account may put policies",
        r#"{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"kms:PutKeyPolicy","Resource":"*"}"#,
        [false, false, false]),
    ("the account may put what begins so",
        r#"{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"kms:Put*","Resource":"*"}"#,
        [false, false, false]),
    ("the account may all but encrypt",
        r#"{"Effect":"Allow","Principal":{"AWS":"000000000000"},"NotAction":"kms:Encrypt","Resource":"*"}"#,
        [false, false, false]),
    ("the account may use it only",
        r#"{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":["kms:Encrypt","kms:Decrypt","kms:DescribeKey"],"Resource":"*"}"#,
        [true, true, true]),
    ("the account may all but put policies",
        r#"{"Effect":"Allow","Principal":{"AWS":"000000000000"},"NotAction":"kms:PutKeyPolicy","Resource":"*"}"#,
        [true, true, true]),
    ("another account may everything",
        r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}"#,
        [true, true, true]),
    ("a user of another account",
        r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"},"Action":"kms:*","Resource":"*"}"#,
        [true, true, true]),
    ("a role that there is not",
        r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:role/gone"},"Action":"kms:*","Resource":"*"}"#,
        [true, true, true]),
    ("a service alone",
        r#"{"Effect":"Allow","Principal":{"Service":"logs.amazonaws.com"},"Action":"kms:*","Resource":"*"}"#,
        [true, true, true]),
    ("everything is denied",
        r#"{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}"#,
        [true, true, true]),
    ("everything is allowed, and denied",
        r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}"#,
        [true, true, true]),
    ("policies are denied to everybody",
        r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"kms:PutKeyPolicy","Resource":"*"}"#,
        [true, true, true]),
    ("policies are denied to ann",
        r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000000:user/ann"},"Action":"kms:PutKeyPolicy","Resource":"*"}"#,
        [false, true, false]),
    ("everything is denied to all but the account",
        r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringNotEquals":{"kms:CallerAccount":"000000000000"}}}"#,
        [false, false, false]),
    ("everything is denied to all but another account",
        r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringNotEquals":{"kms:CallerAccount":"111122223333"}}}"#,
        [true, true, true]),
    ("everything is denied to all but ann",
        r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/ann"}}}"#,
        [true, false, true]),
    ("only through a service",
        r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"kms:ViaService":"s3.local.amazonaws.com"}}}"#,
        [true, true, true]),
    ("only for an organization that nobody is in",
        r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1234567890"}}}"#,
        [true, true, true]),
    ("of another key",
        r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"arn:aws:kms:local:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"}"#,
        [true, true, true]),
    ("of aliases",
        r#"{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"arn:aws:kms:*:*:alias/*"}"#,
        [true, true, true]),
    ("by the action's name in another case",
        r#"{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"KMS:putkeypolicy","Resource":"*"}"#,
        [false, false, false]),
];

/// Random policies about who asks.
const POLICIES: Policies = Policies {
    subjects: &[
        Subject {
            key: "kms:CallerAccount",
            operators: &["StringEquals", "StringNotEquals", "StringLike"],
            said: &[ACCOUNT, "111122223333", "0*"],
            had: &[],
        },
        Subject {
            key: "aws:PrincipalArn",
            operators: &["ArnLike", "ArnNotLike", "StringEquals", "StringNotLike"],
            said: &[
                ANN,
                EVE,
                "arn:aws:iam::*:user/*",
                "arn:aws:iam::000000000000:root",
            ],
            had: &[],
        },
        Subject {
            key: "kms:ViaService",
            operators: &["StringEquals", "StringNotEquals"],
            said: &["s3.local.amazonaws.com"],
            had: &[],
        },
    ],
    principals: &[
        "*",
        ACCOUNT,
        "arn:aws:iam::000000000000:root",
        "arn:aws:iam::111122223333:root",
        ANN,
        EVE,
    ],
};

/// An account with three people who may put policies.
struct Account {
    engine: Engine,
    /// The access keys of those who are users.
    access_keys: [Option<String>; 3],
}

fn document(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
}

/// The policy of a user who may everything.
fn everything() -> Value {
    json!({ "Version": "2012-10-17",
            "Statement": { "Effect": "Allow", "Action": "kms:*", "Resource": "*" } })
}

/// A policy that lets everybody in, eve as well.
fn open() -> String {
    document(CASES[1].1)
}

impl Account {
    fn new(log: &std::path::Path) -> Self {
        let log = AuditLog::open(log).unwrap();
        let engine = Engine::new(parts(MemoryStore::new(), log)).unwrap();
        let all = everything();
        let user = |name: &str, policies: &[(&str, &Value)]| {
            let access_key_id = format!("AKIA{:A<16}", name.to_uppercase());
            let policies = policies.iter();
            let seed = SeedUser {
                name: name.to_owned(),
                account: None,
                access_key_id: access_key_id.clone(),
                secret_access_key: "a secret of hers".to_owned(),
                policies: policies
                    .map(|(name, policy)| ((*name).to_owned(), (*policy).clone()))
                    .collect::<BTreeMap<_, _>>(),
            };
            call(&engine, seed).unwrap();
            access_key_id
        };
        let access_keys = [
            None,
            Some(user("ann", &[("all", &all)])),
            Some(user("eve", &[])),
        ];
        Self {
            engine,
            access_keys,
        }
    }

    fn call<O: Perform>(&self, author: usize, input: O) -> Result<O::Output, KmsError> {
        let caller = match &self.access_keys[author] {
            None => Caller::owner(&home(REGION, ACCOUNT), "promise"),
            Some(id) => self.engine.credential(id, None)?.unwrap().caller,
        };
        let request = self.engine.by_caller(caller, REGION, input).unwrap();
        self.engine.call(request)
    }

    fn put(&self, author: usize, key: &str, policy: &str, is_meant: bool) -> Result<(), KmsError> {
        let request = PutKeyPolicyRequest {
            key_id: key.to_owned(),
            policy: policy.to_owned(),
            bypass_policy_lockout_safety_check: Some(is_meant),
            ..PutKeyPolicyRequest::default()
        };
        self.call(author, request).map(drop)
    }

    /// A key that everybody may put a policy to.
    fn key(&self) -> String {
        let request = CreateKeyRequest {
            policy: Some(open()),
            ..CreateKeyRequest::default()
        };
        call(&self.engine, request).unwrap().key_metadata.key_id
    }

    /// Lets eve do everything by a policy of her own, or takes that away.
    fn let_eve(&self, is_let: bool) {
        let request = PutUserPolicyRequest {
            user_name: "eve".to_owned(),
            policy_name: "all".to_owned(),
            policy_document: is_let.then(|| everything().to_string()),
        };
        call(&self.engine, request).unwrap();
    }

    /// Puts a policy, and holds what comes of it against what its author may afterwards. Whether it was
    /// refused.
    fn locks_out(&self, author: usize, policy: &str) -> bool {
        let key = self.key();
        let comes_back = |author: usize| self.put(author, &key, &open(), false);
        let Err(error) = self.put(author, &key, policy, false) else {
            let is_back = comes_back(author).or_else(|_| comes_back(0));
            // Where the policy leaves it to the account, the account lets whom it likes.
            let is_back = is_back.or_else(|_| {
                self.let_eve(true);
                let is_back = comes_back(author);
                self.let_eve(false);
                is_back
            });
            assert!(is_back.is_ok(), "taken, and no way back: {policy}");
            return false;
        };
        assert_is_lockout(&error, policy);
        let text = || GetKeyPolicyRequest {
            key_id: key.clone(),
            ..GetKeyPolicyRequest::default()
        };
        let before = call(&self.engine, text()).unwrap().policy;
        assert_eq!(before, open(), "a policy that was refused was put");
        self.put(author, &key, policy, true).unwrap();
        let after = comes_back(author).expect_err("refused, and was none");
        assert_eq!(after.code, ErrorCode::AccessDenied, "{policy}");
        true
    }
}

fn assert_is_lockout(error: &KmsError, policy: &str) {
    assert_eq!(
        error.code,
        ErrorCode::MalformedPolicyDocument,
        "{policy}: {error}"
    );
    let told = "The new key policy will not allow you to update the key policy in the future.";
    assert_eq!(error.message.as_deref(), Some(told), "{policy}");
}

/// CreateKey and ReplicateKey hold policies to the same.
fn made_with(account: &Account, policy: &str, is_refused: bool) {
    let create = |is_meant: bool| {
        call(
            &account.engine,
            CreateKeyRequest {
                policy: Some(policy.to_owned()),
                bypass_policy_lockout_safety_check: Some(is_meant),
                ..CreateKeyRequest::default()
            },
        )
    };
    let primary = CreateKeyRequest {
        multi_region: Some(true),
        ..CreateKeyRequest::default()
    };
    let primary = call(&account.engine, primary).unwrap().key_metadata.key_id;
    let replicate = |is_meant: bool| {
        call(
            &account.engine,
            ReplicateKeyRequest {
                key_id: primary.clone(),
                replica_region: "eu-west-1".to_owned(),
                policy: Some(policy.to_owned()),
                bypass_policy_lockout_safety_check: Some(is_meant),
                ..ReplicateKeyRequest::default()
            },
        )
    };
    if is_refused {
        assert_is_lockout(&create(false).unwrap_err(), policy);
        assert_is_lockout(&replicate(false).unwrap_err(), policy);
        create(true).unwrap();
        replicate(true).unwrap();
    } else {
        create(false).unwrap();
        replicate(false).unwrap();
    }
}

#[test]
fn nobody_locks_themselves_out_without_meaning_it() {
    let place = quick_place();
    let account = Account::new(&place.path().join("audit"));
    for (what, statements, expected) in CASES {
        let policy = document(statements);
        let seen = [0, 1, 2].map(|author| account.locks_out(author, &policy));
        assert_eq!(seen, *expected, "{what}: the account, ann, eve");
        made_with(&account, &policy, expected[0]);
    }
    let rounds = campaign(10_000);
    let (mut dice, seed) = Dice::new(0x5ea1_1818);
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..rounds {
        let policy = POLICIES.key(&mut dice).to_string();
        match account.locks_out(dice.below(3) as usize, &policy) {
            true => refused += 1,
            false => taken += 1,
        }
    }
    assert!(refused > rounds / 20 && taken > rounds / 20);
    promise(
        "18",
        format!(
            "{} policies by 3 authors and 3 operations as they should be; of {rounds} random ones (seed \
             {seed}) {refused} refused, each of which would have locked its author out, {taken} taken, 0 of \
             them without a way back",
            CASES.len()
        ),
    );
}
