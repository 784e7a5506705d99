//! Requests with anything altered.

use crate::access::policy;
use crate::support::{Attack, Keys, PATIENCE, told};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use waxseal_conformance::{Dice, tier};

/// Requests that are right, with some bytes altered, removed, doubled and added.
pub(crate) fn altered(attack: &mut Attack<'_>, keys: &Keys, dice: &mut Dice) {
    let request = |operation: &str, body: Value| {
        let body = body.to_string();
        format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Amz-Target: \
             TrentService.{operation}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let (key, blob) = (&keys.symmetric, STANDARD.encode(&keys.blob));
    let whole = [
        request(
            "Encrypt",
            json!({ "KeyId": key, "Plaintext": "AAAA", "EncryptionContext": { "a": "b" } }),
        ),
        request(
            "Decrypt",
            json!({ "CiphertextBlob": blob, "GrantTokens": ["x"], "DryRun": true }),
        ),
        request(
            "GenerateDataKey",
            json!({ "KeyId": key, "NumberOfBytes": 32 }),
        ),
        request(
            "TagResource",
            json!({ "KeyId": key, "Tags": [{ "TagKey": "a", "TagValue": "b" }] }),
        ),
        request(
            "PutKeyPolicy",
            json!({ "KeyId": keys.mac, "Policy": policy("{}") }),
        ),
    ];
    const EVIL: &[&[u8]] = &[
        b"\0",
        b"\r",
        b"\n",
        b"\r\n",
        b":",
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"\xff",
        b"\xc3",
        b"\\u",
        b"-",
        b"1e9999",
        b"99999999999",
        b"%",
        b" ",
        b",",
    ];
    let one = |dice: &mut Dice| {
        let mut bytes = dice.pick(&whole).clone();
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            let end = bytes.len().min(at + 1 + dice.below(8) as usize);
            match dice.below(5) {
                0 => bytes[at] ^= 1 << dice.below(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again.repeat(1 + dice.below(40) as usize));
                }
                3 => drop(bytes.splice(at..at, dice.pick(EVIL).iter().copied())),
                _ => drop(bytes.splice(at..end, dice.pick(EVIL).iter().copied())),
            }
        }
        bytes
    };
    // Each third is no whole request any more, and is waited for.
    let (threads, each) = (tier(1, 16), tier(3_000, 20_000));
    let server = attack.server;
    let done: Vec<_> = std::thread::scope(|scope| {
        let attackers = (0..threads).map(|_| {
            let (mut dice, one) = (dice.another(), &one);
            scope.spawn(move || {
                let mut attack = Attack::new(server);
                for _ in 0..each {
                    let bytes = one(&mut dice);
                    let answer = server.exchange(&bytes, Some(PATIENCE));
                    attack.bytes("altered", answer, || told("", &bytes));
                }
                attack
            })
        });
        let attackers: Vec<_> = attackers.collect();
        attackers
            .into_iter()
            .map(|one| one.join().unwrap())
            .collect()
    });
    for other in done {
        attack.take(other);
    }
}
