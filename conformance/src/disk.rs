//! A disk of our own, which can be full or stuck: ext4 in a file, mounted where nobody else
//! sees it.

use crate::rights;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set in the process that is alone with its mounts.
const ALONE: &str = "WAXSEAL_CONFORMANCE_ALONE";

/// Whether this process may mount as it likes. Else the test of this name is run in a process that may,
/// its promises are printed here, and there is nothing left to do.
///
/// # Panics
/// When the test fails there.
pub fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    if !may() {
        println!("NOT TRIED: {test}: no right to mount an ext4 file system here");
        return false;
    }
    let this = std::env::current_exe().expect("a test knows its own path");
    let output = Command::new("unshare")
        .arg("-m")
        .arg(this)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("unshare runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    for line in told.lines() {
        // The harness names the test before the first of what it says, on one line.
        if let Some(at) = line.find("promise ") {
            println!("{}", &line[at..]);
        }
    }
    false
}

fn may() -> bool {
    let script = "d=$(mktemp -d) && truncate -s 8M $d/i && mkfs.ext4 -q -F $d/i && mkdir $d/m && \
                  mount -o loop $d/i $d/m && fsfreeze -f $d/m && fsfreeze -u $d/m && umount $d/m && rm -r $d";
    rights::is_root() && run(&["unshare", "-m", "sh", "-ec", script])
}

fn run(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// An ext4 file system that is unmounted at the end.
#[derive(Debug)]
pub struct Disk {
    at: PathBuf,
    frozen: bool,
}

impl Disk {
    /// Makes one of `mib` mebibytes beside `at`, and mounts it there.
    ///
    /// # Panics
    /// When it cannot.
    pub fn new(at: &Path, mib: u64) -> Self {
        let image = at.with_extension("image");
        let file = fs::File::create(&image).expect("a file");
        file.set_len(mib << 20).expect("a file");
        fs::create_dir(at).expect("a directory");
        let (image, path) = (image.to_str().expect("text"), at.to_str().expect("text"));
        assert!(
            run(&["mkfs.ext4", "-q", "-F", "-m", "0", image]),
            "mkfs.ext4"
        );
        assert!(run(&["mount", "-o", "loop", image, path]), "mount");
        Self {
            at: at.to_owned(),
            frozen: false,
        }
    }

    fn name(&self) -> &str {
        self.at.to_str().expect("text")
    }

    /// Lets it answer no write any more.
    pub fn freeze(&mut self) {
        assert!(run(&["fsfreeze", "-f", self.name()]), "fsfreeze");
        self.frozen = true;
    }

    /// Lets it answer again.
    pub fn thaw(&mut self) {
        assert!(run(&["fsfreeze", "-u", self.name()]), "fsfreeze");
        self.frozen = false;
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("a file");
        for bytes in [1 << 20, 4 << 10, 1 << 10] {
            let chunk = vec![b'x'; bytes];
            while file.write_all(&chunk).is_ok() && file.sync_data().is_ok() {}
        }
    }

    /// Takes away what filled it.
    pub fn empty(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    /// Lets an error befall it: from now on nothing can be written.
    pub fn fail(&self) {
        let remounted = run(&["mount", "-o", "remount,errors=remount-ro", self.name()]);
        assert!(remounted, "mount");
        let mut findmnt = Command::new("findmnt");
        let found = findmnt.args(["-no", "SOURCE", self.name()]).output();
        let found = String::from_utf8(found.expect("findmnt runs").stdout).expect("text");
        let device = found.trim().rsplit('/').next().unwrap_or_default();
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        fs::write(&trigger, "1").expect(&trigger);
    }

    /// Makes it good again, when nobody uses it any more.
    pub fn mend(&self) {
        let image = self.at.with_extension("image");
        let image = image.to_str().expect("text");
        assert!(run(&["umount", self.name()]), "umount");
        // It answers 1 when it mended something.
        run(&["e2fsck", "-fy", image]);
        let mounted = run(&["mount", "-o", "loop", image, self.name()]);
        assert!(mounted, "mount");
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.frozen {
            run(&["fsfreeze", "-u", self.name()]);
        }
        run(&["umount", "-l", self.name()]);
    }
}
