//! Output safety: SIGINT, SIGKILL, a reader that goes away and a full disk, at random moments.
//!
//! After each cut the target is what it was before, or complete; whoever was refused was told by
//! the exit code; and the next run leaves nothing in the directory but the target.
//!
//! The moments are spread over the run time of the command, which is measured first, or over the
//! bytes that it writes. `WAXSEAL_SEED` repeats a run as far as the scheduler lets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use waxseal_conformance::world::OLD;
use waxseal_conformance::{Dice, Ran, World, campaign, program, promise, rights};

/// Some frames, several buffers, and long enough to be hit in the middle.
const PLAINTEXT_BYTES: usize = 3 << 20;
const KEY: &str = "raw-aes:key?namespace=ns&name=name";
/// SIGINT and SIGKILL, two commands each.
const SIGNALS: usize = 75;
const PIPES: usize = 100;
const DISKS: usize = 100;

/// A world with a plaintext `in`, `sealed` and `signed` of it, and a directory `there`.
struct Stage {
    world: World,
    plaintext: Vec<u8>,
}

/// A command that replaces `there/out`.
const COMMANDS: [(&str, &[&str]); 2] = [
    ("encrypt", &["encrypt", "-k", KEY, "-o", "there/out", "in"]),
    (
        "decrypt",
        &["decrypt", "-k", KEY, "-o", "there/out", "signed"],
    ),
];

impl Stage {
    fn new(dice: &mut Dice) -> Self {
        let world = World::new();
        let plaintext = dice.bytes(PLAINTEXT_BYTES);
        world.write("key", [7; 32]);
        world.write("in", &plaintext);
        world.ok(&["encrypt", "-k", KEY, "-o", "sealed", "in"], b"");
        world.ok(
            &["encrypt", "-k", KEY, "--signed", "-o", "signed", "in"],
            b"",
        );
        fs::create_dir(world.path("there")).unwrap();
        Self { world, plaintext }
    }

    /// Whether the target is new; fails when it is neither old nor complete.
    fn is_new(&self, command: &str) -> bool {
        let now = self.world.read("there/out");
        if now == OLD {
            return false;
        }
        let opened = match command {
            "encrypt" => self.world.ok(&["decrypt", "-k", KEY, "there/out"], b""),
            _ => now,
        };
        assert!(
            opened == self.plaintext,
            "{command}: a torn file of {} bytes",
            opened.len()
        );
        true
    }

    /// The next run succeeds, and leaves the target alone in its directory.
    fn next_run(&self, args: &[&str]) {
        self.world.ok(args, b"");
        assert_eq!(self.world.names("there"), ["out"], "left behind");
    }

    fn run_time(&self, args: &[&str]) -> Duration {
        let run = |_| {
            let begin = Instant::now();
            self.world.ok(args, b"");
            begin.elapsed()
        };
        let mut times: Vec<_> = (0..7).map(run).collect();
        times.sort();
        times[3] * 11 / 10
    }
}

fn signalled(stage: &Stage, args: &[&str], signal: Signal, moment: Duration) -> ExitStatus {
    let mut command = stage.world.command(args);
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(moment);
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait().unwrap()
}

#[test]
fn signals_at_any_moment() {
    let (mut dice, seed) = Dice::new(0xc075_0001);
    let stage = Stage::new(&mut dice);
    for (name, signal) in [("SIGINT", Signal::INT), ("SIGKILL", Signal::KILL)] {
        let (mut old, mut new, mut finished, mut left) = (0, 0, 0, 0);
        for (command, args) in COMMANDS {
            let run_time = stage.run_time(args);
            for _ in 0..campaign(SIGNALS) {
                stage.world.write("there/out", OLD);
                let status = signalled(&stage, args, signal, dice.moment(run_time));
                let is_new = stage.is_new(command);
                match status.signal() {
                    Some(number) => assert_eq!(number, signal.as_raw()),
                    None => assert!(status.success() && is_new, "{command}: {status}"),
                }
                old += usize::from(!is_new);
                new += usize::from(is_new);
                finished += usize::from(status.success());
                let leftovers = stage.world.leftovers("there").len();
                assert!(
                    leftovers == 0 || signal == Signal::KILL,
                    "SIGINT left a file behind"
                );
                left += leftovers;
                if leftovers > 0 {
                    stage.next_run(args);
                }
            }
            stage.next_run(args);
        }
        let cuts = old + new;
        assert!(
            old > cuts / 10 && finished < cuts * 9 / 10,
            "the signals came too late"
        );
        promise(
            &format!("cuts-{name}"),
            format!(
                "{cuts} cuts (seed {seed}): {old} old, {new} new ({finished} after the end), 0 torn, {left} temporary files left, gone on the next run"
            ),
        );
    }
}

/// The reader of stdout goes away after some bytes: what it got is the beginning of what it asked
/// for, and the command does not say that it succeeded.
#[test]
fn readers_that_go_away() {
    let (mut dice, seed) = Dice::new(0xc075_0002);
    let stage = Stage::new(&mut dice);
    let mut cut = 0;
    let cuts = campaign(PIPES);
    for number in 0..cuts {
        let decrypting = number % 2 == 0;
        let args: &[&str] = match number % 4 {
            0 => &["decrypt", "-k", KEY, "sealed"],
            2 => &["decrypt", "-k", KEY, "signed"],
            _ => &["encrypt", "-k", KEY, "in"],
        };
        // More than a pipe holds stays unread.
        let taken = dice.below(PLAINTEXT_BYTES as u64 - (2 << 20));
        let mut command = stage.world.command(args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut got = Vec::new();
        child
            .stdout
            .take()
            .unwrap()
            .take(taken)
            .read_to_end(&mut got)
            .unwrap();
        let status = child.wait().unwrap();
        assert!(!status.success(), "{args:?}: success after {taken} bytes");
        assert!(
            status.code() == Some(74) || status.signal() == Some(Signal::PIPE.as_raw()),
            "{status}"
        );
        if decrypting {
            assert!(stage.plaintext.starts_with(&got));
        }
        cut += 1;
    }
    // With an output file, a closed stdout is no reason to leave half of one.
    promise(
        "cuts-SIGPIPE",
        format!(
            "{cut} cuts (seed {seed}): never exit 0, nothing but the beginning of the plaintext"
        ),
    );
}

/// The disk is full after a random number of bytes.
#[test]
fn disks_that_fill() {
    let (mut dice, seed) = Dice::new(0xc075_0003);
    let stage = Stage::new(&mut dice);
    fs::create_dir(stage.world.path("small")).unwrap();
    let (mut old, mut new) = (0, 0);
    let cuts = campaign(DISKS);
    let tmpfs = rights::may_mount();
    for number in 0..cuts {
        let (command, arguments) = match number % 4 {
            0 => ("encrypt", "encrypt -o OUT in"),
            1 => ("encrypt", "encrypt --no-sync -o OUT < in"),
            2 => ("decrypt", "decrypt -o OUT signed"),
            _ => ("decrypt", "decrypt --no-sync -o OUT < sealed"),
        };
        // The last quarter has room for all of it.
        let kib = 16 + dice.below(PLAINTEXT_BYTES as u64 / 1024 * 4 / 3);
        let run = format!(
            "\"$waxseal\" {} -k '{KEY}' || code=$?",
            arguments.replace("OUT", "small/out")
        );
        let script = match tmpfs {
            true => format!(
                "set -e; mount -t tmpfs -o size={kib}k tmpfs small; printf %s '{OLD}' > small/out; \
                 code=0; {run}; rm -f there/out; cp small/out there/out; ls -A small; exit $code",
                OLD = String::from_utf8_lossy(OLD)
            ),
            // Blocks of 512 bytes; a write beyond them fails.
            false => format!(
                "set -e; printf %s '{OLD}' > small/out; trap '' XFSZ; code=0; \
                 (ulimit -f {}; {run}; exit $code) || code=$?; \
                 rm -f there/out; cp small/out there/out; ls -A small; exit $code",
                kib * 2,
                OLD = String::from_utf8_lossy(OLD)
            ),
        };
        let wrapper: &[&str] = match tmpfs {
            true => &["unshare", "-m", "sh", "-c", &script],
            false => &["sh", "-c", &script],
        };
        let mut command_line = stage.world.command_behind(wrapper, &[]);
        command_line.env("waxseal", program::binary());
        let ran = Ran::of(command_line, b"");
        assert_eq!(ran.text(), "out\n", "left behind by {arguments}");
        let is_new = stage.is_new(command);
        assert_eq!(
            ran.code,
            Some(if is_new { 0 } else { 74 }),
            "{arguments}: {}",
            ran.stderr
        );
        old += usize::from(!is_new);
        new += usize::from(is_new);
    }
    assert!(old > cuts / 4 && new > 0, "{old} old, {new} new");
    let where_ = if tmpfs {
        "a small tmpfs"
    } else {
        "a file size limit (no right to mount here)"
    };
    promise(
        "cuts-full-disk",
        format!(
            "{cuts} cuts on {where_} (seed {seed}): {old} old with exit 74, {new} new, 0 torn, 0 temporary files"
        ),
    );
}
