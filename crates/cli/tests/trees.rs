//! Many files at once.

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use support::{Outcome, Place, noise};

const KEY: &str = "raw-aes:key";

fn run(place: &Place, arguments: &[&str]) -> Outcome {
    place.run(
        &[&arguments[..1], &["-k", KEY], &arguments[1..]].concat(),
        b"",
    )
}

fn tree(place: &Place, files: usize) {
    for at in 0..files {
        place.write(&format!("in/{}/{at}", at % 7), noise(at * 10));
    }
}

#[test]
fn a_tree_goes_there_and_back() {
    let place = Place::new();
    tree(&place, 100);
    for threads in ["1", "4"] {
        run(
            &place,
            &[
                "encrypt",
                "-r",
                "in",
                "-o",
                "sealed",
                "-j",
                threads,
                "--no-sync",
            ],
        )
        .ok();
        run(
            &place,
            &[
                "decrypt",
                "-r",
                "sealed/in",
                "-o",
                "out",
                "-j",
                threads,
                "--no-sync",
            ],
        )
        .ok();
        for at in 0..100 {
            assert_eq!(
                place.read(&format!("out/in/{}/{at}", at % 7)),
                noise(at * 10)
            );
        }
    }
}

#[test]
fn beside_the_inputs_and_again() {
    let place = Place::new();
    tree(&place, 3);
    run(&place, &["encrypt", "-r", "in"]).ok();
    assert_eq!(place.names("in/1"), ["1", "1.wax"]);
    // What is sealed already is not sealed again.
    run(&place, &["encrypt", "-r", "in"]).ok();
    assert_eq!(place.names("in/1"), ["1", "1.wax"]);
    std::fs::remove_file(place.path("in/1/1")).unwrap();
    run(&place, &["decrypt", "in/1/1.wax", "in/2/2.wax"]).ok();
    assert_eq!(place.read("in/1/1"), noise(10));
}

#[test]
fn a_suffix_of_choice() {
    let place = Place::new();
    place.write("a", b"text");
    run(&place, &["encrypt", "--suffix", ".enc", "a"]).ok();
    std::fs::remove_file(place.path("a")).unwrap();
    run(&place, &["decrypt", "--suffix", ".enc", "a.enc"]).ok();
    assert_eq!(place.read("a"), b"text");
}

#[test]
fn one_file_into_a_directory() {
    let place = Place::new();
    place.write("a", b"text");
    std::fs::create_dir(place.path("d")).unwrap();
    run(&place, &["encrypt", "a", "-o", "d"]).ok();
    assert_eq!(place.names("d"), ["a.wax"]);
    run(&place, &["encrypt", "a", "-o", "new/"]).ok();
    assert_eq!(place.names("new"), ["a.wax"]);
}

#[test]
fn a_failure_stops_nobody() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.write(name, name);
        run(&place, &["encrypt", "--suffix", ".wax", name]).ok();
        std::fs::remove_file(place.path(name)).unwrap();
    }
    let mut broken = place.read("b.wax");
    *broken.last_mut().unwrap() ^= 1;
    place.write("b.wax", broken);
    place.write("c", b"old");
    let all = ["decrypt", "a.wax", "b.wax", "absent.wax", "c", "c.wax"];
    // The first that failed, in their order, decides.
    let outcome = run(&place, &all).exits(3);
    let told = outcome.stderr();
    assert!(told.contains("error: b.wax: "), "{told}");
    assert!(told.contains("error: absent.wax: "), "{told}");
    assert!(told.contains("error: c: "), "{told}");
    assert!(told.contains("3 of 5 files failed"), "{told}");
    assert_eq!(
        (place.read("a"), place.read("c")),
        (b"a".into(), b"c".into())
    );
    assert!(!place.path("b").exists());
}

#[test]
fn one_json_line_a_file() {
    let place = Place::new();
    tree(&place, 20);
    place.write("bad", b"x");
    let outcome = run(
        &place,
        &["encrypt", "--json", "-r", "in", "absent", "-o", "out"],
    )
    .exits(74);
    let lines = outcome.stdout().split(|&byte| byte == b'\n');
    let lines: Vec<Value> = lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let files: BTreeSet<_> = lines
        .iter()
        .map(|line| line["file"].as_str().unwrap())
        .collect();
    assert_eq!((lines.len(), files.len()), (20, 20));
    let errors: Vec<Value> = outcome
        .stderr()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0]["file"], "absent");
    assert_eq!(errors[1]["exit"], 74);
}

#[test]
fn links_and_unfinished_files_are_no_inputs() {
    let place = Place::new();
    tree(&place, 1);
    place.write("in/.x.waxseal-abcdef.tmp", b"half");
    symlink("..", place.path("in/up")).unwrap();
    run(&place, &["encrypt", "-r", "in", "-o", "in/out"]).ok();
    run(&place, &["encrypt", "-r", "in", "-o", "in/out"]).ok();
    assert_eq!(place.names("in/out/in"), ["0"]);
    assert_eq!(place.names("in/out/in/0"), ["0.wax"]);
}

#[test]
fn nothing_to_stdout() {
    let place = Place::new();
    place.write("a", b"x");
    place.write("b", b"x");
    run(&place, &["encrypt", "a", "b", "-o", "-"]).refused(2, "stdout");
    run(&place, &["encrypt", "a", "-"]).refused(2, "stdin");
    place.write("d/a", b"x");
    run(&place, &["encrypt", "a", "d/a", "-o", "out"]).refused(2, "place");
}
