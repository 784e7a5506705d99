//! `waxseal backup` and `waxseal restore`: the data directory, to a file and back.

use super::Session;
use crate::args::{Backup, Restore};
use crate::embedded;
use crate::failure::{Exit, Failure};
use crate::output::{Content, Output};
use serde_json::json;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use waxseal_kms::backup::{self, BackupError, Manifest};
use waxseal_kms::root::RootKind;

/// Copies the data directory.
pub(super) fn backup(args: &Backup, session: &Session) -> Result<(), Failure> {
    let world = &session.world;
    let directory = embedded::directory(world)?;
    let mut output = Output::open(
        args.output.as_deref(),
        Content::Ciphertext,
        true,
        None,
        world,
    )?;
    let manifest = backup::backup(directory, &mut output).map_err(|error| failure(&error))?;
    output.complete()?.commit()?;
    // Stdout may be the archive.
    session.report.note(&words("copied", &manifest));
    Ok(())
}

/// Makes the data directory from a copy.
pub(super) fn restore(args: &Restore, session: &Session) -> Result<(), Failure> {
    let directory = embedded::directory(&session.world)?;
    let name = args.archive.display().to_string();
    let mut archive: Box<dyn Read> = if args.archive == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(&args.archive);
        let file = file.map_err(|error| Failure::io("read", &name, &error))?;
        Box::new(BufReader::new(file))
    };
    let made = match args.check {
        true => backup::check(&mut archive, directory),
        false => backup::restore(&mut archive, directory),
    };
    let manifest = made.map_err(|error| failure(&error))?;
    let what = if args.check { "whole" } else { "restored" };
    session.tell(&words(what, &manifest), || {
        json!({
            "restored": !args.check,
            "records": manifest.records,
            "head": manifest.head,
        })
    })
}

fn words(what: &str, manifest: &Manifest) -> String {
    let root = |root: &RootKind| match root {
        RootKind::File => "the root.key of its data directory, which is not in it".to_owned(),
        RootKind::Passphrase { .. } => "its passphrase".to_owned(),
        elsewhere => elsewhere.to_string(),
    };
    let roots: Vec<String> = manifest.roots.iter().map(root).collect();
    let roots = roots.join(", or ");
    let Manifest { records, head, .. } = manifest;
    format!("{what}: {records} records, head {head}; it opens with {roots}")
}

fn failure(error: &BackupError) -> Failure {
    let what = error.to_string();
    match error {
        BackupError::Damaged(_) | BackupError::Verify(_) => Failure::new(
            Exit::Unauthentic,
            what,
            "nothing was restored: take another copy",
        ),
        BackupError::Occupied(_) => Failure::usage(
            what,
            "name another directory with WAXSEAL_HOME, or move the one there is away",
        ),
        BackupError::NoHome(_) => Failure::configuration(
            what,
            "set WAXSEAL_HOME to the data directory that is to be copied",
        ),
        _ => Failure::new(Exit::Io, what, "check disk and permissions"),
    }
}
