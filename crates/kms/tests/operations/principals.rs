//! Users, roles and sessions: whom a credential stands for, and what they may.

use crate::support::{World, home, refused, secret};
use waxseal_core::arn::Home;
use waxseal_kms::caller::Caller;
use waxseal_kms::op::Perform;
use waxseal_kms_api::iam::*;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Blob;
use waxseal_kms_api::sts::*;
use waxseal_kms_api::{ErrorCode, KmsError};

const OWNER: &str = "000000000000";
const OTHER: &str = "111122223333";

fn policy(effect: &str, actions: &[&str], resource: &str) -> String {
    let statement = serde_json::json!({
        "Effect": effect, "Action": actions, "Resource": resource,
    });
    serde_json::json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

fn trust(principal: &str, condition: serde_json::Value) -> String {
    let statement = serde_json::json!({
        "Effect": "Allow", "Principal": { "AWS": principal }, "Action": "sts:AssumeRole",
        "Condition": condition,
    });
    serde_json::json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

fn text(secret: &waxseal_kms_api::shape::SecretBlob) -> String {
    String::from_utf8(secret.0.expose().to_vec()).unwrap()
}

impl World {
    pub(crate) fn user(&self, account: &str, name: &str) -> AccessKey {
        let user_name = name.to_owned();
        self.call_from(&home("local", account), CreateUserRequest { user_name })
            .unwrap()
    }

    fn put(&self, name: &str, policy: Option<&str>) {
        self.call(PutUserPolicyRequest {
            user_name: name.to_owned(),
            policy_name: "p".to_owned(),
            policy_document: policy.map(str::to_owned),
        })
        .unwrap();
    }

    fn role(&self, name: &str, trust: String) -> String {
        let request = CreateRoleRequest {
            role_name: name.to_owned(),
            assume_role_policy_document: trust,
            max_session_duration: Some(7_200),
        };
        self.call(request).unwrap().arn
    }

    fn caller(&self, id: &str, token: Option<&str>) -> Option<Caller> {
        let credential = self.engine.credential(id, token).unwrap();
        credential.map(|credential| credential.caller)
    }

    fn call_as<O: Perform>(&self, caller: &Caller, input: O) -> Result<O::Output, KmsError> {
        let request = self.engine.by_caller(caller.clone(), "local", input);
        self.engine.call(request.unwrap())
    }

    fn encrypt_as(&self, caller: &Caller, key: &str) -> Result<Blob, KmsError> {
        let request = EncryptRequest {
            key_id: key.to_owned(),
            plaintext: secret(b"plaintext"),
            ..EncryptRequest::default()
        };
        Ok(self.call_as(caller, request)?.ciphertext_blob)
    }

    fn assume(&self, caller: &Caller, role: &str) -> Result<AssumeRoleResponse, KmsError> {
        self.call_as(caller, assume(role))
    }
}

fn assume(role: &str) -> AssumeRoleRequest {
    AssumeRoleRequest {
        role_arn: role.to_owned(),
        role_session_name: "job".to_owned(),
        ..AssumeRoleRequest::default()
    }
}

/// API reference, CreateKey and ReplicateKey: tags need TagResource, for keys that are not there yet.
#[test]
fn new_keys_are_tagged_by_whom_may_tag_any_key() {
    let world = World::new();
    let made = world.user(OWNER, "ann");
    let key = world.symmetric();
    let arn = world.describe(&key).unwrap().arn;
    let create = |tags: &[&str]| {
        let ann = world.caller(&made.access_key_id, None).unwrap();
        let tag = |name: &&str| Tag {
            tag_key: (*name).to_owned(),
            tag_value: "x".to_owned(),
        };
        let create = CreateKeyRequest {
            tags: tags.iter().map(tag).collect(),
            ..CreateKeyRequest::default()
        };
        world.call_as(&ann, create)
    };
    let allow = |tag: serde_json::Value| {
        let create = serde_json::json!({
            "Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*",
        });
        let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": [create, tag] });
        world.put("ann", Some(&policy.to_string()));
    };
    let tag = |resource: &str| {
        serde_json::json!({
            "Effect": "Allow", "Action": "kms:TagResource", "Resource": resource,
            "Condition": { "ForAllValues:StringEquals": { "aws:TagKeys": "team" } },
        })
    };
    allow(tag(&arn));
    create(&[]).unwrap();
    assert_eq!(refused(create(&["team"])).0, ErrorCode::AccessDenied);
    allow(tag(&format!("arn:aws:kms:*:{OWNER}:key/*")));
    create(&["team"]).unwrap();
    assert_eq!(refused(create(&["team", "x"])).0, ErrorCode::AccessDenied);
}

/// API reference, UpdateAlias: the alias, the key that has it and the key that gets it.
#[test]
fn an_alias_is_moved_by_whom_both_keys_let() {
    let world = World::new();
    let keys = [world.symmetric(), world.symmetric()];
    let target_key_id = keys[0].clone();
    let alias_name = "alias/a".to_owned();
    let alias = CreateAliasRequest {
        alias_name,
        target_key_id,
    };
    world.call(alias).unwrap();
    let made = world.user(OWNER, "ann");
    let update = || {
        let ann = world.caller(&made.access_key_id, None).unwrap();
        let update = UpdateAliasRequest {
            alias_name: "alias/a".to_owned(),
            target_key_id: keys[1].clone(),
        };
        world.call_as(&ann, update)
    };
    let of_alias = format!("arn:aws:kms:local:{OWNER}:alias/a");
    let arns = keys.each_ref().map(|key| world.describe(key).unwrap().arn);
    let allow = |resources: &[&str]| {
        let statement = serde_json::json!({
            "Effect": "Allow", "Action": "kms:UpdateAlias", "Resource": resources,
        });
        let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": [statement] });
        world.put("ann", Some(&policy.to_string()));
    };
    for some in [
        &[&*of_alias, &*arns[0]][..],
        &[&*of_alias, &*arns[1]],
        &[&*arns[0], &*arns[1]],
    ] {
        allow(some);
        assert_eq!(refused(update()).0, ErrorCode::AccessDenied, "{some:?}");
    }
    allow(&[&of_alias, &arns[0], &arns[1]]);
    update().unwrap();
}

#[test]
fn users_may_what_their_policies_say_from_the_next_request_on() {
    let world = World::new();
    let key = world.symmetric();
    let arn = world.describe(&key).unwrap().arn;
    let made = world.user(OWNER, "ann");
    assert_eq!(made.secret_access_key.0.len(), 40);
    let ann = || world.caller(&made.access_key_id, None).unwrap();
    let (code, message) = refused(world.encrypt_as(&ann(), &key));
    assert_eq!(code, ErrorCode::AccessDenied);
    let who = format!("arn:aws:iam::{OWNER}:user/ann");
    assert_eq!(
        message,
        format!(
            "User: {who} is not authorized to perform: kms:Encrypt on resource: {arn} because no \
             identity-based policy allows the kms:Encrypt action"
        )
    );
    world.put("ann", Some(&policy("Allow", &["kms:Encrypt"], &arn)));
    let blob = world.encrypt_as(&ann(), &key).unwrap();
    let decrypt = || DecryptRequest {
        ciphertext_blob: Some(blob.clone()),
        ..DecryptRequest::default()
    };
    assert_eq!(
        refused(world.call_as(&ann(), decrypt())).0,
        ErrorCode::AccessDenied
    );
    world.put("ann", Some(&policy("Allow", &["kms:*"], "*")));
    assert!(world.call_as(&ann(), decrypt()).is_ok());
    world.put("ann", Some(&policy("Deny", &["kms:Decrypt"], "*")));
    let (_, message) = refused(world.call_as(&ann(), decrypt()));
    assert!(
        message.ends_with("with an explicit deny in an identity-based policy"),
        "{message}"
    );
    world.put("ann", None);
    assert_eq!(
        refused(world.encrypt_as(&ann(), &key)).0,
        ErrorCode::AccessDenied
    );

    let user_name = || "ann".to_owned();
    world
        .call(DisableUserRequest {
            user_name: user_name(),
        })
        .unwrap();
    assert!(world.caller(&made.access_key_id, None).is_none());
    world
        .call(EnableUserRequest {
            user_name: user_name(),
        })
        .unwrap();
    let rotate = |keep_others| CreateAccessKeyRequest {
        user_name: user_name(),
        keep_others,
    };
    let second = world.call(rotate(true)).unwrap();
    assert!(world.caller(&made.access_key_id, None).is_some());
    assert_eq!(
        refused(world.call(rotate(true))).0,
        ErrorCode::LimitExceeded
    );
    let third = world.call(rotate(false)).unwrap();
    for gone in [&made, &second] {
        assert!(world.caller(&gone.access_key_id, None).is_none());
    }
    assert!(world.caller(&third.access_key_id, None).is_some());
    world
        .call(DeleteUserRequest {
            user_name: user_name(),
        })
        .unwrap();
    assert!(world.caller(&third.access_key_id, None).is_none());
    let log = world.log();
    assert!(log.contains(r#""type":"IAMUser""#) && log.contains("iam.amazonaws.com"));
    for made in [made, second, third] {
        assert!(!log.contains(&text(&made.secret_access_key)));
    }
}

#[test]
fn a_user_of_another_account_needs_both_sides() {
    let world = World::new();
    let key = world.symmetric();
    let arn = world.describe(&key).unwrap().arn;
    let made = world.user(OTHER, "bob");
    let bob = || world.caller(&made.access_key_id, None).unwrap();
    let elsewhere = home("local", OTHER);
    let put = |document: Option<String>| {
        let request = PutUserPolicyRequest {
            user_name: "bob".to_owned(),
            policy_name: "p".to_owned(),
            policy_document: document,
        };
        world.call_from(&elsewhere, request).unwrap();
    };
    put(Some(policy("Allow", &["kms:*"], "*")));
    assert_eq!(
        refused(world.encrypt_as(&bob(), &arn)).0,
        ErrorCode::AccessDenied
    );
    let both = format!(
        r#"{{"Version":"2012-10-17","Statement":[
        {{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{OWNER}:root"}},"Action":"kms:*","Resource":"*"}},
        {{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{OTHER}:user/bob"}},"Action":"kms:Encrypt","Resource":"*"}}]}}"#
    );
    let request = PutKeyPolicyRequest {
        key_id: key,
        policy: both,
        ..PutKeyPolicyRequest::default()
    };
    world.call(request).unwrap();
    assert!(world.encrypt_as(&bob(), &arn).is_ok());
    put(None);
    assert_eq!(
        refused(world.encrypt_as(&bob(), &arn)).0,
        ErrorCode::AccessDenied
    );
}

#[test]
fn aliases_are_resources_of_their_own() {
    let world = World::new();
    let key = world.symmetric();
    let made = world.user(OWNER, "ann");
    let ann = || world.caller(&made.access_key_id, None).unwrap();
    let create = |name: &str| CreateAliasRequest {
        alias_name: name.to_owned(),
        target_key_id: key.clone(),
    };
    let statement = |resource: &str| serde_json::json!({ "Effect": "Allow", "Action": "kms:CreateAlias", "Resource": resource });
    let key_arn = world.describe(&key).unwrap().arn;
    let alias_arn = format!("arn:aws:kms:local:{OWNER}:alias/team-*");
    let document = serde_json::json!({
        "Version": "2012-10-17", "Statement": [statement(&key_arn), statement(&alias_arn)],
    });
    world.put("ann", Some(&document.to_string()));
    assert!(world.call_as(&ann(), create("alias/team-a")).is_ok());
    let (code, message) = refused(world.call_as(&ann(), create("alias/other")));
    assert_eq!(code, ErrorCode::AccessDenied);
    assert!(
        message.contains(":alias/other because no identity-based"),
        "{message}"
    );
}

#[test]
fn sessions_are_their_role_as_long_as_they_last() {
    let world = World::new();
    let key = world.symmetric();
    let made = world.user(OWNER, "ann");
    let ann = || world.caller(&made.access_key_id, None).unwrap();
    let role = world.role("app", trust(ann().arn(), serde_json::json!({})));
    let put = |effect| PutRolePolicyRequest {
        role_name: "app".to_owned(),
        policy_name: "p".to_owned(),
        policy_document: Some(policy(effect, &["kms:*"], "*")),
    };
    world.call(put("Allow")).unwrap();
    let begun = world.assume(&ann(), &role).unwrap();
    assert_eq!(
        begun.arn,
        format!("arn:aws:sts::{OWNER}:assumed-role/app/job")
    );
    let token = text(&begun.session_token);
    let session = || world.caller(&begun.access_key_id, Some(&token));
    let blob = world.encrypt_as(&session().unwrap(), &key);
    assert!(blob.is_ok());
    // What its role may not any more, it may not at its next request.
    world.call(put("Deny")).unwrap();
    assert_eq!(
        refused(world.encrypt_as(&session().unwrap(), &key)).0,
        ErrorCode::AccessDenied
    );
    world.call(put("Allow")).unwrap();
    assert!(world.encrypt_as(&session().unwrap(), &key).is_ok());
    let identity = world.call_as(&session().unwrap(), GetCallerIdentityRequest {});
    assert_eq!(identity.unwrap().user_id, begun.assumed_role_id);
    // A token is for its access key id, and for nothing when it was altered.
    assert!(world.caller(&made.access_key_id, Some(&token)).is_none());
    assert!(world.caller("ASIAABCDEFGHIJKLMNOP", Some(&token)).is_none());
    for at in [0, 30, token.len() - 3] {
        let mut bad = token.clone().into_bytes();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bad).unwrap();
        assert!(world.caller(&begun.access_key_id, Some(&bad)).is_none());
    }
    // It has no access key of its own.
    assert!(world.caller(&begun.access_key_id, None).is_none());

    let narrow = AssumeRoleRequest {
        policy: Some(policy("Allow", &["kms:Decrypt"], "*")),
        duration_seconds: Some(900),
        ..assume(&role)
    };
    let narrow = world.call_as(&ann(), narrow).unwrap();
    let narrowed = world.caller(&narrow.access_key_id, Some(&text(&narrow.session_token)));
    let (_, message) = refused(world.encrypt_as(&narrowed.unwrap(), &key));
    assert!(
        message.ends_with("because no session policy allows the kms:Encrypt action"),
        "{message}"
    );

    let too_long = AssumeRoleRequest {
        duration_seconds: Some(7_201),
        ..assume(&role)
    };
    assert_eq!(
        refused(world.call_as(&ann(), too_long)).0,
        ErrorCode::Validation
    );
    *world.clock.0.lock().unwrap() += time::Duration::seconds(3_599);
    assert!(session().is_some());
    *world.clock.0.lock().unwrap() += time::Duration::seconds(1);
    let over = world.engine.credential(&begun.access_key_id, Some(&token));
    assert_eq!(over.unwrap_err().code, ErrorCode::ExpiredToken);

    // A role that was removed ends its sessions, and one of the same name is another.
    let begun = world.assume(&ann(), &role).unwrap();
    let token = text(&begun.session_token);
    assert!(world.caller(&begun.access_key_id, Some(&token)).is_some());
    let role_name = "app".to_owned();
    world.call(DeleteRoleRequest { role_name }).unwrap();
    assert!(world.caller(&begun.access_key_id, Some(&token)).is_none());
    world.role("app", trust(OWNER, serde_json::json!({})));
    assert!(world.caller(&begun.access_key_id, Some(&token)).is_none());
    let log = world.log();
    assert!(log.contains(r#""type":"AssumedRole""#) && log.contains("sts.amazonaws.com"));
    assert!(!log.contains(&token) && !log.contains(&text(&begun.secret_access_key)));
}

#[test]
fn roles_are_assumed_by_those_they_trust() {
    let world = World::new();
    let ann = world.user(OWNER, "ann");
    let ann = || world.caller(&ann.access_key_id, None).unwrap();
    let bob = world.user(OTHER, "bob");
    let bob = || world.caller(&bob.access_key_id, None).unwrap();
    let absent = format!("arn:aws:iam::{OWNER}:role/absent");
    let (code, message) = refused(world.assume(&ann(), &absent));
    assert_eq!(code, ErrorCode::AccessDenied);
    assert!(
        message.contains("sts:AssumeRole on resource: arn:aws:iam::"),
        "{message}"
    );
    assert_eq!(
        refused(world.assume(&ann(), "arn:aws:iam")).0,
        ErrorCode::Validation
    );

    // The account is trusted: its own policies say who.
    let by_account = world.role("by-account", trust(OWNER, serde_json::json!({})));
    assert_eq!(
        refused(world.assume(&ann(), &by_account)).0,
        ErrorCode::AccessDenied
    );
    world.put(
        "ann",
        Some(&policy("Allow", &["sts:AssumeRole"], &by_account)),
    );
    assert!(world.assume(&ann(), &by_account).is_ok());
    assert_eq!(
        refused(world.assume(&bob(), &by_account)).0,
        ErrorCode::AccessDenied
    );
    let root = Caller::owner(&home("local", OWNER), "test");
    let (_, message) = refused(world.assume(&root, &by_account));
    assert_eq!(message, "Roles may not be assumed by root accounts.");

    // Another account's user needs leave at home too, and the external id.
    let condition = serde_json::json!({ "StringEquals": { "sts:ExternalId": "e-1" } });
    let theirs = world.role("theirs", trust(bob().arn(), condition));
    let with_id = || AssumeRoleRequest {
        external_id: Some("e-1".to_owned()),
        ..assume(&theirs)
    };
    assert_eq!(
        refused(world.call_as(&bob(), with_id())).0,
        ErrorCode::AccessDenied
    );
    let elsewhere: Home = home("local", OTHER);
    let request = PutUserPolicyRequest {
        user_name: "bob".to_owned(),
        policy_name: "p".to_owned(),
        policy_document: Some(policy("Allow", &["sts:AssumeRole"], "*")),
    };
    world.call_from(&elsewhere, request).unwrap();
    assert!(world.call_as(&bob(), with_id()).is_ok());
    assert_eq!(
        refused(world.assume(&bob(), &theirs)).0,
        ErrorCode::AccessDenied
    );
    // A session begins another one for an hour at most.
    let begun = world.call_as(&bob(), with_id()).unwrap();
    let session = world.caller(&begun.access_key_id, Some(&text(&begun.session_token)));
    let chained = AssumeRoleRequest {
        duration_seconds: Some(3_601),
        ..assume(&by_account)
    };
    let put = PutRolePolicyRequest {
        role_name: "theirs".to_owned(),
        policy_name: "p".to_owned(),
        policy_document: Some(policy("Allow", &["sts:AssumeRole"], "*")),
    };
    world.call(put).unwrap();
    assert!(session.is_some());
    let session = world
        .caller(&begun.access_key_id, Some(&text(&begun.session_token)))
        .unwrap();
    assert_eq!(
        refused(world.call_as(&session, chained)).0,
        ErrorCode::Validation
    );
    assert!(world.assume(&session, &by_account).is_ok());
}

#[test]
fn policies_that_are_none_are_refused() {
    let world = World::new();
    world.user(OWNER, "ann");
    let twice = world.call(CreateUserRequest {
        user_name: "ann".to_owned(),
    });
    assert_eq!(refused(twice).0, ErrorCode::AlreadyExists);
    let absent = world.call(DisableUserRequest {
        user_name: "zoe".to_owned(),
    });
    assert_eq!(refused(absent).0, ErrorCode::NotFound);
    let slash = world.call(CreateUserRequest {
        user_name: "a/b".to_owned(),
    });
    assert_eq!(refused(slash).0, ErrorCode::Validation);
    for wrong in ["", "{}", &trust(OWNER, serde_json::json!({}))] {
        let put = PutUserPolicyRequest {
            user_name: "ann".to_owned(),
            policy_name: "p".to_owned(),
            policy_document: Some(wrong.to_owned()),
        };
        let (code, _) = refused(world.call(put));
        assert!(matches!(
            code,
            ErrorCode::Validation | ErrorCode::MalformedPolicyDocument
        ));
    }
    for wrong in [policy("Allow", &["sts:AssumeRole"], "*"), "{}".to_owned()] {
        let create = CreateRoleRequest {
            role_name: "r".to_owned(),
            assume_role_policy_document: wrong,
            max_session_duration: None,
        };
        assert_eq!(
            refused(world.call(create)).0,
            ErrorCode::MalformedPolicyDocument
        );
    }
}
