//! SIGKILL at any moment: outputs are the old file or the new one, whole; what the engine
//! acknowledged is there, and recorded.
//!
//! The moments are spread over the whole run time of the process, which is measured first. The
//! seed is printed; `WAXSEAL_SEED` repeats a run as far as the scheduler lets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use waxseal_conformance::world::OLD;
use waxseal_conformance::{Dice, World, campaign, engines, promise};
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::SystemEntropy;
use waxseal_kms::Engine;
use waxseal_kms::audit;
use waxseal_kms::home::{EmbeddedHome, FileRoot};
use waxseal_kms::op::Perform;
use waxseal_kms_api::op::{
    CreateKeyRequest, DecryptRequest, DescribeKeyRequest, EncryptRequest, ListKeyRotationsRequest,
    ListKeysRequest, RotateKeyOnDemandRequest,
};
use waxseal_kms_api::shape::{Blob, SecretBlob};

/// Some frames, several buffers, and long enough to be hit in the middle.
const PLAINTEXT_BYTES: usize = 6 << 20;

#[test]
fn encrypting_over_an_existing_file() {
    let (mut dice, seed) = Dice::new(0x5ea1_0001);
    let world = World::new();
    let plaintext = dice.bytes(PLAINTEXT_BYTES);
    world.write("in", &plaintext);
    std::fs::create_dir(world.path("there")).unwrap();
    let args = ["encrypt", "-o", "there/out", "in"];
    let run_time = measured(&world, &args);
    let mut tally = Tally::default();
    let kills = campaign(200);
    world.write("there/out", OLD);
    let mut before = OLD.to_vec();
    for _ in 0..kills {
        let finished = killed(world.command(&args).spawn().unwrap(), dice.moment(run_time));
        let now = world.read("there/out");
        if now == before {
            assert!(!finished, "the command succeeded and replaced nothing");
            tally.old += 1;
            continue;
        }
        assert!(
            now.len() > plaintext.len(),
            "a torn file of {} bytes",
            now.len()
        );
        let opened = world.ok(&["decrypt", "there/out"], b"");
        assert!(opened == plaintext, "another plaintext");
        tally.count_new(finished);
        before = now;
        if tally.new % 2 == 0 {
            // Now and then the file that is there is none of ours.
            world.write("there/out", OLD);
            before = OLD.to_vec();
        }
    }
    tally.leftovers = world.leftovers("there").len();
    assert_only("there", &world, &["out"]);
    world.ok(&["audit", "verify"], b"");
    promise("kills-encrypt", tally.told(kills, seed, run_time));
}

#[test]
fn decrypting_over_an_existing_file() {
    let (mut dice, seed) = Dice::new(0x5ea1_0002);
    let world = World::new();
    let plaintext = dice.bytes(PLAINTEXT_BYTES);
    world.write("in", &plaintext);
    world.ok(&["encrypt", "--signed", "-o", "sealed", "in"], b"");
    std::fs::create_dir(world.path("there")).unwrap();
    let args = ["decrypt", "-o", "there/out", "sealed"];
    let run_time = measured(&world, &args);
    let mut tally = Tally::default();
    let kills = campaign(50);
    for _ in 0..kills {
        world.write("there/out", OLD);
        let finished = killed(world.command(&args).spawn().unwrap(), dice.moment(run_time));
        let now = world.read("there/out");
        if now == OLD {
            assert!(!finished, "the command succeeded and replaced nothing");
            tally.old += 1;
        } else {
            assert!(now == plaintext, "neither old nor new: {} bytes", now.len());
            tally.count_new(finished);
        }
    }
    tally.leftovers = world.leftovers("there").len();
    assert_only("there", &world, &["out"]);
    world.ok(&["audit", "verify"], b"");
    promise("kills-decrypt", tally.told(kills, seed, run_time));
}

#[derive(Default)]
struct Tally {
    old: usize,
    new: usize,
    finished: usize,
    leftovers: usize,
}

impl Tally {
    fn count_new(&mut self, finished: bool) {
        self.new += 1;
        self.finished += usize::from(finished);
    }

    /// Fails when the kills hit nothing but one side: then they have shown nothing.
    fn told(&self, kills: usize, seed: u64, run_time: Duration) -> String {
        assert_eq!(self.old + self.new, kills);
        assert!(
            self.old > kills / 10 && self.finished < kills * 9 / 10,
            "the kills came too late"
        );
        format!(
            "{kills} kills within {run_time:.1?} (seed {seed}): {} old, {} new ({} of them after the \
             end), 0 torn, {} temporary files left, each 0600",
            self.old, self.new, self.finished, self.leftovers
        )
    }
}

/// How long the command takes: the median of some runs, and a little more, so that the very end is
/// hit, too.
fn measured(world: &World, args: &[&str]) -> Duration {
    let run = |_| {
        let begin = Instant::now();
        world.ok(args, b"");
        begin.elapsed()
    };
    let mut times: Vec<_> = (0..7).map(run).collect();
    times.sort();
    times[3] * 11 / 10
}

/// Kills after `moment`. Whether the process had succeeded by then.
fn killed(mut child: Child, moment: Duration) -> bool {
    std::thread::sleep(moment);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.code().is_none() || status.success(), "{status}");
    status.success()
}

fn assert_only(directory: &str, world: &World, expected: &[&str]) {
    let mut names = world.names(directory);
    names.retain(|name| !(name.contains(".waxseal-") && name.ends_with(".tmp")));
    assert_eq!(names, expected);
}

/// What the child below prints after an answer came back, one line each.
///
/// ```text
/// key ID            CreateKey answered
/// blob ID HEX       Encrypt under it answered
/// rotation ID N     RotateKeyOnDemand answered for the Nth time
/// ```
const CHILD_HOME: &str = "WAXSEAL_CONFORMANCE_CHILD";
const ROTATIONS_A_KEY: usize = 4;

#[test]
fn creating_and_rotating_keys() {
    let (mut dice, seed) = Dice::new(0x5ea1_0003);
    let kills = campaign(60);
    let (mut world, mut promised, mut total) =
        (World::new(), Promised::default(), Promised::default());
    let mut torn = 0;
    for kill in 0..kills {
        // Every tenth kill meets a home in the making.
        if kill % 10 == 0 {
            (world, promised) = (World::new(), Promised::default());
        }
        let moment = dice.moment(Duration::from_millis(if kill % 10 == 0 { 60 } else { 400 }));
        let told = told_by_killed_child(&world.home(), moment);
        promised.add(&told);
        total.add(&told);
        if world.audit().is_dir() {
            torn += usize::from(world.verified().torn_tail.is_some());
        }
        promised.assert_kept(&world);
    }
    let changes = total.keys.len() + total.rotations.values().sum::<usize>();
    assert!(
        changes > 3 * kills,
        "the child was not let do enough: {changes} changes"
    );
    promise(
        "kills-engine",
        format!(
            "{kills} kills (seed {seed}): {} keys, {} rotations and {} blobs acknowledged, 0 lost; \
             each in the audit log, whose chain holds; {torn} torn tails cut off",
            total.keys.len(),
            total.rotations.values().sum::<usize>(),
            total.blobs.len()
        ),
    );
}

/// Not a test by itself: the process that the test above kills.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(CHILD_HOME) else {
        return;
    };
    let home = opened(Path::new(&directory));
    let engine = home.engine();
    let say = |line: String| {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(format!("{line}\n").as_bytes()).unwrap();
        stdout.flush().unwrap();
    };
    loop {
        let key_id = call(engine, CreateKeyRequest::default())
            .key_metadata
            .key_id;
        say(format!("key {key_id}"));
        for rotation in 1..=ROTATIONS_A_KEY {
            let request = EncryptRequest {
                key_id: key_id.clone(),
                plaintext: SecretBlob(SecretBytes::copy_of(key_id.as_bytes())),
                encryption_context: BTreeMap::new(),
                ..EncryptRequest::default()
            };
            say(format!(
                "blob {key_id} {}",
                hex::encode(call(engine, request).ciphertext_blob.0)
            ));
            call(
                engine,
                RotateKeyOnDemandRequest {
                    key_id: key_id.clone(),
                },
            );
            say(format!("rotation {key_id} {rotation}"));
        }
    }
}

fn told_by_killed_child(home: &Path, moment: Duration) -> String {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD_HOME, home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut told = String::new();
        pipe.read_to_string(&mut told).unwrap();
        told
    });
    assert!(!killed(child, moment), "the child ended by itself");
    reader.join().unwrap()
}

fn opened(directory: &Path) -> EmbeddedHome {
    let place = Home {
        partition: "aws".into(),
        region: "local".into(),
        account: "000000000000".into(),
    };
    EmbeddedHome::open(
        directory,
        &place,
        Arc::new(FileRoot),
        Arc::new(SystemEntropy),
    )
    .unwrap()
}

fn call<O: Perform>(engine: &Engine, input: O) -> O::Output {
    engines::call(engine, input).unwrap()
}

/// What was acknowledged.
#[derive(Default)]
struct Promised {
    keys: Vec<String>,
    /// The greatest number of rotations of each key.
    rotations: BTreeMap<String, usize>,
    blobs: Vec<(String, Vec<u8>)>,
}

impl Promised {
    /// A line without its end was not acknowledged.
    fn add(&mut self, told: &str) {
        let whole = told.rfind('\n').map_or("", |end| &told[..end]);
        for line in whole.lines() {
            // The harness names the test before what it says, on one line.
            let line = line.strip_prefix("test child ... ").unwrap_or(line);
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["key", id] => self.keys.push(id.into()),
                ["blob", id, hex] => self.blobs.push((id.into(), hex::decode(hex).unwrap())),
                ["rotation", id, number] => {
                    self.rotations.insert(id.into(), number.parse().unwrap());
                }
                // What the test harness prints.
                _ => {}
            }
        }
    }

    fn assert_kept(&self, world: &World) {
        let home = opened(&world.home());
        let engine = home.engine();
        for key_id in &self.keys {
            let request = DescribeKeyRequest {
                key_id: key_id.clone(),
                ..DescribeKeyRequest::default()
            };
            assert!(call(engine, request).key_metadata.enabled);
        }
        for (key_id, &rotations) in &self.rotations {
            assert!(
                rotations_of(engine, key_id) >= rotations,
                "{key_id} lost a rotation"
            );
        }
        for (key_id, blob) in &self.blobs {
            let opened = call(
                engine,
                DecryptRequest {
                    ciphertext_blob: Some(Blob(blob.clone())),
                    encryption_context: BTreeMap::new(),
                    key_id: None,
                    ..DecryptRequest::default()
                },
            );
            assert_eq!(opened.plaintext.0.expose(), key_id.as_bytes());
        }
        self.assert_recorded(world, engine);
    }

    /// Each acknowledged change has its record, and there is no change without one: the store
    /// holds exactly the keys and rotations of the log.
    fn assert_recorded(&self, world: &World, engine: &Engine) {
        assert!(
            world.verified().torn_tail.is_none(),
            "the next writer cuts it off"
        );
        let mut created: BTreeMap<String, usize> = BTreeMap::new();
        let mut rotated: BTreeMap<String, usize> = BTreeMap::new();
        for record in audit::records(&world.audit()) {
            let event = record.unwrap().event().unwrap();
            assert!(event["errorCode"].is_null(), "{event}");
            let counts = match event["eventName"].as_str().unwrap() {
                "CreateKey" => &mut created,
                "RotateKeyOnDemand" => &mut rotated,
                _ => continue,
            };
            let arn = event["resources"][0]["ARN"].as_str().expect("a resource");
            let id = arn.rsplit('/').next().unwrap();
            *counts.entry(id.to_owned()).or_default() += 1;
        }
        assert!(
            created.values().all(|&records| records == 1),
            "a key was created twice"
        );
        let mut stored: Vec<_> = stored_keys(engine);
        stored.sort();
        assert_eq!(
            stored,
            created.keys().cloned().collect::<Vec<_>>(),
            "keys and their records"
        );
        for id in &self.keys {
            assert!(created.contains_key(id), "{id} has no record");
        }
        for id in stored {
            let recorded = rotated.get(&id).copied().unwrap_or_default();
            assert_eq!(
                rotations_of(engine, &id),
                recorded,
                "rotations of {id} and their records"
            );
        }
    }
}

fn rotations_of(engine: &Engine, key_id: &str) -> usize {
    let request = ListKeyRotationsRequest {
        key_id: key_id.to_owned(),
        include_key_material: None,
        limit: None,
        marker: None,
    };
    call(engine, request).rotations.len()
}

fn stored_keys(engine: &Engine) -> Vec<String> {
    let (mut ids, mut marker) = (Vec::new(), None);
    loop {
        let page = call(
            engine,
            ListKeysRequest {
                limit: Some(1000),
                marker,
                ..ListKeysRequest::default()
            },
        );
        ids.extend(page.keys.into_iter().map(|entry| entry.key_id));
        marker = page.next_marker;
        if marker.is_none() {
            return ids;
        }
    }
}
