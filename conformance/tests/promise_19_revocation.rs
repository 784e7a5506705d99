//! What was revoked is revoked: three engines on one store and one log, as three processes would have
//! them. One takes a right away, the others use the key all the time; a use that begins after the
//! answer is refused, on each of them.
//!
//! 3,000 revocations; ten times as many with `WAXSEAL_LONG=1`.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use waxseal_conformance::engines::{call, home, parts};
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{campaign, promise};
use waxseal_core::SecretBytes;
use waxseal_kms::Engine;
use waxseal_kms::audit::AuditLog;
use waxseal_kms::engine::Parts;
use waxseal_kms::op::Perform;
use waxseal_kms::seed::SeedUser;
use waxseal_kms::store::SqliteStore;
use waxseal_kms_api::iam::{
    CreateRoleRequest, DisableUserRequest, EnableUserRequest, PutRolePolicyRequest,
    PutUserPolicyRequest,
};
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;
use waxseal_kms_api::sts::AssumeRoleRequest;

const REGION: &str = "eu-west-1";
const ACCOUNT: &str = "000000000000";
const ACCESS_KEY: &str = "AKIAANNANNANNANNANNA";
const ANN: &str = "arn:aws:iam::000000000000:user/ann";

fn engine(directory: &Path) -> Engine {
    let store = SqliteStore::open(&directory.join("store.db")).unwrap();
    let log = AuditLog::open(&directory.join("audit")).unwrap();
    Engine::new(Parts {
        home: home(REGION, ACCOUNT),
        ..parts(store, log)
    })
    .unwrap()
}

fn owner<O: Perform>(engine: &Engine, input: O) -> O::Output {
    call(engine, input).unwrap()
}

/// Ways to take away what ann may do, and to give it back.
#[derive(Debug, Clone, Copy)]
enum Way {
    Disable,
    Policy,
    Grant,
    Retire,
    Deletion,
    User,
    /// Of a user.
    Identity,
    /// Of a role, which is used in a session.
    Role,
}

const WAYS: [Way; 8] = [
    Way::Disable,
    Way::Policy,
    Way::Grant,
    Way::Retire,
    Way::Deletion,
    Way::User,
    // Last: from then on ann may decrypt with every key.
    Way::Role,
    Way::Identity,
];

fn key_policy(more: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"kms:*","Resource":"*",
        "Principal":{{"AWS":"arn:aws:iam::{ACCOUNT}:root"}}}}{more}]}}"#
    )
}

/// A key that ann may use, and how to end that.
struct Race {
    way: Way,
    key: String,
    blob: Blob,
    grant: std::sync::Mutex<CreateGrantResponse>,
    /// Access key id and token, where a session uses the key.
    session: Option<(String, String)>,
}

/// A session of a role that ann may be.
fn session(engine: &Engine) -> (String, String) {
    let trust = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole",
        "Principal":{{"AWS":"{ANN}"}}}}]}}"#
    );
    let role = CreateRoleRequest {
        role_name: "app".to_owned(),
        assume_role_policy_document: trust,
        max_session_duration: None,
    };
    let assume = AssumeRoleRequest {
        role_arn: owner(engine, role).arn,
        role_session_name: "job".to_owned(),
        ..AssumeRoleRequest::default()
    };
    let ann = engine.credential(ACCESS_KEY, None).unwrap().unwrap();
    let assume = engine.by_caller(ann.caller, REGION, assume).unwrap();
    let begun = engine.call(assume).unwrap();
    let token = begun.session_token.0.expose().to_vec();
    (begun.access_key_id, String::from_utf8(token).unwrap())
}

impl Race {
    fn new(engine: &Engine, way: Way) -> Self {
        let key = owner(engine, CreateKeyRequest::default())
            .key_metadata
            .key_id;
        let sealed = owner(
            engine,
            EncryptRequest {
                key_id: key.clone(),
                plaintext: waxseal_kms_api::shape::SecretBlob(SecretBytes::copy_of(b"x")),
                ..EncryptRequest::default()
            },
        );
        let race = Self {
            way,
            key,
            blob: sealed.ciphertext_blob,
            grant: std::sync::Mutex::default(),
            session: matches!(way, Way::Role).then(|| session(engine)),
        };
        // Each way is the only one by which ann may use its key.
        race.restore(engine);
        if matches!(way, Way::Disable | Way::Deletion | Way::User) {
            race.put_policy(engine, true);
        }
        race
    }

    fn put_policy(&self, engine: &Engine, lets_ann: bool) {
        let ann = format!(
            r#",{{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Principal":{{"AWS":"{ANN}"}}}}"#
        );
        owner(
            engine,
            PutKeyPolicyRequest {
                key_id: self.key.clone(),
                policy: key_policy(if lets_ann { &ann } else { "" }),
                ..PutKeyPolicyRequest::default()
            },
        );
    }

    /// The policy of the user or the role, or none.
    fn put_identity(&self, engine: &Engine, lets: bool) {
        let policy_document = lets.then(|| {
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}}"#
                .to_owned()
        });
        let policy_name = "decrypt".to_owned();
        match self.way {
            Way::Role => drop(owner(
                engine,
                PutRolePolicyRequest {
                    role_name: "app".to_owned(),
                    policy_name,
                    policy_document,
                },
            )),
            _ => drop(owner(
                engine,
                PutUserPolicyRequest {
                    user_name: "ann".to_owned(),
                    policy_name,
                    policy_document,
                },
            )),
        }
    }

    fn revoke(&self, engine: &Engine) {
        let key_id = self.key.clone();
        match self.way {
            Way::Disable => drop(owner(engine, DisableKeyRequest { key_id })),
            Way::Policy => self.put_policy(engine, false),
            Way::Grant => {
                let grant_id = self.grant.lock().unwrap().grant_id.clone();
                let revoke = RevokeGrantRequest {
                    key_id,
                    grant_id,
                    ..RevokeGrantRequest::default()
                };
                owner(engine, revoke);
            }
            Way::Retire => {
                let token = self.grant.lock().unwrap().grant_token.clone();
                let retire = RetireGrantRequest {
                    grant_token: Some(token),
                    ..RetireGrantRequest::default()
                };
                owner(engine, retire);
            }
            Way::Deletion => {
                let schedule = ScheduleKeyDeletionRequest {
                    key_id,
                    pending_window_in_days: Some(7),
                };
                owner(engine, schedule);
            }
            Way::User => {
                let user_name = "ann".to_owned();
                owner(engine, DisableUserRequest { user_name });
            }
            Way::Identity | Way::Role => self.put_identity(engine, false),
        }
    }

    fn restore(&self, engine: &Engine) {
        let key_id = self.key.clone();
        match self.way {
            Way::Disable => drop(owner(engine, EnableKeyRequest { key_id })),
            Way::Policy => self.put_policy(engine, true),
            Way::Grant | Way::Retire => {
                let grant = CreateGrantRequest {
                    key_id,
                    grantee_principal: Some(ANN.to_owned()),
                    operations: vec!["Decrypt".to_owned()],
                    ..CreateGrantRequest::default()
                };
                *self.grant.lock().unwrap() = owner(engine, grant);
            }
            Way::Deletion => {
                let metadata = owner(
                    engine,
                    DescribeKeyRequest {
                        key_id: key_id.clone(),
                        ..DescribeKeyRequest::default()
                    },
                );
                if metadata.key_metadata.key_state == "PendingDeletion" {
                    let cancel = CancelKeyDeletionRequest {
                        key_id: key_id.clone(),
                    };
                    owner(engine, cancel);
                    owner(engine, EnableKeyRequest { key_id });
                }
            }
            Way::User => {
                let user_name = "ann".to_owned();
                owner(engine, EnableUserRequest { user_name });
            }
            Way::Identity | Way::Role => self.put_identity(engine, true),
        }
    }

    /// As a server does it: who signed is looked up, and then asks.
    fn is_used_by_ann(&self, engine: &Engine) -> bool {
        let known = match &self.session {
            Some((id, token)) => engine.credential(id, Some(token)),
            None => engine.credential(ACCESS_KEY, None),
        };
        let Some(ann) = known.unwrap() else {
            return false;
        };
        let decrypt = DecryptRequest {
            ciphertext_blob: Some(self.blob.clone()),
            ..DecryptRequest::default()
        };
        let request = engine.by_caller(ann.caller, REGION, decrypt).unwrap();
        engine.call(request).is_ok()
    }
}

/// Revokes and restores `times`, by each engine in turn, while the others use the key. How many uses
/// began after an answer and ended before the right came back, and how many were let through before.
fn raced(engines: &[Engine], way: Way, times: usize) -> (u64, u64) {
    let race = Race::new(&engines[0], way);
    // Odd from the answer of a revocation until just before the right is given back.
    let epoch = AtomicU64::new(0);
    let (refused, let_through) = (AtomicU64::new(0), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for engine in engines {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let before = epoch.load(Ordering::Acquire);
                    let used = race.is_used_by_ann(engine);
                    let after = epoch.load(Ordering::Acquire);
                    if before % 2 == 1 && before == after {
                        assert!(!used, "{way:?}: used after it was revoked");
                        refused.fetch_add(1, Ordering::Release);
                    } else if used {
                        let_through.fetch_add(1, Ordering::Release);
                    }
                }
            });
        }
        for time in 0..times {
            let seen = let_through.load(Ordering::Acquire);
            race.revoke(&engines[time % engines.len()]);
            epoch.fetch_add(1, Ordering::AcqRel);
            let so_far = refused.load(Ordering::Acquire);
            // At least one use tries it.
            while refused.load(Ordering::Acquire) == so_far {
                std::thread::yield_now();
            }
            epoch.fetch_add(1, Ordering::AcqRel);
            race.restore(&engines[(time + 1) % engines.len()]);
            // And at least one may again, now and then, so that what is refused was not so anyway.
            if time % 16 == 0 {
                while let_through.load(Ordering::Acquire) == seen {
                    std::thread::yield_now();
                }
            }
        }
        is_over.store(true, Ordering::Release);
    });
    (refused.into_inner(), let_through.into_inner())
}

#[test]
fn no_use_that_begins_after_a_revocation_was_answered_is_let_through() {
    // The disk's sync is no part of the promise, and takes all the time.
    let place = quick_place();
    let engines: Vec<Engine> = (0..3).map(|_| engine(place.path())).collect();
    let ann = SeedUser {
        name: "ann".to_owned(),
        account: None,
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: "the secret of ann".to_owned(),
        policies: std::collections::BTreeMap::new(),
    };
    owner(&engines[0], ann);
    let times = campaign(3_000) / WAYS.len();
    let (mut refused, mut let_through) = (0, 0);
    for way in WAYS {
        let (no, yes) = raced(&engines, way, times);
        assert!(no >= times as u64 && yes > 0, "{way:?}: {no} {yes}");
        refused += no;
        let_through += yes;
    }
    promise(
        "19",
        format_args!(
            "{} revocations of {} kinds by one of three engines: {refused} uses after the answer, all \
             refused ({let_through} before, let through)",
            times * WAYS.len(),
            WAYS.len()
        ),
    );
}
