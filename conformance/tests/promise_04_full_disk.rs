//! The disk of store and log is full, again and again: everything is refused with the reason, but what
//! takes rights away is done; when there is space everything goes on by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use waxseal_conformance::disk::{Disk, alone};
use waxseal_conformance::server::Answer;
use waxseal_conformance::{Client, Server, World, promise, tier};

#[test]
fn a_full_disk_lets_nothing_be_done_but_take_rights_away() {
    if !alone("a_full_disk_lets_nothing_be_done_but_take_rights_away") {
        return;
    }
    let cycles = tier(20, 200);
    let world = World::new();
    // Each cycle fills the room of the log.
    let disk = Disk::new(&world.path("disk"), 24 + 3 * cycles as u64);
    let data = world.path("disk/home");
    let server = Server::start(&world, &data);
    let mut client = server.client();
    let mut refused = 0;
    for cycle in 0..cycles {
        let keys: Vec<String> = (0..3).map(|_| created(&mut client)).collect();
        let grants: Vec<String> = (0..2).map(|_| granted(&mut client, &keys[2])).collect();
        let blob = done(&mut client, "Encrypt", encrypt(&keys[0]));
        let blob = blob["CiphertextBlob"].as_str().unwrap().to_owned();
        disk.fill();
        // Room that was made ahead is used up first: by records that are long.
        let mut long = encrypt(&keys[1]);
        long["EncryptionContext"] = json!({ "long": "x".repeat(30_000) });
        let (why, health) = loop {
            used_up(&mut client, &long);
            let why = used_up(&mut client, &encrypt(&keys[1]));
            let health = client.get("/healthz").unwrap();
            // A journal gives blocks back a little later: then there is room again.
            if health.status == 503 {
                break (why, health);
            }
        };
        assert!(
            why.contains("no space") || why.contains("full"),
            "cycle {cycle}: {why}"
        );
        assert!(health.text("/reason").contains("full"), "{health:?}");
        // The last of them was not recorded, so the one after is not either.
        let disable = json!({ "KeyId": keys[0] });
        done(&mut client, "DisableKey", disable);
        let revoke = json!({ "KeyId": keys[2], "GrantId": grants[0] });
        done(&mut client, "RevokeGrant", revoke);
        let retire = json!({ "KeyId": keys[2], "GrantId": grants[1] });
        done(&mut client, "RetireGrant", retire);
        let delete = json!({ "KeyId": keys[1], "PendingWindowInDays": 7 });
        done(&mut client, "ScheduleKeyDeletion", delete);
        for (operation, input) in [
            ("CreateKey", json!({})),
            ("EnableKey", json!({ "KeyId": keys[0] })),
            ("Encrypt", encrypt(&keys[2])),
            ("Decrypt", json!({ "CiphertextBlob": blob })),
            ("ListKeys", json!({})),
            ("NoSuchOperation", json!({})),
        ] {
            let answer = client.call(operation, &input).unwrap();
            assert_eq!(answer.status, 500, "cycle {cycle}: {operation}: {answer:?}");
            assert!(told(&answer).contains("full"), "{answer:?}");
            refused += 1;
        }
        disk.empty();
        recovers(&mut client, &keys[2]);
        // What was taken away stays so.
        let answer = client
            .call("Decrypt", &json!({ "CiphertextBlob": blob }))
            .unwrap();
        assert_eq!(answer.body["__type"], "DisabledException", "{answer:?}");
        let left = done(&mut client, "ListGrants", json!({ "KeyId": keys[2] }));
        assert_eq!(left["Grants"].as_array().unwrap().len(), 0);
        let told = done(&mut client, "DescribeKey", json!({ "KeyId": keys[1] }));
        assert_eq!(told["KeyMetadata"]["KeyState"], "PendingDeletion");
    }
    server.kill();
    waxseal_kms::audit::verify(&data.join("audit")).unwrap();

    // Without a server: even the store cannot be opened without room.
    let world = world.with("WAXSEAL_HOME", &data);
    let key = world
        .run(&["key", "create", "--json"], b"")
        .exits(0)
        .json_lines();
    let key = key[0]["keyId"].as_str().unwrap();
    disk.fill();
    // What may not use the reserve finds none, and leaves it to what may.
    world.run(&["encrypt", "-k", key], b"text").exits(74);
    world.run(&["key", "disable", key], b"").exits(0);
    world.run(&["encrypt", "-k", key], b"text").exits(74);
    world.run(&["key", "enable", key], b"").exits(74);
    disk.empty();
    world.run(&["encrypt", "-k", key], b"text").exits(5);
    world.run(&["key", "enable", key], b"").exits(0);
    world.run(&["encrypt", "-k", key], b"text").exits(0);
    world.ok(&["audit", "verify"], b"");
    promise(
        "04",
        format!(
            "{cycles} times full: {refused} requests refused with the reason, {} that take rights away \
             done, everything again once there was space; the same without a server",
            4 * cycles
        ),
    );
}

/// Asks until that is refused, and why.
fn used_up(client: &mut Client, input: &Value) -> String {
    loop {
        let answer = client.call("Encrypt", input).unwrap();
        if !answer.is_done() {
            return told(&answer);
        }
    }
}

fn encrypt(key: &str) -> Value {
    json!({ "KeyId": key, "Plaintext": "c2VjcmV0" })
}

fn told(answer: &Answer) -> String {
    answer.body.to_string()
}

#[track_caller]
fn done(client: &mut Client, operation: &str, input: Value) -> Value {
    let answer = client.call(operation, &input).unwrap();
    assert!(answer.is_done(), "{operation} {input}: {answer:?}");
    answer.body
}

fn created(client: &mut Client) -> String {
    let made = done(client, "CreateKey", json!({}));
    made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

fn granted(client: &mut Client, key: &str) -> String {
    let input = json!({
        "KeyId": key,
        "GranteePrincipal": "arn:aws:iam::000000000000:user/ann",
        "RetiringPrincipal": "arn:aws:iam::000000000000:user/bea",
        "Operations": ["Decrypt"],
    });
    let made = done(client, "CreateGrant", input);
    made["GrantId"].as_str().unwrap().to_owned()
}

fn recovers(client: &mut Client, key: &str) {
    let begin = Instant::now();
    loop {
        let answer = client.call("Encrypt", &encrypt(key)).unwrap();
        if answer.is_done() {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{answer:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let health = client.get("/healthz").unwrap();
    assert_eq!(health.body["status"], "ok", "{health:?}");
}
