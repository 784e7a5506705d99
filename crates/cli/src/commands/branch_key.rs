//! `waxseal branch-key`: the branch keys of the hierarchical keyring, in a folder.

use super::Session;
use crate::args::BranchKey;
use crate::failure::{Exit, Failure};
use crate::keys;
use crate::keys::branch_files::{BranchFiles, is_id, not_an_id};
use crate::terminal::plain;
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use waxseal_core::keyring::branch_key::{BranchKeyRows as _, BranchKeyVersion, WrappedBranchKeys};

/// Runs one of the commands.
pub(super) fn run(command: BranchKey, session: &Session) -> Result<(), Failure> {
    match command {
        BranchKey::Create { store, wrap, id } => {
            let id = id.map_or_else(|| fresh_id(session), Ok)?;
            let keys = open(&store, &wrap, &id, session)?;
            let entropy = session.world.entropy.as_ref();
            let version = pollster::block_on(keys.create(&id, &now()?, entropy))?;
            tell(&id, version, session)
        }
        BranchKey::Rotate { store, wrap, id } => {
            let keys = open(&store, &wrap, &id, session)?;
            let entropy = session.world.entropy.as_ref();
            let version = pollster::block_on(keys.rotate(&id, &now()?, entropy))?;
            tell(&id, version, session)
        }
        BranchKey::List { store } => list(&store, session),
    }
}

fn open(
    store: &Path,
    wrap: &[String],
    id: &str,
    session: &Session,
) -> Result<WrappedBranchKeys, Failure> {
    if !is_id(id) {
        return Err(not_an_id(id));
    }
    let wrapping = keys::for_sealing(&session.keys(wrap), &session.world)?;
    let files = Arc::new(BranchFiles::new(store));
    Ok(WrappedBranchKeys::new(files, wrapping))
}

fn list(store: &Path, session: &Session) -> Result<(), Failure> {
    let files = BranchFiles::new(store);
    for id in files.ids()? {
        let active = files.read(&id, None).map_err(|what| {
            Failure::configuration(what, "put the file back as it was, or rotate the key")
        })?;
        let active = active.map(|row| row.version);
        for row in files.versions(&id)? {
            let is_active = active == Some(row.version);
            let providers: Vec<_> = row.encrypted.iter().map(|key| &key.provider_id).collect();
            if session.report.json {
                let version = row.version.to_string();
                let item = json!({"id": id, "version": version, "active": is_active,
                    "created": row.created, "wrapped_by": providers});
                session.report.item(&item, false);
                continue;
            }
            let state = if is_active { "active" } else { "" };
            let line = format!("{id}  {}  {}  {state}", row.version, row.created);
            print(line.trim_end());
        }
    }
    Ok(())
}

/// What was made.
fn tell(id: &str, version: BranchKeyVersion, session: &Session) -> Result<(), Failure> {
    match session.report.json {
        true => {
            let item = json!({"id": id, "version": version.to_string()});
            session.report.item(&item, false);
        }
        false => print(&format!("{id}  {version}")),
    }
    Ok(())
}

/// A reader that has gone does not want the rest.
fn print(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{}", plain(line)));
}

/// A UUID of version 4, as versions are.
fn fresh_id(session: &Session) -> Result<String, Failure> {
    let fresh = BranchKeyVersion::random(session.world.entropy.as_ref());
    fresh.map(|uuid| uuid.to_string()).map_err(|error| {
        let what = error.to_string();
        Failure::new(Exit::Io, what, "nothing was made; try again")
    })
}

fn now() -> Result<String, Failure> {
    OffsetDateTime::now_utc().format(&Rfc3339).map_err(|error| {
        Failure::configuration(format!("the clock shows no time: {error}"), "set the clock")
    })
}
