//! A copy of a data directory that is in use, and a data directory from the copy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is the point"
)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use support::{Place, outcome};

/// The drill: while eight threads use and change keys, copies are taken; each is restored elsewhere,
/// opens what was sealed before it was begun, and its log verifies.
#[test]
fn copies_of_a_home_in_use_restore_to_homes_that_open() {
    let place = Place::new();
    place.run(&["key", "create", "--alias", "drill"], b"").ok();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (place, done) = (&place, &done);
            scope.spawn(move || {
                let mut round = 0;
                while !done.load(Ordering::Relaxed) {
                    match (thread, round % 5) {
                        (0, 0) => drop(place.run(&["key", "rotate", "alias/drill"], b"")),
                        (1, _) => drop(place.run(&["key", "create"], b"")),
                        _ => drop(place.run(&["encrypt", "-k", "alias/drill"], b"busy").ok()),
                    }
                    round += 1;
                }
            });
        }
        for round in 0..5 {
            let sealed = place
                .run(
                    &["encrypt", "-k", "alias/drill"],
                    format!("round {round}").as_bytes(),
                )
                .ok();
            let copy = format!("copy-{round}.tar");
            place.run(&["backup", "-o", &copy], b"").ok();
            let elsewhere = place.path(&format!("elsewhere-{round}/home"));
            let restored = place
                .waxseal()
                .env("WAXSEAL_HOME", &elsewhere)
                .args(["restore", &copy])
                .output()
                .unwrap();
            assert!(
                restored.status.success(),
                "{}",
                String::from_utf8_lossy(&restored.stderr)
            );
            std::fs::copy(
                place.path("home").join("root.key"),
                elsewhere.join("root.key"),
            )
            .unwrap();
            let run = |arguments: &[&str], input: &[u8]| {
                let mut command = place.waxseal();
                command.env("WAXSEAL_HOME", &elsewhere);
                outcome(command.args(arguments), input).ok()
            };
            assert_eq!(
                run(&["decrypt"], sealed.stdout()).stdout(),
                format!("round {round}").as_bytes()
            );
            run(&["audit", "verify"], b"");
            run(&["key", "create"], b"");
        }
        done.store(true, Ordering::Relaxed);
    });
    // Nothing of the copying is left.
    let left = std::fs::read_dir(place.path("home")).unwrap();
    for entry in left {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with("backup-"), "{name}");
    }
}

#[test]
fn no_damaged_copy_is_restored() {
    let place = Place::new();
    place.run(&["key", "create", "--alias", "one"], b"").ok();
    place.run(&["encrypt", "-k", "alias/one"], b"text").ok();
    place.run(&["backup", "-o", "copy.tar"], b"").ok();
    let whole = place.read("copy.tar");
    let restore = |what: &[u8], arguments: &[&str]| {
        place.write("bent.tar", what);
        let output = place
            .waxseal()
            .env("WAXSEAL_HOME", place.path("new"))
            .args(["restore", "bent.tar"])
            .args(arguments)
            .output()
            .unwrap();
        output.status.code()
    };
    assert_eq!(restore(&whole, &["--check"]), Some(0));
    assert!(!place.path("new").exists());
    let contents: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut found = 0;
    for at in contents.iter().step_by(contents.len() / 60) {
        let mut bent = whole.clone();
        bent[*at] ^= 0x01;
        // The dates and owners of a tar header are nobody's.
        if restore(&bent, &["--check"]) != Some(0) {
            found += 1;
        }
        assert!(!place.path("new").exists());
    }
    assert!(found >= 55, "{found} of 60 found");
    for end in [0, 100, 512, whole.len() / 2, whole.len() - 2000] {
        assert_eq!(restore(&whole[..end], &[]), Some(3), "{end} bytes");
        assert!(!place.path("new").exists());
    }
    // What is there is not replaced.
    assert_eq!(restore(&whole, &[]), Some(0));
    assert_eq!(restore(&whole, &[]), Some(2));
    place
        .run(&["restore", "absent.tar"], b"")
        .refused(74, "absent");
    place
        .waxseal()
        .env("WAXSEAL_HOME", place.path("nowhere"))
        .args(["backup", "-o", "x.tar"])
        .output()
        .map(|output| assert_eq!(output.status.code(), Some(78)))
        .unwrap();
    assert!(!place.path("x.tar").exists());
}
