//! A deletion that was a mistake: it waits for seven days at least, whoever looks sees it, who used the key
//! last is told, and until the last second it can be taken back. Then everything is as it was: what the
//! key sealed, its policy, grants, aliases, tags, rotations, material.
//!
//! Keys of each kind, in a store on a disk and by a clock that is set; the engine ends and begins again in
//! the meantime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use time::Duration;
use waxseal_conformance::engines::{Hands, home, parts};
use waxseal_conformance::world::quick_place;
use waxseal_conformance::{Dice, World, promise, tier};
use waxseal_kms::Engine;
use waxseal_kms::audit::{self, AuditLog};
use waxseal_kms::caller::Caller;
use waxseal_kms::clock::{Clock as _, timestamp};
use waxseal_kms::engine::Parts;
use waxseal_kms::store::SqliteStore;

const DAY: Duration = Duration::DAY;

/// A KMS that is asked as a server asks it: by name and JSON.
struct Kms {
    place: tempfile::TempDir,
    clock: Arc<Hands>,
    engine: Engine,
}

fn engine(place: &Path, clock: Arc<Hands>) -> Engine {
    let store = SqliteStore::open(&place.join("store.db")).unwrap();
    let log = AuditLog::open(&place.join("audit")).unwrap();
    Engine::new(Parts {
        clock,
        ..parts(store, log)
    })
    .unwrap()
}

impl Kms {
    fn new() -> Self {
        let place = quick_place();
        let clock = Arc::new(Hands::default());
        let engine = engine(place.path(), clock.clone());
        Self {
            place,
            clock,
            engine,
        }
    }

    /// Ends, and begins again.
    fn restart(&mut self) {
        self.engine = engine(self.place.path(), self.clock.clone());
    }

    fn ask(&self, operation: &str, body: &Value) -> Result<Value, String> {
        let caller = Caller::owner(&home("local", "000000000000"), "promise");
        let body = body.to_string().into_bytes();
        let answer = self
            .engine
            .answer(caller, "local", operation, &body)
            .unwrap();
        match answer.result {
            Ok(body) => Ok(serde_json::from_slice(body.expose()).unwrap()),
            Err(error) => Err(error.code.name().to_owned()),
        }
    }

    #[track_caller]
    fn done(&self, operation: &str, body: &Value) -> Value {
        let answer = self.ask(operation, body);
        answer.unwrap_or_else(|error| panic!("{operation}: {error}"))
    }

    /// Time passes, and what comes due is done every hour.
    fn pass(&self, time: Duration) {
        let mut left = time;
        while left.is_positive() {
            let step = left.min(Duration::HOUR);
            self.clock.pass(step);
            self.engine.tend().unwrap();
            left -= step;
        }
    }
}

/// What a key is made of, and how what it made is used again.
struct Kind {
    name: &'static str,
    create: Value,
    /// Makes something.
    make: (&'static str, Value),
    /// Which member of the answer is given to which operation under which name.
    reuse: (&'static str, &'static str, &'static str, Value),
}

fn kinds() -> Vec<Kind> {
    let message = json!("bWVzc2FnZQ==");
    let mac = json!({ "Message": message, "MacAlgorithm": "HMAC_SHA_256" });
    let sign = json!({ "Message": message, "SigningAlgorithm": "ECDSA_SHA_256" });
    let kem = json!({ "EncapsulationAlgorithm": "ML_KEM" });
    vec![
        Kind {
            name: "symmetric",
            create: json!({ "Description": "a key", "Tags": [{ "TagKey": "a", "TagValue": "b" }] }),
            make: ("Encrypt", json!({ "Plaintext": message })),
            reuse: ("Decrypt", "CiphertextBlob", "CiphertextBlob", json!({})),
        },
        Kind {
            name: "multi-Region",
            create: json!({ "MultiRegion": true }),
            make: ("Encrypt", json!({ "Plaintext": message })),
            reuse: ("Decrypt", "CiphertextBlob", "CiphertextBlob", json!({})),
        },
        Kind {
            name: "MAC",
            create: json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" }),
            make: ("GenerateMac", mac.clone()),
            reuse: ("VerifyMac", "Mac", "Mac", mac),
        },
        Kind {
            name: "pair",
            create: json!({ "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY" }),
            make: ("Sign", sign.clone()),
            reuse: ("Verify", "Signature", "Signature", sign),
        },
        Kind {
            name: "encapsulation",
            create: json!({ "KeySpec": "ML_KEM_768", "KeyUsage": "ENCAPSULATE_DECAPSULATE" }),
            make: ("Encapsulate", kem.clone()),
            reuse: (
                "Decapsulate",
                "SharedSecretCiphertextBlob",
                "SharedSecretCiphertextBlob",
                kem,
            ),
        },
    ]
}

/// A key with all that belongs to one.
struct Key {
    kind: Kind,
    id: String,
    /// What was made with it, oldest first, and what it comes to.
    made: Vec<(Value, Value)>,
    /// The last use.
    used: (&'static str, f64),
}

/// Whatever can be asked about a key.
const LOOKS: [&str; 8] = [
    "DescribeKey",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "ListAliases",
    "ListGrants",
    "ListKeyRotations",
    "ListResourceTags",
    "GetKeyLastUsage",
];

impl Key {
    fn new(kms: &Kms, kind: Kind) -> Self {
        let made = kms.done("CreateKey", &kind.create);
        let id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        let mut key = Self {
            kind,
            id,
            made: Vec::new(),
            used: ("", 0.0),
        };
        kms.done(
            "CreateAlias",
            &key.with(
                json!({ "AliasName": format!("alias/{}", &key.id[..8]) }),
                "TargetKeyId",
            ),
        );
        let operation = key.kind.make.0;
        let grant = json!({ "GranteePrincipal": "arn:aws:iam::111122223333:root", "Operations": [operation] });
        kms.done("CreateGrant", &key.on(grant));
        let policy = json!({ "Version": "2012-10-17", "Id": "own", "Statement": {
            "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*" } });
        kms.done(
            "PutKeyPolicy",
            &key.on(json!({ "Policy": policy.to_string() })),
        );
        key.make(kms);
        if key.kind.make.0 == "Encrypt" {
            kms.done(
                "EnableKeyRotation",
                &key.on(json!({ "RotationPeriodInDays": 365 })),
            );
            kms.done("RotateKeyOnDemand", &key.on(json!({})));
            key.make(kms);
        }
        key
    }

    /// A body that names the key.
    fn on(&self, body: Value) -> Value {
        self.with(body, "KeyId")
    }

    fn with(&self, mut body: Value, name: &str) -> Value {
        body[name] = json!(self.id);
        body
    }

    /// Makes something with it, and uses that.
    fn make(&mut self, kms: &Kms) {
        let (operation, body) = &self.kind.make;
        let made = kms.done(operation, &self.on(body.clone()));
        let (_, from, to, body) = &self.kind.reuse;
        let mut body = body.clone();
        body[*to] = made[*from].clone();
        let body = self.on(body);
        kms.pass(Duration::seconds(1));
        let used = kms.done(self.kind.reuse.0, &body);
        self.used = (self.kind.reuse.0, timestamp(kms.clock.now()).0);
        self.made.push((body, used));
    }

    /// What it is: everything that it sealed opens to what it was, and all that can be seen of it.
    fn seen(&self, kms: &Kms) -> Vec<Value> {
        let looks = LOOKS.map(|look| kms.ask(look, &self.on(json!({}))));
        let looks = looks.into_iter().map(|look| json!(look));
        let public = kms.ask("GetPublicKey", &self.on(json!({})));
        looks.chain([json!(public)]).collect()
    }

    fn assert_all_opens(&self, kms: &Kms) {
        for (body, used) in &self.made {
            assert_eq!(
                kms.done(self.kind.reuse.0, body),
                *used,
                "{}",
                self.kind.name
            );
        }
    }

    fn state(&self, kms: &Kms) -> Result<String, String> {
        let told = kms.ask("DescribeKey", &self.on(json!({})))?;
        Ok(told["KeyMetadata"]["KeyState"].as_str().unwrap().to_owned())
    }

    /// Asks for its deletion, and sees to it that this is seen.
    fn schedule(&self, kms: &Kms, days: i64) {
        for wrong in [-1, 0, 6, 31, 365] {
            let refused = kms.ask(
                "ScheduleKeyDeletion",
                &self.on(json!({ "PendingWindowInDays": wrong })),
            );
            assert_eq!(
                refused,
                Err("ValidationException".to_owned()),
                "{wrong} days"
            );
        }
        let used = kms.done("GetKeyLastUsage", &self.on(json!({})));
        assert_eq!(used["KeyLastUsage"]["Operation"], self.used.0, "{used}");
        assert_eq!(used["KeyLastUsage"]["Timestamp"], self.used.1, "{used}");
        let due = timestamp(kms.clock.now() + DAY * days as i32).0;
        let told = kms.done(
            "ScheduleKeyDeletion",
            &self.on(json!({ "PendingWindowInDays": days })),
        );
        let seen = &kms.done("DescribeKey", &self.on(json!({})))["KeyMetadata"];
        for told in [&told, seen] {
            assert_eq!(told["KeyState"], "PendingDeletion");
            assert_eq!(told["DeletionDate"], due, "{told}");
        }
        let listed = kms.done("ListKeys", &json!({}));
        assert!(listed.to_string().contains(&self.id));
    }

    /// While it waits it does nothing, and each try stands in the log, where an alarm may look.
    fn assert_waits(&self, kms: &Kms) {
        assert_eq!(self.state(kms).as_deref(), Ok("PendingDeletion"));
        let (operation, body) = &self.kind.make;
        let refused = kms.ask(operation, &self.on(body.clone()));
        assert_eq!(refused, Err("KMSInvalidStateException".to_owned()));
        let (body, _) = &self.made[0];
        let refused = kms.ask(self.kind.reuse.0, body);
        assert_eq!(refused, Err("KMSInvalidStateException".to_owned()));
    }

    fn assert_is_gone(&self, kms: &Kms) {
        assert_eq!(self.state(kms), Err("NotFoundException".to_owned()));
        for (body, _) in &self.made {
            assert!(kms.ask(self.kind.reuse.0, body).is_err());
        }
        let listed = kms.done("ListKeys", &json!({})).to_string();
        let aliases = kms.done("ListAliases", &json!({})).to_string();
        assert!(!listed.contains(&self.id) && !aliases.contains(&self.id));
    }
}

/// The records of an operation on a key, and their errors.
fn recorded(kms: &Kms, operation: &str, id: &str) -> Vec<Option<String>> {
    let records = audit::records(&kms.place.path().join("audit"));
    let events = records.map(|record| record.unwrap().event().unwrap());
    events
        .filter(|event| {
            event["eventName"] == operation && event["resources"].to_string().contains(id)
        })
        .map(|event| event["errorCode"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_deletion_can_be_taken_back_until_its_last_second() {
    let (mut dice, seed) = Dice::new(0x5ea1_2121);
    let mut kms = Kms::new();
    let (mut cancelled, mut deleted) = (0, 0);
    for _ in 0..tier(4, 40) {
        for kind in kinds() {
            let mut key = Key::new(&kms, kind);
            let windows = [7, 30, 7 + dice.below(24) as i64];
            for days in windows {
                let before = key.seen(&kms);
                key.schedule(&kms, days);
                let whole = DAY * days as i32;
                let waited = match dice.below(3) {
                    0 => Duration::ZERO,
                    1 => Duration::seconds(dice.below(whole.whole_seconds() as u64) as i64),
                    _ => whole - Duration::seconds(1),
                };
                kms.pass(waited / 2);
                kms.restart();
                key.assert_waits(&kms);
                kms.pass(waited - waited / 2);
                key.assert_waits(&kms);
                kms.done("CancelKeyDeletion", &key.on(json!({})));
                assert_eq!(key.state(&kms).as_deref(), Ok("Disabled"));
                // Long after its day.
                kms.pass(whole);
                kms.done("EnableKey", &key.on(json!({})));
                assert_eq!(key.seen(&kms), before, "{}", key.kind.name);
                key.assert_all_opens(&kms);
                key.make(&kms);
                cancelled += 1;
            }
            let tried = recorded(&kms, key.kind.make.0, &key.id);
            let alarms = tried
                .iter()
                .flatten()
                .filter(|code| *code == "KMSInvalidStateException");
            assert_eq!(
                alarms.count(),
                2 * windows.len(),
                "tries that stand in the log"
            );
            assert!(recorded(&kms, "ScheduleKeyDeletion", &key.id).contains(&None));
            key.schedule(&kms, windows[2]);
            kms.pass(DAY * windows[2] as i32 - Duration::seconds(1));
            key.assert_waits(&kms);
            kms.restart();
            kms.pass(Duration::seconds(1));
            key.assert_is_gone(&kms);
            let refused = kms.ask("CancelKeyDeletion", &key.on(json!({})));
            assert_eq!(refused, Err("NotFoundException".to_owned()));
            assert!(!recorded(&kms, "DeleteKey", &key.id).is_empty());
            deleted += 1;
        }
    }
    audit::verify(&kms.place.path().join("audit")).unwrap();
    the_command_says_who_used_it_last();
    promise(
        "21",
        format!(
            "{cancelled} deletions of {} kinds of keys after 7 to 30 days (seed {seed}), taken back at any \
             moment up to the last second: everything as before; {deleted} not taken back: 0 early, gone then",
            kinds().len()
        ),
    );
}

fn the_command_says_who_used_it_last() {
    let world = World::new();
    let sealed = world.ok(&["encrypt"], b"text");
    for days in ["0", "6", "31"] {
        world
            .run(
                &["key", "delete", "alias/default", "--yes", "--days", days],
                b"",
            )
            .exits(2);
    }
    let ran = world.run(
        &["key", "delete", "alias/default", "--yes", "--days", "7"],
        b"",
    );
    let ran = ran.exits(0);
    let told = format!("{}{}", ran.stderr, ran.text());
    for words in [
        "was used last",
        "GenerateDataKey",
        "root",
        "will be deleted on 20",
        "cancel-deletion",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    world.ok(&["key", "cancel-deletion", "alias/default"], b"");
    world.ok(&["key", "enable", "alias/default"], b"");
    assert_eq!(world.ok(&["decrypt"], &sealed), b"text");
}
