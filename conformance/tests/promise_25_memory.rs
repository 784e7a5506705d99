//! Promise 25: what was used is gone from memory. Known secrets go through a server: plaintexts,
//! data keys, imported material, shared secrets, the passphrase. A second after the answers, the memory
//! of the process is searched for them. And a process that is killed by a fault leaves no core file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;
use waxseal_conformance::{Dice, Served, World, campaign, promise, rights};
use waxseal_core::crypto::rsa::{RsaPadding, RsaPublicKey};

/// Bytes of a secret that are looked for at once, and the bytes that must follow for it to count.
const PART: usize = 8;

/// Known secrets, in the forms that a server has them in: as they are, and in base64.
#[derive(Default)]
struct Planted {
    /// By the first bytes of a form: what follows, and what it is.
    forms: HashMap<[u8; PART], Vec<(Vec<u8>, &'static str)>>,
    /// Which 16 bits any form begins with.
    starts: Vec<bool>,
    count: usize,
}

impl Planted {
    fn add(&mut self, kind: &'static str, secret: &[u8]) {
        assert!(secret.len() >= 16);
        self.count += 1;
        self.starts.resize(1 << 16, false);
        let middle = secret.len() / 2;
        let mut forms = vec![secret[..16].to_vec(), secret[secret.len() - 16..].to_vec()];
        forms.push(secret[middle - 8..middle + 8].to_vec());
        for skip in 0..3 {
            let whole = &secret[skip..][..(secret.len() - skip) / 3 * 3];
            forms.push(STANDARD.encode(whole).into_bytes()[..16].to_vec());
        }
        for form in forms {
            let (first, rest) = form.split_at(PART);
            self.starts[usize::from(u16::from_le_bytes([first[0], first[1]]))] = true;
            let all = self.forms.entry(first.try_into().unwrap()).or_default();
            all.push((rest.to_vec(), kind));
        }
    }

    fn count_in(&self, bytes: &[u8], found: &mut BTreeMap<&'static str, usize>) {
        for (at, start) in bytes.windows(PART).enumerate() {
            if !self.starts[usize::from(u16::from_le_bytes([start[0], start[1]]))] {
                continue;
            }
            let start: [u8; PART] = start.try_into().unwrap();
            for (rest, kind) in self.forms.get(&start).into_iter().flatten() {
                if bytes[at + PART..].starts_with(rest) {
                    *found.entry(kind).or_default() += 1;
                }
            }
        }
    }

    /// How often each kind is in the memory of a process, and how much of that was read.
    fn in_memory_of(&self, process: u32) -> (BTreeMap<&'static str, usize>, usize) {
        let mut maps = String::new();
        let path = format!("/proc/{process}/maps");
        File::open(path).unwrap().read_to_string(&mut maps).unwrap();
        let memory = File::open(format!("/proc/{process}/mem")).unwrap();
        let (mut found, mut read) = (BTreeMap::new(), 0);
        for line in maps.lines() {
            let mut words = line.split_ascii_whitespace();
            let (range, rights) = (words.next().unwrap(), words.next().unwrap());
            // What is writable: text and read-only data hold no secrets.
            if !rights.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let address = |text| u64::from_str_radix(text, 16).unwrap();
            let (start, end) = (address(start), address(end));
            let mut at = start;
            while at < end {
                let mut piece = vec![0; (end - at).min(1 << 20) as usize];
                // A hole, or memory that went away.
                let Ok(len) = memory.read_at(&mut piece, at) else {
                    break;
                };
                self.count_in(&piece[..len], &mut found);
                read += len;
                if len < 32 {
                    break;
                }
                // Something may lie across two pieces.
                at += (len - 31).max(1) as u64;
                if len < 1 << 20 {
                    break;
                }
            }
        }
        (found, read)
    }
}

#[test]
fn what_was_used_is_gone_from_memory() {
    if !rights::is_root() {
        eprintln!("NOT TESTED: only root may look into a process that conceals itself");
        return;
    }
    let (mut dice, seed) = Dice::new(0x25_ca_4a);
    let mut planted = Planted::default();
    let world = World::new();
    let passphrase = format!("correct horse {:016x}{:016x}", dice.roll(), dice.roll());
    planted.add("the passphrase", passphrase.as_bytes());
    let file = world.write("passphrase", &passphrase);
    let world = world.with("WAXSEAL_PASSPHRASE_FILE", &file);
    let mut command = world.command_behind(
        &["sh", "-c", "ulimit -c unlimited; exec \"$0\" \"$@\""],
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--dev",
            "--data",
            "data",
        ],
    );
    command.env("TMPDIR", world.path("tmp"));
    let mut server = Served::of(command, &world);
    let key = server.done("CreateKey", &json!({}));
    let key = key["KeyMetadata"]["KeyId"].clone();

    // Whoever is there holds a thread of the server: what follows goes to another one, whose stack then
    // stays as the last of these requests left it.
    let holder = TcpStream::connect(&server.address).unwrap();
    for _ in 0..campaign(330) {
        let plaintext = dice.bytes(32);
        planted.add("a plaintext that was encrypted", &plaintext);
        let sealed = server.done(
            "Encrypt",
            &json!({ "KeyId": key, "Plaintext": STANDARD.encode(&plaintext) }),
        );
        let moved = server.done(
            "ReEncrypt",
            &json!({ "CiphertextBlob": sealed["CiphertextBlob"], "DestinationKeyId": key }),
        );
        server.done(
            "Decrypt",
            &json!({ "CiphertextBlob": moved["CiphertextBlob"] }),
        );
        handed(
            &mut planted,
            "random bytes",
            &server.done("GenerateRandom", &json!({ "NumberOfBytes": 64 })),
            "Plaintext",
        );
        handed(
            &mut planted,
            "a data key",
            &server.done(
                "GenerateDataKey",
                &json!({ "KeyId": key, "KeySpec": "AES_256" }),
            ),
            "Plaintext",
        );
    }
    drop(holder);
    for _ in 0..campaign(10) {
        let pair = json!({ "KeyId": key, "KeyPairSpec": "ECC_NIST_P256" });
        let made = server.done("GenerateDataKeyPair", &pair);
        let private = STANDARD
            .decode(made["PrivateKeyPlaintext"].as_str().unwrap())
            .unwrap();
        planted.add("a private key that was handed out", &private[36..68]);
    }
    let imported: Vec<(Value, Vec<u8>)> = (0..campaign(10))
        .map(|_| import(&server, &mut dice))
        .collect();
    for (_, material) in &imported {
        planted.add("imported material", material);
    }
    // Somebody who keeps a connection, and says nothing more.
    let mut kept = Planted::default();
    let secret = dice.bytes(32);
    kept.add("a plaintext of a connection that is kept", &secret);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let body = json!({ "KeyId": key, "Plaintext": STANDARD.encode(&secret) }).to_string();
    ask(&mut stream, "Encrypt", &body);

    // It can be found while it is there: the key is used, and its material is in memory.
    let (found, _) = planted.in_memory_of(server.id());
    assert!(
        found.contains_key("imported material"),
        "the search finds nothing: {found:?}"
    );
    std::thread::sleep(Duration::from_secs(1));
    let (mut found, read) = planted.in_memory_of(server.id());
    found.remove("imported material");
    assert!(found.is_empty(), "seed {seed}, after a second: {found:?}");
    let (still, _) = kept.in_memory_of(server.id());
    let still: usize = still.values().sum();
    drop(stream);
    std::thread::sleep(Duration::from_secs(1));
    let (left, _) = kept.in_memory_of(server.id());
    assert!(left.is_empty(), "after the end of the connection: {left:?}");

    // Material goes with its deletion, and with the key's being disabled, at the next request.
    for (at, (key, _)) in imported.iter().enumerate() {
        match at % 2 {
            0 => server.done("DeleteImportedKeyMaterial", &json!({ "KeyId": key })),
            _ => server.done("DisableKey", &json!({ "KeyId": key })),
        };
    }
    server.done("ListKeys", &json!({}));
    std::thread::sleep(Duration::from_secs(1));
    let (found, _) = planted.in_memory_of(server.id());
    assert!(found.is_empty(), "seed {seed}, after deletion: {found:?}");

    let ended = server.end_by("SEGV");
    assert_eq!(ended.signal(), Some(11));
    assert!(!ended.core_dumped(), "it left a core file");
    let cores = world.files().into_iter().filter(|(path, _)| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("core")
    });
    assert_eq!(cores.count(), 0);
    promise(
        "25",
        format!(
            "{} secrets, {} MiB of memory searched: 0 found 1 s after the answer, {} in the buffer of a \
             connection that is kept, 0 after deletion; no core file after SIGSEGV",
            planted.count,
            read >> 20,
            still
        ),
    );
}

fn handed(planted: &mut Planted, kind: &'static str, answer: &Value, member: &str) {
    let secret = STANDARD.decode(answer[member].as_str().unwrap()).unwrap();
    planted.add(kind, &secret);
}

/// A key with material of our own, which was used.
fn import(server: &Served, dice: &mut Dice) -> (Value, Vec<u8>) {
    let made = server.done("CreateKey", &json!({ "Origin": "EXTERNAL" }));
    let key = made["KeyMetadata"]["KeyId"].clone();
    let parameters = server.done(
        "GetParametersForImport",
        &json!({ "KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_256",
                 "WrappingKeySpec": "RSA_2048" }),
    );
    let public = STANDARD
        .decode(parameters["PublicKey"].as_str().unwrap())
        .unwrap();
    let material = dice.bytes(32);
    let wrapped = wrapped(&public, &material);
    server.done(
        "ImportKeyMaterial",
        &json!({ "KeyId": key, "ImportToken": parameters["ImportToken"],
                 "EncryptedKeyMaterial": STANDARD.encode(wrapped),
                 "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE" }),
    );
    server.done("Encrypt", &json!({ "KeyId": key, "Plaintext": "YQ==" }));
    (key, material)
}

fn ask(stream: &mut TcpStream, operation: &str, body: &str) {
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: TrentService.{operation}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
}

/// Material under a wrapping key of the server.
fn wrapped(public: &[u8], material: &[u8]) -> Vec<u8> {
    let public = RsaPublicKey::from_spki(public).unwrap();
    public.encrypt(RsaPadding::OaepSha256, material).unwrap()
}
