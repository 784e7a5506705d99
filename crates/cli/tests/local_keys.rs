//! Keys in files: RSA, ECDH and branch keys, through the program.
#![allow(clippy::unwrap_used)] // helpers outside #[test] may fail too

mod support;

use std::process::Command;
use support::Place;

const TEXT: &[u8] = b"My very secret data";

/// A place with key pairs that OpenSSL made; `None`, loudly, where there is no OpenSSL.
fn place(curves: &[&str]) -> Option<Place> {
    let place = Place::new();
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split(' '))
            .current_dir(place.path("."));
        command.output().is_ok_and(|output| output.status.success())
    };
    let mut made = true;
    for (at, curve) in curves.iter().enumerate() {
        made &= openssl(&match *curve {
            "rsa" => format!("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out {at}.pem"),
            curve => {
                format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{curve} -out {at}.pem")
            }
        });
        made &= openssl(&format!("pkey -in {at}.pem -pubout -out {at}.pub"));
    }
    if !made {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "openssl is missing"
        );
        let mut stderr = std::io::stderr();
        std::io::Write::write_all(&mut stderr, b"openssl is missing: local keys NOT tried\n")
            .unwrap();
        return None;
    }
    Some(place)
}

fn seal(place: &Place, key: &str) -> Vec<u8> {
    let sealed = place.run(&["encrypt", "-k", key], TEXT).ok();
    sealed.stdout().to_vec()
}

#[track_caller]
fn opens(place: &Place, key: &str, sealed: &[u8]) {
    assert_eq!(
        place.run(&["decrypt", "-k", key], sealed).ok().stdout(),
        TEXT
    );
}

#[test]
fn rsa_public_seals_and_private_opens() {
    let Some(place) = place(&["rsa", "rsa", "P-256"]) else {
        return;
    };
    // Without a name: both halves have the same fingerprint.
    let sealed = seal(&place, "raw-rsa:0.pub");
    opens(&place, "raw-rsa:0.pem", &sealed);
    opens(&place, "raw-rsa:0.pem?padding=oaep-sha256", &sealed);
    for padding in ["pkcs1", "oaep-sha1", "oaep-sha384", "oaep-sha512"] {
        let query = format!("namespace=ns&name=a%26b&padding={padding}");
        let sealed = seal(&place, &format!("raw-rsa:0.pub?{query}"));
        opens(&place, &format!("raw-rsa:0.pem?{query}"), &sealed);
        place
            .run(
                &["decrypt", "-k", "raw-rsa:0.pem?namespace=ns&name=a%26b"],
                &sealed,
            )
            .exits(3);
        place
            .run(&["decrypt", "-k", "raw-rsa:0.pem"], &sealed)
            .exits(4);
    }
    let both = [place.read("0.pem"), place.read("0.pub")].concat();
    place.write("both.pem", both);
    opens(
        &place,
        "raw-rsa:both.pem",
        &seal(&place, "raw-rsa:both.pem"),
    );
    // Several recipients, each with a key of another kind.
    let many = [
        "encrypt",
        "-k",
        "raw-rsa:0.pub",
        "-k",
        "raw-ecdh:2.pub",
        "-k",
        "raw-aes:key",
    ];
    let sealed = place.run(&many, TEXT).ok().stdout().to_vec();
    for key in ["raw-rsa:0.pem", "raw-ecdh:2.pem", "raw-aes:key"] {
        opens(&place, key, &sealed);
    }

    let refused = |key: &str, code: i32, what: &str| {
        place.run(&["encrypt", "-k", key], TEXT).refused(code, what);
    };
    refused("raw-rsa:0.pem", 78, "no public key to encrypt with");
    refused("raw-rsa:2.pub", 78, "RSA public key was refused");
    refused("raw-rsa:key", 78, "no key in PEM form");
    refused("raw-rsa:missing", 78, "cannot read the key file missing");
    refused("raw-rsa:0.pub?padding=oaep", 2, "no RSA padding");
    refused(
        "raw-rsa:0.pub?nam=x",
        2,
        "is not spelled as a key of its kind is",
    );
    refused("raw-rsa:", 2, "is not spelled as a key of its kind is");
    refused("raw-dsa:x", 2, "'raw-dsa:' is no kind of key");
    place
        .run(&["decrypt", "-k", "raw-rsa:0.pub"], &sealed)
        .exits(78);
    place
        .run(&["decrypt", "-k", "raw-rsa:1.pem"], &sealed)
        .exits(4);
}

#[test]
fn ecdh_in_its_three_forms() {
    for curve in ["P-256", "P-384", "P-521"] {
        let Some(place) = place(&[
            curve,
            curve,
            if curve == "P-256" { "P-384" } else { "P-256" },
        ]) else {
            return;
        };
        let sealed = seal(&place, "raw-ecdh:0.pub");
        opens(&place, "raw-ecdh:0.pem", &sealed);
        place
            .run(&["decrypt", "-k", "raw-ecdh:1.pem"], &sealed)
            .exits(4);
        place
            .run(&["decrypt", "-k", "raw-ecdh:0.pub"], &sealed)
            .exits(78);
        let sealed = seal(&place, "raw-ecdh:0.pem?peer=1.pub");
        opens(&place, "raw-ecdh:1.pem?peer=0.pub", &sealed);
        opens(&place, "raw-ecdh:0.pem?peer=1.pub", &sealed);
        opens(&place, "raw-ecdh:1.pem", &sealed);
        let refused = |key: &str, code: i32, what: &str| {
            place.run(&["encrypt", "-k", key], TEXT).refused(code, what);
        };
        refused(
            "raw-ecdh:0.pem",
            78,
            "without a peer's public key it only decrypts",
        );
        refused("raw-ecdh:0.pem?peer=2.pub", 78, "the private key is on p");
        refused("raw-ecdh:0.pub?peer=1.pub", 78, "has no private key");
        refused("raw-ecdh:0.pem?peer=1.pem", 78, "has no public key");
    }
}

#[test]
fn branch_keys_in_a_folder() {
    let place = Place::new();
    let wrap = ["--store", "store", "--wrap", "raw-aes:key"];
    let branch_key = |arguments: &[&str]| place.run(&[&["branch-key"], arguments].concat(), b"");
    branch_key(&[&["create"], &wrap[..], &["tenant-1"]].concat()).ok();
    let key = "hierarchy:store?branch=tenant-1&wrap=raw-aes:key";
    let sealed = seal(&place, key);
    opens(&place, key, &sealed);
    branch_key(&[&["rotate"], &wrap[..], &["tenant-1"]].concat()).ok();
    let sealed_later = seal(&place, key);
    opens(&place, key, &sealed);
    opens(&place, key, &sealed_later);
    opens(&place, &format!("{key}&ttl=1"), &sealed_later);
    assert_eq!(place.names("store/tenant-1").len(), 3);

    // A fresh id, and the list.
    let made = branch_key(&[&["create"], &wrap[..]].concat()).ok();
    let made = String::from_utf8(made.stdout().to_vec()).unwrap();
    let id = made.split_whitespace().next().unwrap();
    assert_eq!(id.len(), 36);
    let listed = branch_key(&["list", "--store", "store"]).ok();
    let listed = String::from_utf8(listed.stdout().to_vec()).unwrap();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert_eq!(
        listed
            .lines()
            .filter(|line| line.ends_with("  active"))
            .count(),
        2
    );

    let refused = |arguments: &[&str], code: i32, what: &str| {
        branch_key(arguments).refused(code, what);
    };
    refused(
        &[&["create"], &wrap[..], &["tenant-1"]].concat(),
        5,
        "it exists already",
    );
    refused(
        &[&["rotate"], &wrap[..], &["tenant-2"]].concat(),
        5,
        "no active version",
    );
    refused(
        &[&["create"], &wrap[..], &["../x"]].concat(),
        2,
        "cannot be the id",
    );
    let other = [
        "rotate",
        "--store",
        "store",
        "--wrap",
        "raw-aes:other",
        "tenant-1",
    ];
    refused(&other, 4, "wrapped by another key");
    refused(
        &["list", "--store", "none"],
        78,
        "cannot read the branch keys in none",
    );
    for (key, code, what) in [
        ("hierarchy:store?wrap=raw-aes:key", 2, "is not spelled"),
        (
            "hierarchy:store?branch=..&wrap=raw-aes:key",
            2,
            "cannot be the id",
        ),
        (
            "hierarchy:store?branch=x&wrap=raw-aes:key",
            5,
            "there is no key branch key x",
        ),
        (
            "hierarchy:store?branch=x&wrap=raw-aes:key&ttl=0",
            2,
            "greater than zero",
        ),
    ] {
        place.run(&["encrypt", "-k", key], TEXT).refused(code, what);
    }
    // A row that was altered does not open.
    let row = String::from_utf8(place.read("store/tenant-1/ACTIVE.json")).unwrap();
    place.write("store/tenant-1/ACTIVE.json", row.replace("20", "21"));
    place.run(&["encrypt", "-k", key], TEXT).exits(3);
    place.write("store/tenant-1/ACTIVE.json", "{}");
    place
        .run(&["encrypt", "-k", key], TEXT)
        .refused(74, "missing field");
}

#[test]
fn a_branch_key_under_the_embedded_kms() {
    let place = Place::new();
    let create = ["branch-key", "create", "--store", "store", "b"];
    place.run(&create, b"").ok();
    let key = "hierarchy:store?branch=b";
    let sealed = seal(&place, key);
    opens(&place, key, &sealed);
    place.run(&["key", "disable", "alias/default"], b"").ok();
    place.run(&["decrypt", "-k", key], &sealed).exits(5);
}
