//! Key policies and grants.

use crate::support::{World, home, refused, secret};
use waxseal_core::arn::Home;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;
use waxseal_kms_api::{ErrorCode, KmsError};

const OWNER: &str = "000000000000";

/// A key policy of one's own: the owner may do everything, but for what `more` says.
fn policy(more: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"Owner","Effect":"Allow",
        "Principal":{{"AWS":"arn:aws:iam::{OWNER}:root"}},"Action":"kms:*","Resource":"*"}}{more}]}}"#
    )
}

impl World {
    fn put_policy(&self, key: &str, policy: &str, bypass: bool) -> Result<Empty, KmsError> {
        self.call(PutKeyPolicyRequest {
            key_id: key.to_owned(),
            policy: policy.to_owned(),
            bypass_policy_lockout_safety_check: Some(bypass),
            ..PutKeyPolicyRequest::default()
        })
    }

    fn encrypt_for(&self, key: &str, team: &str) -> Result<Blob, KmsError> {
        let request = EncryptRequest {
            key_id: key.to_owned(),
            plaintext: secret(b"plaintext"),
            encryption_context: [("team".to_owned(), team.to_owned())].into(),
            ..EncryptRequest::default()
        };
        Ok(self.call(request)?.ciphertext_blob)
    }
}

#[test]
fn a_policy_is_given_back_as_it_was_put_and_holds_for_the_next_request() {
    let world = World::new();
    let key = world.symmetric();
    let get = || {
        let request = GetKeyPolicyRequest {
            key_id: key.clone(),
            ..GetKeyPolicyRequest::default()
        };
        world.call(request).unwrap().policy
    };
    assert!(get().contains("key-default-1"));
    let deny = policy(
        r#",{"Sid":"RedOnly","Effect":"Deny","Principal":"*","Action":"kms:Encrypt",
        "Resource":"*","Condition":{"StringNotEquals":{"kms:EncryptionContext:team":"red"}}}"#,
    );
    world.encrypt_for(&key, "blue").unwrap();
    world.put_policy(&key, &deny, false).unwrap();
    assert_eq!(get(), deny);
    world.encrypt_for(&key, "red").unwrap();
    let arn = world.describe(&key).unwrap().arn;
    let (code, message) = refused(world.encrypt_for(&key, "blue"));
    assert_eq!(code, ErrorCode::AccessDenied);
    assert_eq!(
        message,
        format!(
            "User: arn:aws:iam::{OWNER}:root is not authorized to perform: kms:Encrypt on \
             resource: {arn} with an explicit deny in a resource-based policy"
        )
    );
    assert_eq!(refused(world.encrypt(&key)).0, ErrorCode::AccessDenied);
    world.put_policy(&key, &policy(""), false).unwrap();
    world.encrypt(&key).unwrap();
    assert!(world.log().contains("\"AccessDeniedException\""));
}

#[test]
fn policies_that_lock_out_whoever_puts_them_must_be_meant() {
    let world = World::new();
    let key = world.symmetric();
    let nobody = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
        "Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}}"#;
    let (code, message) = refused(world.put_policy(&key, nobody, false));
    assert_eq!(code, ErrorCode::MalformedPolicyDocument);
    assert_eq!(
        message,
        "The new key policy will not allow you to update the key policy in the future."
    );
    let malformed = refused(world.put_policy(&key, "{}", true));
    assert_eq!(malformed.0, ErrorCode::MalformedPolicyDocument);
    let create = |policy: &str, bypass: bool| {
        world.call(CreateKeyRequest {
            policy: Some(policy.to_owned()),
            bypass_policy_lockout_safety_check: Some(bypass),
            ..CreateKeyRequest::default()
        })
    };
    let refusal = refused(create(nobody, false));
    assert_eq!(refusal.0, ErrorCode::MalformedPolicyDocument);
    let made = create(nobody, true).unwrap().key_metadata.key_id;
    let (code, message) = refused(world.encrypt(&made));
    assert_eq!(code, ErrorCode::AccessDenied);
    assert!(
        message.contains("because no resource-based policy allows"),
        "{message}"
    );
    assert_eq!(
        refused(world.put_policy(&made, &policy(""), false)).0,
        ErrorCode::AccessDenied
    );
}

#[test]
fn another_account_needs_the_policy_of_the_key() {
    let world = World::new();
    let key = world.symmetric();
    let arn = world.describe(&key).unwrap().arn;
    let other = home("local", "111122223333");
    let encrypt = || {
        let request = EncryptRequest {
            key_id: arn.clone(),
            plaintext: secret(b"plaintext"),
            ..EncryptRequest::default()
        };
        world.call_from(&other, request)
    };
    assert_eq!(refused(encrypt()).0, ErrorCode::AccessDenied);
    let shared = policy(
        r#",{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Encrypt",
        "Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"111122223333"}}}"#,
    );
    world.put_policy(&key, &shared, false).unwrap();
    let sealed = encrypt().unwrap().ciphertext_blob;
    assert_eq!(world.decrypt(&sealed).unwrap().key_id, arn);
    let decrypt = DecryptRequest {
        ciphertext_blob: Some(sealed),
        ..DecryptRequest::default()
    };
    let refusal = refused(world.call_from(&other, decrypt));
    assert_eq!(refusal.0, ErrorCode::AccessDenied);
}

#[test]
fn races_of_a_refusal_and_a_use_are_won_by_the_refusal() {
    let world = World::new();
    let key = world.symmetric();
    let rounds = if std::env::var_os("WAXSEAL_LONG").is_some() {
        100_000
    } else {
        200
    };
    let deny =
        policy(r#",{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*"}"#);
    for round in 0..rounds {
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let users: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        loop {
                            // Looked at before the use begins.
                            let was_over = is_over.load(std::sync::atomic::Ordering::SeqCst);
                            let used = world.encrypt(&key).is_ok();
                            assert!(!(was_over && used), "used after the answer");
                            if was_over {
                                return;
                            }
                        }
                    })
                })
                .collect();
            if round % 2 == 0 {
                world.put_policy(&key, &deny, false).unwrap();
            } else {
                let key_id = key.clone();
                world.call(DisableKeyRequest { key_id }).unwrap();
            }
            is_over.store(true, std::sync::atomic::Ordering::SeqCst);
            users.into_iter().for_each(|user| user.join().unwrap());
        });
        if round % 2 == 0 {
            world.put_policy(&key, &policy(""), false).unwrap();
        } else {
            let key_id = key.clone();
            world.call(EnableKeyRequest { key_id }).unwrap();
        }
    }
}

#[test]
fn grants_let_others_in_as_far_as_they_say() {
    let world = World::new();
    let key = world.symmetric();
    let arn = world.describe(&key).unwrap().arn;
    let other = home("local", "111122223333");
    let root = "arn:aws:iam::111122223333:root";
    let encrypt = |team: &str| {
        let request = EncryptRequest {
            key_id: arn.clone(),
            plaintext: secret(b"plaintext"),
            encryption_context: [("team".to_owned(), team.to_owned())].into(),
            ..EncryptRequest::default()
        };
        world
            .call_from(&other, request)
            .map(|made| made.ciphertext_blob)
    };
    assert_eq!(refused(encrypt("red")).0, ErrorCode::AccessDenied);
    let request = || CreateGrantRequest {
        key_id: key.clone(),
        grantee_principal: Some(root.to_owned()),
        retiring_principal: Some(root.to_owned()),
        operations: vec!["Encrypt".to_owned(), "RetireGrant".to_owned()],
        name: Some("one".to_owned()),
        constraints: Some(GrantConstraints {
            encryption_context_subset: [("team".to_owned(), "red".to_owned())].into(),
            ..GrantConstraints::default()
        }),
        ..CreateGrantRequest::default()
    };
    let made = world.call(request()).unwrap();
    assert_eq!(world.call(request()).unwrap(), made);
    encrypt("red").unwrap();
    assert_eq!(refused(encrypt("blue")).0, ErrorCode::AccessDenied);
    let decrypt = DecryptRequest {
        ciphertext_blob: Some(encrypt("red").unwrap()),
        encryption_context: [("team".to_owned(), "red".to_owned())].into(),
        ..DecryptRequest::default()
    };
    let refusal = refused(world.call_from(&other, decrypt));
    assert_eq!(refusal.0, ErrorCode::AccessDenied);

    let list = || {
        let request = ListGrantsRequest {
            key_id: key.clone(),
            ..ListGrantsRequest::default()
        };
        world.call(request).unwrap().grants
    };
    let listed = list();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].grant_id, made.grant_id);
    assert_eq!(listed[0].key_id, arn);
    let retirable = || {
        let request = ListRetirableGrantsRequest {
            retiring_principal: Some(root.to_owned()),
            ..ListRetirableGrantsRequest::default()
        };
        world.call(request).unwrap().grants
    };
    assert_eq!(retirable(), listed);
    let retire = |place: &Home| {
        let request = RetireGrantRequest {
            grant_token: Some(made.grant_token.clone()),
            ..RetireGrantRequest::default()
        };
        world.call_from(place, request)
    };
    let stranger = home("local", "444455556666");
    assert_eq!(refused(retire(&stranger)).0, ErrorCode::AccessDenied);
    // The retiring principal names the key by its ARN.
    let by_id = RetireGrantRequest {
        key_id: Some(arn.clone()),
        grant_id: Some(made.grant_id.clone()),
        ..RetireGrantRequest::default()
    };
    let refusal = refused(world.call_from(&stranger, by_id.clone()));
    assert_eq!(refusal.0, ErrorCode::AccessDenied);
    world.call_from(&other, by_id).unwrap();
    assert!(list().is_empty() && retirable().is_empty());
    assert_eq!(refused(encrypt("red")).0, ErrorCode::AccessDenied);

    let made = world.call(request()).unwrap();
    encrypt("red").unwrap();
    let revoke = || RevokeGrantRequest {
        key_id: key.clone(),
        grant_id: made.grant_id.clone(),
        ..RevokeGrantRequest::default()
    };
    world.call(revoke()).unwrap();
    assert_eq!(refused(encrypt("red")).0, ErrorCode::AccessDenied);
    assert_eq!(
        refused(world.call(revoke())),
        (
            ErrorCode::NotFound,
            format!("Grant ID {} not found", made.grant_id)
        )
    );
}

#[test]
fn grants_that_make_no_sense_are_refused() {
    let world = World::new();
    let request = |key: &str, operation: &str| CreateGrantRequest {
        key_id: key.to_owned(),
        grantee_principal: Some("arn:aws:iam::111122223333:root".to_owned()),
        operations: vec![operation.to_owned()],
        ..CreateGrantRequest::default()
    };
    let key = world.symmetric();
    let sign = world.key("ECC_NIST_P256", "SIGN_VERIFY");
    world.call(request(&sign, "Sign")).unwrap();
    for wrong in [
        request(&key, "Sign"),
        request(&sign, "Encrypt"),
        CreateGrantRequest {
            grantee_principal: None,
            ..request(&key, "Encrypt")
        },
        CreateGrantRequest {
            operations: Vec::new(),
            ..request(&key, "Encrypt")
        },
        CreateGrantRequest {
            grantee_service_principal: Some("sns.amazonaws.com".to_owned()),
            ..request(&key, "Encrypt")
        },
    ] {
        assert_eq!(refused(world.call(wrong)).0, ErrorCode::Validation);
    }
    let dry = CreateGrantRequest {
        dry_run: Some(true),
        ..request(&key, "Encrypt")
    };
    assert_eq!(refused(world.call(dry)).0, ErrorCode::DryRun);
    let key_id = key.clone();
    world.call(DisableKeyRequest { key_id }).unwrap();
    let disabled = refused(world.call(request(&key, "Encrypt")));
    assert_eq!(disabled.0, ErrorCode::Disabled);
    let token = RetireGrantRequest {
        grant_token: Some("nonsense".to_owned()),
        ..RetireGrantRequest::default()
    };
    assert_eq!(refused(world.call(token)).0, ErrorCode::InvalidGrantToken);
}
