//! A server whose configuration is wrong does not start: it ends with exit 78, says which file is wrong and
//! which line or field, and listens nowhere. Nothing takes the place of what is missing: no other address,
//! no plain HTTP, no new root key.
//!
//! What is wrong on the command line alone ends with exit 2, as everywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use waxseal_conformance::refusal::assert_told;
use waxseal_conformance::{Ran, World, promise};

/// Files that are wrong by themselves, and what has to be said of them.
#[rustfmt::skip]
const FILES: &[(&str, &[&str])] = &[
    // Fields that there are not, or twice.
    ("listen = \"127.0.0.1:0\"\ncolour = \"red\"\n", &["line 2", "colour"]),
    ("\n\nlistne = \"127.0.0.1:0\"\n", &["line 3", "listne"]),
    ("Listen = \"127.0.0.1:0\"\n", &["line 1", "Listen"]),
    ("tls_cert = \"a.pem\"\n", &["line 1", "tls_cert"]),
    ("accept-rollback = true\n", &["line 1", "accept-rollback"]),
    ("[server]\nlisten = \"127.0.0.1:0\"\n", &["line 1", "server"]),
    ("listen.port = 8470\n", &["line 1"]),
    ("dev = true\ndev = true\n", &["line 2", "duplicate"]),
    // No TOML.
    ("listen = \n", &["line 1"]),
    ("listen = \"127.0.0.1:0\n", &["line 1"]),
    ("listen: 127.0.0.1:0\n", &["line 1"]),
    ("dev = true\n{\"listen\": 1}\n", &["line 2"]),
    ("dev = true\nregion = 'eu-west-1\"\n", &["line 2"]),
    ("\u{0}\n", &["line 1"]),
    // Values of another kind.
    ("listen = 8470\n", &["line 1"]),
    ("listen = \"localhost\"\n", &["line 1"]),
    ("listen = \"127.0.0.1\"\n", &["line 1"]),
    ("listen = \"127.0.0.1:99999\"\n", &["line 1"]),
    ("data = 1\n", &["line 1"]),
    ("tls-cert = true\n", &["line 1"]),
    ("tls-key = []\n", &["line 1"]),
    ("attestation-root = {}\n", &["line 1"]),
    ("root-lease = \"an hour\"\n", &["line 1"]),
    ("root-lease = -1\n", &["line 1"]),
    ("root-lease = 1.5\n", &["line 1"]),
    ("hsm-cluster = \"cluster-2a23b4cdefg\"\n", &["line 1"]),
    ("hsm-trust-anchor = [1]\n", &["line 1"]),
    ("checkpoint-file = 1\n", &["line 1"]),
    ("allow-swap = \"yes\"\n", &["line 1"]),
    ("ship-to = [\"s3://b\"]\n", &["line 1"]),
    ("ship-to = \"s3://b\"\nretain = -1\n", &["line 2"]),
    ("ship-to = \"s3://b\"\nretain = 4294967296\n", &["line 2"]),
    ("dev = \"yes\"\n", &["line 1"]),
    ("dev = 1\n", &["line 1"]),
    ("dev = true\nseed = 1\n", &["line 2"]),
    ("dev = true\nregion = 1\n", &["line 2"]),
    ("dev = true\naccount = 111122223333\n", &["line 2"]),
    // Values that cannot be, alone or with others.
    ("root-lease = 0\n", &["root-lease"]),
    ("root-lease = 86401\n", &["root-lease"]),
    ("tls-cert = \"tls.pem\"\n", &["tls-cert", "tls-key"]),
    ("tls-key = \"tls.key\"\n", &["tls-cert", "tls-key"]),
    ("retain = 30\n", &["retain", "ship-to"]),
    ("ship-to = \"https://bucket\"\n", &["ship-to", "https://bucket"]),
    ("ship-to = \"s3://\"\n", &["ship-to"]),
    ("ship-to = \"s3://bucket/a b\"\n", &["ship-to", "a b"]),
    ("seed = \"seed.yaml\"\n", &["seed", "dev"]),
    ("region = \"eu-west-1\"\n", &["region", "dev"]),
    ("account = \"111122223333\"\n", &["account", "dev"]),
    ("dev = true\nregion = \"Nowhere!\"\n", &["region", "Nowhere!"]),
    ("dev = true\naccount = \"12\"\n", &["account", "'12'"]),
    ("dev = true\ntls-cert = \"tls.pem\"\ntls-key = \"tls.key\"\n", &["dev", "certificate"]),
    // Plain HTTP where others could read it.
    ("listen = \"0.0.0.0:0\"\n", &["listen", "0.0.0.0", "loopback"]),
    ("listen = \"[::]:0\"\n", &["listen", "[::]", "loopback"]),
    ("listen = \"192.0.2.1:8470\"\n", &["listen", "192.0.2.1", "loopback"]),
    ("listen = \"0.0.0.0:0\"\ndev = true\n", &["listen", "loopback"]),
    // Files that are named there.
    ("tls-cert = \"nonsense\"\ntls-key = \"tls.key\"\n", &["nonsense", "PEM"]),
    ("tls-cert = \"tls.pem\"\ntls-key = \"nonsense\"\n", &["nonsense", "PEM"]),
    ("tls-cert = \"tls.pem\"\ntls-key = \"other.key\"\n", &["other.key", "does not fit"]),
    ("tls-cert = \"tls.pem\"\ntls-key = \"open.key\"\n", &["open.key", "mode 0644"]),
    ("attestation-root = \"nonsense\"\n", &["nonsense"]),
    ("hsm-cluster = [\"nonsense\"]\n", &["hsm-cluster", "nonsense"]),
    ("hsm-cluster = [\"cluster-2a23b4cdefg=nonsense\"]\n", &["cluster-2a23b4cdefg"]),
    ("hsm-trust-anchor = [\"cluster-2a23b4cdefg=tls.pem\"]\n", &["cluster-2a23b4cdefg", "no device"]),
    ("dev = true\nseed = \"nonsense\"\n", &["nonsense"]),
    ("dev = true\nseed = \"seed.yaml\"\n", &["seed.yaml", "colour"]),
];

/// Runs the server, which must not start; `words` are said.
#[track_caller]
fn refused(world: &World, args: &[&str], words: &[&str]) {
    // One that starts would go on for ever.
    let command = world.command_behind(&["timeout", "30"], args);
    let ran = Ran::of(command, b"").exits(78);
    assert_told(&ran);
    assert_eq!(ran.stdout, b"", "it listens: {}", ran.line);
    for word in words {
        assert!(
            ran.stderr.contains(word),
            "{word} is not said: {}",
            ran.stderr
        );
    }
}

fn chmod(world: &World, name: &str, mode: u32) {
    fs::set_permissions(world.path(name), Permissions::from_mode(mode)).unwrap();
}

/// A certificate of its own for each name, as `openssl` makes them.
fn certificate(world: &World, name: &str) {
    let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-days", "2", "-subj", "/CN=localhost", "-keyout"])
        .args([world.path(&key), "-out".into(), world.path(&pem)])
        .output()
        .unwrap();
    assert!(made.status.success());
    chmod(world, &key, 0o600);
}

#[test]
fn a_server_that_is_configured_wrongly_does_not_start() {
    let world = World::new();
    certificate(&world, "tls");
    certificate(&world, "other");
    world.write("open.key", world.read("tls.key"));
    chmod(&world, "open.key", 0o644);
    world.write("nonsense", "nonsense");
    world.write("seed.yaml", "keys: []\ncolour: red\n");
    let serve = ["serve", "--config", "server.toml"];
    for (text, words) in FILES {
        world.write("server.toml", text);
        refused(&world, &serve, words);
    }
    let mut count = FILES.len();
    // What is only looked at is judged alike.
    for (text, _) in FILES.iter().filter(|(_, words)| words.contains(&"line 1")) {
        world.write("server.toml", text);
        refused(
            &world,
            &["config", "show", "--config", "server.toml"],
            &["server.toml"],
        );
    }
    assert!(!world.home().exists(), "nothing was made");

    // The file itself.
    for (bytes, words) in [
        (&b"\nlisten = \"\xff\"\n"[..], &["server.toml, line 2"][..]),
        (&[b' '; 70_000], &["server.toml", "too long"]),
    ] {
        world.write("server.toml", bytes);
        refused(&world, &serve, words);
        count += 1;
    }
    world.write("server.toml", "listen = \"127.0.0.1:0\"\n");
    for mode in [0o666, 0o620, 0o602] {
        chmod(&world, "server.toml", mode);
        refused(
            &world,
            &serve,
            &["server.toml", &format!("mode 0{mode:o}"), "others"],
        );
        count += 1;
    }
    chmod(&world, "server.toml", 0o600);
    count += without_root(&world, &serve);
    promise(
        "34",
        format!(
            "{count} wrong configurations, by unknown fields, kinds, values, weak modes, plain HTTP off \
             loopback, missing and foreign roots: each ends with exit 78, names file and line or field, and \
             listens nowhere"
        ),
    );
}

/// Roots that are missing, wrong, or no secret any more, and the owner's access key.
fn without_root(world: &World, serve: &[&str]) -> usize {
    world.ok(&["key", "create"], b"");
    let root = world.read("home/root.key");
    let mut count = 0;
    let mut case = |what: &dyn Fn(), words: &[&str]| {
        what();
        refused(world, serve, words);
        count += 1;
    };
    let write = |name: &str, bytes: &[u8]| drop(world.write(name, bytes));
    case(
        &|| chmod(world, "home/root.key", 0o644),
        &["root.key", "0644"],
    );
    case(
        &|| chmod(world, "home/root.key", 0o660),
        &["root.key", "0660"],
    );
    case(&|| write("home/root.key", &[7; 32]), &["root key"]);
    case(&|| write("home/root.key", &root[..31]), &["root.key"]);
    case(&|| write("home/root.key", b""), &["root.key"]);
    case(
        &|| fs::remove_file(world.path("home/root.key")).unwrap(),
        &["root.key"],
    );
    assert!(
        !world.path("home/root.key").exists(),
        "a new root for an old store"
    );
    write("home/root.key", &root);
    case(
        &|| write("home/access-key", b"[default]\n"),
        &["access-key"],
    );
    case(
        &|| write("home/access-key", b"aws_access_key_id = x\n"),
        &["access-key"],
    );
    fs::remove_file(world.path("home/access-key")).unwrap();
    for (name, words) in [
        ("rot13", &["rot13"][..]),
        ("shares:3", &["shares:3"]),
        ("pkcs11:nonsense", &["nonsense"]),
        ("aws-kms:///alias/root", &["alias/root"]),
    ] {
        let command = {
            let mut command = world.command_behind(&["timeout", "30"], serve);
            command.env("WAXSEAL_ROOT", name);
            command
        };
        let ran = Ran::of(command, b"").exits(78);
        assert_told(&ran);
        assert!(
            words.iter().all(|word| ran.stderr.contains(word)),
            "{}",
            ran.stderr
        );
        count += 1;
    }
    count
}
