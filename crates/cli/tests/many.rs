//! Runs over many files: what is picked, told, skipped, and left after an interruption.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use support::{Outcome, Place, noise};

const KEY: &[&str] = &["-k", "raw-aes:key"];

fn run(place: &Place, arguments: &[&str]) -> Outcome {
    place.run(&[&arguments[..1], KEY, &arguments[1..]].concat(), b"")
}

/// Every path below `directory`, directories with a '/' at the end.
fn paths(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(path) = left.pop() {
        for entry in std::fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(directory).unwrap().display().to_string();
            match path.is_dir() && !path.is_symlink() {
                true => {
                    found.push(name + "/");
                    left.push(path);
                }
                false => found.push(name),
            }
        }
    }
    found.sort();
    found
}

fn json_lines(text: &[u8]) -> Vec<Value> {
    let lines = text.split(|&byte| byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn summary(outcome: &Outcome) -> Value {
    let last = json_lines(outcome.stderr().as_bytes()).pop().unwrap();
    assert!(last["summary"].is_object(), "{last}");
    last["summary"].clone()
}

/// File times are those of the last clock tick.
fn let_the_clock_tick() {
    std::thread::sleep(Duration::from_millis(25));
}

#[test]
fn empty_directories_are_rebuilt_for_their_owner() {
    let place = Place::new();
    place.write("in/a/x", b"x");
    for empty in ["in/empty/deep", "in/b"] {
        std::fs::create_dir_all(place.path(empty)).unwrap();
    }
    run(&place, &["encrypt", "-r", "in", "-o", "new/sealed"]).ok();
    let expected = ["a/", "a/x.wax", "b/", "empty/", "empty/deep/"];
    assert_eq!(paths(&place.path("new/sealed/in")), expected);
    for made in ["new", "new/sealed", "new/sealed/in/a", "new/sealed/in/b"] {
        let mode = place.path(made).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{made}");
    }
    run(&place, &["decrypt", "-r", "new/sealed/in", "-o", "out"]).ok();
    assert_eq!(paths(&place.path("out/in")), paths(&place.path("in")));
}

#[test]
fn patterns_pick_files() {
    let place = Place::new();
    for name in ["a.jpg", "a.txt", "s/b.jpg", "s/t/c.jpg", "tmp/d.jpg"] {
        place.write(&format!("in/{name}"), name);
    }
    std::fs::create_dir(place.path("in/none")).unwrap();
    let picked = |out: &str, patterns: &[&str]| {
        let arguments = [&["encrypt", "-r", "in", "-o", out], patterns].concat();
        run(&place, &arguments).ok();
        paths(&place.path(&format!("{out}/in")))
    };
    assert_eq!(
        picked("1", &["--include", "*.jpg", "--exclude", "tmp/"]),
        ["a.jpg.wax", "s/", "s/b.jpg.wax", "s/t/", "s/t/c.jpg.wax"]
    );
    assert_eq!(
        picked("2", &["--exclude=s", "--exclude=/*.txt"]),
        ["a.jpg.wax", "none/", "tmp/", "tmp/d.jpg.wax"]
    );
    assert_eq!(
        picked("3", &["--include=s/**/c.*", "--include=*.txt"]),
        ["a.txt.wax", "s/", "s/t/", "s/t/c.jpg.wax"]
    );
    // What the command line names is worked on, whatever the patterns say.
    run(
        &place,
        &["encrypt", "-r", "in/a.txt", "--exclude", "*", "-o", "4"],
    )
    .ok();
    assert_eq!(place.names("4"), ["a.txt.wax"]);
    run(&place, &["encrypt", "in/a.txt", "--exclude", "*"]).refused_by_clap("--recursive");
    run(&place, &["encrypt", "-r", "in", "--include", "["]).refused_by_clap("'['");
}

impl Outcome {
    fn refused_by_clap(self, what: &str) {
        let told = self.exits(2);
        assert!(told.stderr().contains(what), "{}", told.stderr());
    }
}

#[test]
fn a_dry_run_tells_and_touches_nothing() {
    let place = Place::new();
    place.write("in/a", b"x");
    place.write("in/b", b"x");
    place.write("out/in/b.wax", b"old");
    std::fs::create_dir(place.path("in/empty")).unwrap();
    let before = paths(&place.path("."));
    let dry = ["encrypt", "--dry-run", "-r", "in", "-o", "out"];
    // Not even the key is looked at, or made.
    let told = place.run(&dry, b"").ok();
    let expected = "in/a -> out/in/a.wax\nin/b -> out/in/b.wax (replaced)\n";
    assert_eq!(String::from_utf8_lossy(told.stdout()), expected);
    assert_eq!(told.stderr(), "waxseal: 2 files to do\n");
    assert_eq!(paths(&place.path(".")), before);
    assert_eq!(place.read("out/in/b.wax"), b"old");

    let told = run(
        &place,
        &[
            "encrypt",
            "--dry-run",
            "--json",
            "in/a",
            "absent",
            "-o",
            "new",
        ],
    );
    let told = told.exits(74);
    let lines = json_lines(told.stdout());
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["output"], "new/a.wax");
    assert_eq!(lines[0]["action"], "write");
    let counts = summary(&told);
    assert_eq!((&counts["done"], &counts["failed"]), (&1.into(), &1.into()));
    assert_eq!(counts["dry_run"], true);
    assert_eq!(paths(&place.path(".")), before);

    place.write("d/a", b"x");
    run(
        &place,
        &["encrypt", "--dry-run", "in/a", "d/a", "-o", "new"],
    )
    .refused(2, "place");
    run(&place, &["decrypt", "--dry-run", "-r", "in"]).exits(2);
    let one = run(&place, &["decrypt", "--dry-run", "out/in/b.wax", "-o", "b"]).ok();
    assert_eq!(one.stdout(), b"out/in/b.wax -> b\n");
}

#[test]
fn the_summary_counts() {
    let place = Place::new();
    for at in 0..10 {
        place.write(&format!("in/{at}"), noise(1000));
    }
    symlink("0", place.path("in/link")).unwrap();
    let told = run(&place, &["encrypt", "-j1", "-r", "in", "-o", "out"])
        .ok()
        .stderr();
    assert!(
        told.starts_with(
            "waxseal: 10 files done, 1 links or special files left out, 1 data key: 9.77 KiB in "
        ),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1);
    let quiet = run(&place, &["encrypt", "-j1", "-q", "-r", "in", "-o", "out"]).ok();
    assert_eq!(quiet.stderr(), "");
    let json = run(
        &place,
        &["encrypt", "-j1", "--json", "-r", "in", "-o", "out"],
    )
    .ok();
    assert_eq!(json_lines(json.stdout()).len(), 10);
    let counts = summary(&json);
    assert_eq!(counts["done"], 10);
    assert_eq!(counts["left_out"], 1);
    assert_eq!(counts["data_keys"], 1);
    assert_eq!(counts["plaintext_bytes"], 10_000);

    place.write("out/in/3.wax", b"broken");
    std::fs::remove_file(place.path("out/in/5.wax")).unwrap();
    std::fs::create_dir(place.path("out/in/5.wax")).unwrap();
    // What is no file is not replaced, and its failure is told twice: at once, and at the end.
    let told = run(&place, &["encrypt", "-j1", "-r", "in", "-o", "out"])
        .exits(2)
        .stderr();
    let lines: Vec<_> = told.lines().collect();
    assert!(lines[0].starts_with("waxseal: error: in/5: "), "{told}");
    assert!(lines[2].starts_with("waxseal: failed: in/5: "), "{told}");
    assert!(
        lines[3].starts_with("waxseal: 9 files done, 1 failed"),
        "{told}"
    );
    assert_eq!(lines[4], "waxseal: error: 1 of 10 files failed");
    assert_eq!(lines.len(), 6);
}

#[test]
fn outputs_through_links_are_replaced_where_they_are() {
    let place = Place::new();
    place.write("in/a", b"text");
    place.write("elsewhere/target", b"old");
    std::fs::create_dir_all(place.path("out/in")).unwrap();
    symlink("../../elsewhere/target", place.path("out/in/a.wax")).unwrap();
    for sync in [&[][..], &["--no-sync"]] {
        run(
            &place,
            &[&["encrypt", "-r", "in", "-o", "out"], sync].concat(),
        )
        .ok();
        assert!(place.path("out/in/a.wax").is_symlink());
        let sealed = place.read("elsewhere/target");
        assert_eq!(place.opened(&sealed, &[]).ok().stdout(), b"text");
        place.write("elsewhere/target", b"old");
    }
}

/// Inode and time of each file.
fn identities(directory: &Path) -> BTreeMap<String, (u64, i64)> {
    let paths = paths(directory).into_iter();
    let files = paths.filter(|path| !path.ends_with('/'));
    files
        .map(|path| {
            let metadata = directory.join(&path).metadata().unwrap();
            (path, (metadata.ino(), metadata.mtime_nsec()))
        })
        .collect()
}

#[test]
fn what_is_done_is_skipped() {
    for (way, shape) in [
        ("quick", &[][..]),
        ("verify", &[]),
        ("quick", &["--signed"]),
        ("verify", &["--signed", "--frame", "100"]),
        ("quick", &["--base64"]),
        ("quick", &["-f", "secretbox"]),
        ("quick", &["-f", "direct"]),
    ] {
        let place = Place::new();
        for at in 0..20 {
            // Direct blobs have at least one byte.
            place.write(&format!("in/{at}"), noise(1 + at * 100));
        }
        let_the_clock_tick();
        let how = format!("--skip-done={way}");
        // A raw key has no place for its name in these: they need a KMS.
        let bare = shape.contains(&"direct") || shape.contains(&"secretbox");
        let key: &[&str] = if bare { &[] } else { KEY };
        let sealing = [&["encrypt"], key, shape, &["-r", "in", "-o", "out"]].concat();
        let resumed = [&sealing[..], &[&how, "--json"]].concat();
        place.run(&sealing, b"").ok();
        let all = identities(&place.path("out"));

        let counts = summary(&place.run(&resumed, b"").ok());
        assert_eq!(
            (&counts["done"], &counts["skipped"]),
            (&0.into(), &20.into()),
            "{shape:?}"
        );
        assert_eq!(identities(&place.path("out")), all);

        // Missing, torn, foreign, and of a changed input: done again. The others are not touched.
        let_the_clock_tick();
        std::fs::remove_file(place.path("out/in/3.wax")).unwrap();
        let sealed = place.read("out/in/4.wax");
        place.write("out/in/4.wax", &sealed[..sealed.len() - 6]);
        place.write("out/in/5.wax", b"another's");
        place.write("in/6", noise(600).iter().rev().copied().collect::<Vec<_>>());
        let outcome = place.run(&resumed, b"").ok();
        let counts = summary(&outcome);
        assert_eq!(
            (&counts["done"], &counts["skipped"]),
            (&4.into(), &16.into()),
            "{shape:?}"
        );
        let lines = json_lines(outcome.stdout());
        let skipped = lines.iter().filter(|line| line["action"] == "skip");
        assert_eq!((lines.len(), skipped.count()), (20, 16));
        let now = identities(&place.path("out"));
        let changed: Vec<_> = now.iter().filter(|(name, id)| all[*name] != **id).collect();
        assert_eq!(changed.len(), 4, "{changed:?}");

        let_the_clock_tick();
        let opening = [&["decrypt"], key, &["-r", "out/in", "-o", "back"]].concat();
        place.run(&opening, b"").ok();
        let resumed = [&opening[..], &[&how, "--json"]].concat();
        place.write("back/in/7", noise(699));
        std::fs::remove_file(place.path("back/in/8")).unwrap();
        let counts = summary(&place.run(&resumed, b"").ok());
        assert_eq!(
            (&counts["done"], &counts["skipped"]),
            (&2.into(), &18.into()),
            "{shape:?}"
        );
        for at in (0..20).filter(|at| *at != 6) {
            assert_eq!(place.read(&format!("back/in/{at}")), noise(1 + at * 100));
        }
    }
}

#[test]
fn what_is_not_proved_is_done_again() {
    let place = Place::new();
    place.write("a", noise(1000));
    let_the_clock_tick();
    let resumed = |more: &[&str]| {
        let_the_clock_tick();
        let told = run(
            &place,
            &[&["encrypt", "a", "-o", "out/", "--json"], more].concat(),
        )
        .ok();
        summary(&told)["skipped"].as_u64().unwrap()
    };
    assert_eq!(resumed(&["--skip-done"]), 0);
    assert_eq!(resumed(&["--skip-done"]), 1);
    assert_eq!(resumed(&[]), 0);
    // Another context, suite or key is another message.
    assert_eq!(resumed(&["--skip-done", "-c", "a=b"]), 0);
    assert_eq!(resumed(&["--skip-done", "-c", "a=b"]), 1);
    assert_eq!(resumed(&["--skip-done", "--signed", "-c", "a=b"]), 0);
    let other = [
        "encrypt",
        "-k",
        "raw-aes:other",
        "a",
        "-o",
        "out/",
        "--skip-done",
        "--json",
    ];
    assert_eq!(summary(&place.run(&other, b"").ok())["skipped"], 0);
    // Altered in the middle: only comparing finds it out.
    let mut sealed = place.read("out/a.wax");
    let middle = sealed.len() / 2;
    sealed[middle] ^= 1;
    place.write("out/a.wax", &sealed);
    let verify = [&other[..6], &["--skip-done=verify", "--json"]].concat();
    assert_eq!(summary(&place.run(&other, b"").ok())["skipped"], 1);
    assert_eq!(summary(&place.run(&verify, b"").ok())["skipped"], 0);
    assert_eq!(summary(&place.run(&verify, b"").ok())["skipped"], 1);
    // A file of another content moved here, older than the output.
    place.write("b", &noise(1001)[1..]);
    std::fs::rename(place.path("b"), place.path("a")).unwrap();
    assert_eq!(summary(&place.run(&other, b"").ok())["skipped"], 0);
    // One file to one file.
    let one = ["encrypt", "a", "-o", "one", "--skip-done"];
    let_the_clock_tick();
    assert_eq!(run(&place, &one).ok().stderr(), "");
    assert!(
        run(&place, &one)
            .ok()
            .stderr()
            .contains("one is done already")
    );
}

#[test]
fn temporary_files_of_the_dead_are_removed() {
    let place = Place::new();
    place.write("in/a", b"x");
    for stale in [
        "in/.a.waxseal-abcdef.tmp",
        "out/in/.a.wax.waxseal-abcdef.tmp",
    ] {
        place.write(stale, b"half");
    }
    let alive = place.write("out/in/.b.wax.waxseal-abcdef.tmp", b"half");
    let held = std::fs::File::open(&alive).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    run(&place, &["encrypt", "-r", "in", "-o", "out"]).ok();
    assert_eq!(
        place.names("out/in"),
        [".b.wax.waxseal-abcdef.tmp", "a.wax"]
    );
    // Only places that are written to are tidied up.
    assert_eq!(place.names("in"), [".a.waxseal-abcdef.tmp", "a"]);
    run(&place, &["encrypt", "-r", "in"]).ok();
    assert_eq!(place.names("in"), ["a", "a.wax"]);
    drop(held);
    place.write("out/in/b.wax", b"old");
    run(&place, &["encrypt", "in/a", "-o", "out/in/b.wax"]).ok();
    assert_eq!(place.names("out/in"), ["a.wax", "b.wax"]);
}

/// Starts a run over `in` and ends it with `signal` when so many files are in `out`.
fn interrupted(place: &Place, arguments: &[&str], signal: i32, files: usize) -> (bool, String) {
    let mut child = place
        .waxseal()
        .args([&arguments[..1], KEY, &arguments[1..]].concat())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = place.path("out/in");
    while child.try_wait().unwrap().is_none() && !(out.exists() && identities(&out).len() >= files)
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = rustix::process::Pid::from_child(&child);
    let signal_sent = rustix::process::Signal::from_named_raw(signal).unwrap();
    let _ = rustix::process::kill_process(id, signal_sent);
    let output = child.wait_with_output().unwrap();
    let killed = output.status.signal() == Some(signal);
    assert!(killed || output.status.success(), "{:?}", output.status);
    (killed, String::from_utf8(output.stderr).unwrap())
}

/// A thousand files, killed again and again at another moment; each run takes up where the last
/// one was killed.
#[test]
fn killed_runs_are_resumed() {
    const FILES: usize = 1000;
    for (more, directories) in [(&[][..], 10), (&["--no-sync", "-j", "3"], 3)] {
        let place = Place::new();
        for at in 0..FILES {
            place.write(&format!("in/{}/{at}", at % directories), noise(at));
        }
        let_the_clock_tick();
        let sealing = [&["encrypt", "-r", "in", "-o", "out", "--skip-done"], more].concat();
        let (mut kills, mut last) = (0, BTreeMap::new());
        for round in 1.. {
            let (killed, _) = interrupted(&place, &sealing, 9, last.len() + round * 29 % 120);
            kills += usize::from(killed);
            let now = match place.path("out").exists() {
                true => identities(&place.path("out")),
                false => BTreeMap::new(),
            };
            // Nothing that was done is done again.
            for (name, identity) in &last {
                assert_eq!(now.get(name), Some(identity), "{name} was done again");
            }
            last = now;
            if !killed {
                break;
            }
        }
        assert!(kills > 0, "the kills came too late");
        let counts = summary(&run(&place, &[&sealing[..], &["--json"]].concat()).ok());
        let counted = ["done", "skipped"].map(|name| counts[name].as_u64().unwrap());
        assert_eq!(counted.iter().sum::<u64>(), FILES as u64);
        let now = identities(&place.path("out"));
        assert_eq!(now.len(), FILES);
        for (name, identity) in &last {
            assert_eq!(now.get(name), Some(identity), "{name} was done again");
        }
        assert!(
            now.keys().all(|name| name.ends_with(".wax")),
            "files are left over"
        );
        run(
            &place,
            &["decrypt", "-q", "-r", "out/in", "-o", "back", "--no-sync"],
        )
        .ok();
        for at in 0..FILES {
            assert_eq!(
                place.read(&format!("back/in/{}/{at}", at % directories)),
                noise(at)
            );
        }
        println!("{kills} kills over {FILES} files");
    }
}

#[test]
fn an_interrupt_leaves_what_is_done_and_says_how_much() {
    const FILES: u64 = 2000;
    for sync in [&[][..], &["--no-sync"]] {
        let place = Place::new();
        for at in 0..FILES {
            place.write(&format!("in/{}/{at}", at % 10), noise(1000));
        }
        let sealing = [&["encrypt", "-r", "in", "-o", "out"], sync].concat();
        let mut hits = 0;
        for round in 1..8 {
            let (killed, told) = interrupted(&place, &sealing, 2, round * 200);
            let there = match place.path("out").exists() {
                true => identities(&place.path("out")),
                false => BTreeMap::new(),
            };
            assert!(
                there.keys().all(|name| name.ends_with(".wax")),
                "files are left over"
            );
            if killed && !told.is_empty() {
                let words: Vec<_> = told.split(' ').collect();
                assert_eq!(words[1], "interrupted:", "{told}");
                let done: u64 = words[2].parse().unwrap();
                // A file may have got its name and not been counted yet, one a thread.
                let files = there.len() as u64;
                assert!(done <= files, "{done} told, {files} there");
                hits += 1;
            }
            if place.path("out").exists() {
                std::fs::remove_dir_all(place.path("out")).unwrap();
            }
        }
        assert!(hits > 0, "no signal came in the middle");
    }
}
