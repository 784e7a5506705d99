//! What is encrypted is decrypted: files, pipes, formats of text, results in JSON.

mod support;

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use support::{Place, noise};

#[test]
fn stdin_to_stdout_at_the_edges_of_frames() {
    let place = Place::new();
    for bytes in [0, 1, 4095, 4096, 4097, 8192, 100_000] {
        let plaintext = noise(bytes);
        let sealed = place.sealed(&plaintext, &["--frame", "4KiB"]);
        let opened = place.opened(&sealed, &["-o", "-"]).ok();
        assert_eq!(opened.stdout(), plaintext, "{bytes}");
    }
}

#[test]
fn signed_messages_go_through_pipes_and_files() {
    let place = Place::new();
    // More than the spool keeps in memory.
    for bytes in [0, 20, 5 << 20] {
        let plaintext = noise(bytes);
        let sealed = place.sealed(&plaintext, &["--signed"]);
        assert_eq!(place.opened(&sealed, &[]).ok().stdout(), plaintext);
        let early = place.opened(&sealed, &["--release-unverified"]).ok();
        assert_eq!(early.stdout(), plaintext);
        place.opened(&sealed, &["-o", "out"]).ok();
        assert_eq!(place.read("out"), plaintext);
    }
}

#[test]
fn long_files_are_the_same_with_any_number_of_threads() {
    let place = Place::new();
    // A whole number of pieces, and some bytes more.
    for (bytes, more) in [(3 << 20, &[][..]), ((3 << 20) + 77, &["--signed"])] {
        let plaintext = noise(bytes);
        place.write("in", &plaintext);
        for jobs in ["1", "2", "8"] {
            let sealing = [
                "encrypt",
                "-k",
                "raw-aes:key",
                "-j",
                jobs,
                "-o",
                "sealed",
                "in",
            ];
            place.run(&[&sealing[..], more].concat(), b"").ok();
            let opening = [
                "decrypt",
                "-k",
                "raw-aes:key",
                "-j",
                jobs,
                "-o",
                "out",
                "sealed",
            ];
            place.run(&opening, b"").ok();
            assert_eq!(place.read("out"), plaintext);
            let piped = place.opened(&place.read("sealed"), &["-j", jobs]).ok();
            assert_eq!(piped.stdout(), plaintext);
        }
        let mut damaged = place.read("sealed");
        damaged[2 << 20] ^= 1;
        place.write("damaged", &damaged);
        let opening = ["decrypt", "-k", "raw-aes:key", "-o", "out", "damaged"];
        place.run(&opening, b"").exits(3);
        assert_eq!(place.read("out"), plaintext);
    }
}

#[test]
fn stdin_that_is_a_file_is_taken_from_where_it_stands() {
    let place = Place::new();
    let plaintext = noise(2 << 20);
    place.write("in", &plaintext);
    let script = "(head -c 100000 >/dev/null; \"$WAXSEAL\" encrypt -k raw-aes:key -o sealed) <in";
    let status = std::process::Command::new("sh")
        .args(["-c", script])
        .current_dir(place.path("."))
        .env("WAXSEAL", env!("CARGO_BIN_EXE_waxseal"))
        .status()
        .unwrap();
    assert!(status.success());
    let sealed = place.read("sealed");
    let opened = place.opened(&sealed, &[]).ok();
    // How much `head` took is its own affair.
    let taken = plaintext.len() - opened.stdout().len();
    assert!(taken >= 100_000 && opened.stdout() == &plaintext[taken..]);
}

#[test]
fn file_to_file_with_mode_0600() {
    let place = Place::new();
    let plaintext = noise(3 << 20);
    place.write("in", &plaintext);
    for more in [&[][..], &["--no-sync"]] {
        let sealing = ["encrypt", "-k", "raw-aes:key", "-o", "sealed", "in"];
        place.run(&[&sealing[..], more].concat(), b"").ok();
        let opening = ["decrypt", "-k", "raw-aes:key", "-o", "out", "sealed"];
        place.run(&[&opening[..], more].concat(), b"").ok();
        assert_eq!(place.read("out"), plaintext);
        for name in ["sealed", "out"] {
            let metadata = std::fs::metadata(place.path(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        }
    }
    assert_eq!(place.names("."), ["in", "key", "other", "out", "sealed"]);
}

#[test]
fn a_file_may_replace_itself() {
    let place = Place::new();
    place.write("in", b"text");
    place
        .run(&["encrypt", "-k", "raw-aes:key", "-o", "in", "in"], b"")
        .ok();
    assert_ne!(place.read("in"), b"text");
    place
        .run(&["decrypt", "-k", "raw-aes:key", "-o", "in", "in"], b"")
        .ok();
    assert_eq!(place.read("in"), b"text");
}

#[test]
fn base64_is_written_in_lines_and_recognised() {
    let place = Place::new();
    let plaintext = noise(10_000);
    let text = place.sealed(&plaintext, &["--base64"]);
    assert!(text.iter().all(u8::is_ascii));
    assert!(
        text.split(|&byte| byte == b'\n')
            .all(|line| line.len() <= 76)
    );
    let opened = place.opened(&text, &[]).ok();
    assert_eq!(opened.stdout(), plaintext);
    assert!(opened.stderr().contains("is base64"));
    let unbroken: Vec<u8> = text.into_iter().filter(|&byte| byte != b'\n').collect();
    let opened = place.opened(&unbroken, &["-q"]).ok();
    assert_eq!(opened.stdout(), plaintext);
    assert_eq!(opened.stderr(), "");
}

#[test]
fn any_of_several_keys_opens() {
    let place = Place::new();
    let both = [
        "encrypt",
        "-k",
        "raw-aes:key",
        "-k",
        "raw-aes:other?name=second",
    ];
    let sealed = place.run(&both, b"text").ok().0.stdout;
    assert_eq!(place.opened(&sealed, &[]).ok().stdout(), b"text");
    let second = ["decrypt", "-k", "raw-aes:other?name=second"];
    assert_eq!(place.run(&second, &sealed).ok().stdout(), b"text");
}

#[test]
fn a_demanded_context_is_compared() {
    let place = Place::new();
    let sealed = place.sealed(b"text", &["-c", "a=1", "-c", "b=2"]);
    for demanded in [&[][..], &["-c", "a=1"], &["-c", "b=2", "-c", "a=1"]] {
        assert_eq!(place.opened(&sealed, demanded).ok().stdout(), b"text");
    }
    for demanded in [["-c", "a=2"], ["-c", "c=1"]] {
        place.opened(&sealed, &demanded).refused(7, "context");
    }
}

#[test]
fn results_are_json_lines() {
    let place = Place::new();
    place.write("in", b"text");
    let sealing = [
        "encrypt",
        "--json",
        "-k",
        "raw-aes:key",
        "-o",
        "sealed",
        "in",
    ];
    let outcome = place.run(&sealing, b"").ok();
    let line: Value = serde_json::from_slice(outcome.stdout()).unwrap();
    assert_eq!(line["file"], "in");
    assert_eq!(line["output"], "sealed");
    assert_eq!(line["format"], "message");
    assert_eq!(line["plaintext_bytes"], 4);
    assert_eq!(line["ciphertext_bytes"], place.read("sealed").len());

    // With the data on stdout the line goes to stderr.
    let outcome = place
        .run(&["decrypt", "--json", "-k", "raw-aes:key", "sealed"], b"")
        .ok();
    assert_eq!(outcome.stdout(), b"text");
    let line: Value = serde_json::from_str(&outcome.stderr()).unwrap();
    assert_eq!(line["output"], "-");

    let refused = place.run(&["decrypt", "--json", "-k", "raw-aes:other", "sealed"], b"");
    let line: Value = serde_json::from_str(&refused.exits(4).stderr()).unwrap();
    assert_eq!(line["exit"], 4);
    assert!(
        line["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("-k"))
    );

    let usage = place
        .run(&["decrypt", "--json", "--no-such-option"], b"")
        .exits(2);
    let line: Value = serde_json::from_str(&usage.stderr()).unwrap();
    assert_eq!(line["exit"], 2);
}

#[test]
fn inspect_needs_no_key() {
    let place = Place::new();
    let more = ["--signed", "--frame", "1000", "-c", "owner=ann"];
    let sealed = place.sealed(&noise(2500), &more);
    place.write("sealed", &sealed);
    for (arguments, stdin, file) in [
        (&["inspect", "--json", "sealed"][..], &b""[..], "sealed"),
        (&["inspect", "--json"], &sealed, "-"),
    ] {
        let outcome = place.run(arguments, stdin).ok();
        let seen: Value = serde_json::from_slice(outcome.stdout()).unwrap();
        assert_eq!(seen["file"], file);
        assert_eq!(seen["authenticated"], false);
        assert_eq!(seen["format"], "message");
        assert_eq!(seen["version"], 2);
        assert_eq!(seen["suite"], "0x0578");
        assert_eq!(seen["signed"], true);
        assert_eq!(seen["context"]["owner"], "ann");
        assert_eq!(seen["frame_bytes"], 1000);
        assert_eq!(seen["frames"], 3);
        assert_eq!(seen["plaintext_bytes"], 2500);
        assert_eq!(seen["ciphertext_bytes"], sealed.len());
        assert_eq!(seen["encrypted_data_keys"][0]["provider"], "waxseal");
        assert_eq!(seen["encrypted_data_keys"][0]["key"], "key");
        assert_eq!(seen["encrypted_data_keys"][0]["bytes"], 48);
    }
    let words = place.run(&["inspect", "sealed"], b"").ok();
    let words = String::from_utf8_lossy(words.stdout()).into_owned();
    for word in [
        "0x0578",
        "owner=ann",
        "1000 bytes",
        "2500 bytes",
        "no: nothing above",
    ] {
        assert!(words.contains(word), "{word} is not in {words}");
    }
}

#[test]
fn inspect_escapes_what_comes_from_outside() {
    let place = Place::new();
    let sealed = place.sealed(b"text", &["-c", "owner=\u{1b}[31m\nfile  x"]);
    let outcome = place.run(&["inspect"], &sealed).ok();
    assert!(!outcome.stdout().contains(&0x1b));
    let words = String::from_utf8_lossy(outcome.stdout()).into_owned();
    assert!(words.contains("owner=\\u{1b}[31m\\nfile  x"));
}

#[test]
fn the_tour_prints_ciphertext_and_plaintext() {
    let place = Place::new();
    let told = place
        .run(&["demo", "-k", "raw-aes:key"], b"My very secret data\n")
        .ok();
    let told = String::from_utf8_lossy(told.stdout()).into_owned();
    assert!(told.contains("GenerateDataKey"));
    assert!(told.ends_with("My very secret data\n"));
    // The longest run of base64 lines is the message itself.
    let blocks = told.split(". ");
    let block = blocks
        .max_by_key(|block| block.matches("\n   ").count())
        .unwrap();
    let base64: String = block
        .lines()
        .filter(|line| line.starts_with("   "))
        .collect();
    let opened = place.opened(base64.as_bytes(), &[]).ok();
    assert_eq!(opened.stdout(), b"My very secret data\n");
}

#[test]
fn devices_and_pipes_are_written_as_they_are() {
    let place = Place::new();
    let sealed = place.sealed(b"text", &[]);
    let before = place.names(".");
    place.opened(&sealed, &["-o", "/dev/null"]).ok();
    let outcome = place.opened(&sealed, &["-o", "/dev/stdout"]).ok();
    assert_eq!(outcome.stdout(), b"text");
    let outcome = place.opened(&sealed, &["-o", "/dev/stderr"]).ok();
    assert_eq!(outcome.stderr(), "text");
    assert_eq!(place.names("."), before);
}

#[test]
fn a_reader_that_goes_away_is_not_commented() {
    let place = Place::new();
    place.write("in", noise(4 << 20));
    let mut child = place
        .waxseal()
        .args(["encrypt", "-k", "raw-aes:key", "in"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert_eq!(output.stderr, b"");
}

#[test]
fn completions_are_printed_for_each_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completion", shell], b"").ok();
        assert!(String::from_utf8_lossy(script.stdout()).contains("waxseal"));
    }
}
