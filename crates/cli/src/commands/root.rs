//! `waxseal root`: what the embedded KMS hangs from.

use super::Session;
use crate::args::Root;
use crate::embedded;
use crate::failure::Failure;
use crate::roots::{Named, Roots, wanted};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use waxseal_kms::home::{
    HomeError, RootSource as _, Tried, add_root, exchange_root, init, migrate_root, remove_root,
    roots_of, try_roots,
};
use waxseal_kms::root::RootKind;

/// Runs one of the commands.
pub(super) fn run(command: Root, session: &Session) -> Result<(), Failure> {
    let world = &session.world;
    let directory = embedded::directory(world)?;
    let roots = Arc::new(Roots::of(world)?.handing_out());
    let entropy = world.entropy.clone();
    let failed = |error: HomeError| embedded::failure(&error, directory);
    match command {
        Root::Status => status(directory, roots, session),
        Root::Init { roots: names } => {
            let wanted = match names.is_empty() {
                true => roots.wanted(),
                false => wanted(&names)?,
            };
            let made = init(directory, &embedded::place(), roots, &wanted, entropy);
            hangs(&made.map_err(failed)?, session)
        }
        Root::Add { root } => {
            for wanted in wanted(&[root])? {
                add_root(directory, roots.clone(), &wanted, entropy.clone()).map_err(failed)?;
            }
            hangs(&roots_of(directory).map_err(failed)?, session)
        }
        Root::Remove { root } => {
            let there = roots_of(directory).map_err(failed)?;
            let gone = one_of(&there, &root)?;
            remove_root(directory, roots, gone, entropy).map_err(failed)?;
            hangs(&roots_of(directory).map_err(failed)?, session)
        }
        Root::Rotate { root: None } => rotate(session),
        Root::Rotate { root: Some(root) } => {
            let there = roots_of(directory).map_err(failed)?;
            let one = one_of(&there, &root)?;
            exchange_root(directory, roots, one, entropy).map_err(failed)?;
            hangs(&roots_of(directory).map_err(failed)?, session)
        }
        Root::Migrate { to } => {
            let made = migrate_root(directory, roots, &wanted(&to)?, entropy);
            hangs(&made.map_err(failed)?, session)
        }
    }
}

/// A new domain key.
fn rotate(session: &Session) -> Result<(), Failure> {
    let world = &session.world;
    let directory = embedded::directory(world)?;
    if roots_of(directory).is_ok_and(|roots| roots.is_empty()) {
        return Err(Failure::usage(
            "there is no store yet",
            "it is made on first use",
        ));
    }
    let home = embedded::open(world)?;
    let rows = home
        .rotate_domain_key(&|_, _| {})
        .map_err(|error| embedded::failure(&error, directory))?;
    session.tell(
        &format!("the store has a new domain key; {rows} rows were sealed anew"),
        || json!({ "rows": rows }),
    )
}

/// Tries them, and shows what came of it. That none opens the store is an error.
fn status(directory: &Path, roots: Arc<Roots>, session: &Session) -> Result<(), Failure> {
    let failed = |error: HomeError| embedded::failure(&error, directory);
    if roots_of(directory).map_err(failed)?.is_empty() {
        let told = "there is no store yet; it is made on first use";
        return session.tell(told, || json!({ "kind": null }));
    }
    let tried = try_roots(directory, roots, session.world.entropy.clone()).map_err(failed)?;
    let mut failures = Vec::new();
    let mut opens = false;
    for (index, Tried { root, outcome }) in tried.into_iter().enumerate() {
        let number = index + 1;
        let (words, is_open, error) = match outcome {
            Some(Ok(())) => ("it opens the store".to_owned(), Some(true), None),
            Some(Err(error)) => (error.to_string(), Some(false), Some(error)),
            None => ("not tried: it is asked for".to_owned(), None, None),
        };
        opens |= is_open == Some(true);
        session.tell(&format!("{number}  {root}: {words}"), || {
            let error = error.as_ref().map(ToString::to_string);
            let state = json!({ "number": number, "opens": is_open, "error": error });
            merged(value(&root), state)
        })?;
        failures.extend(error.map(|error| (root, error)));
    }
    match (opens, failures.len()) {
        (true, _) => Ok(()),
        (false, 1) => Err(failed(failures.swap_remove(0).1)),
        (false, _) => Err(failed(HomeError::NoRoot(failures))),
    }
}

/// The root that `named` means: its number, or its name where only one fits.
fn one_of<'k>(kinds: &'k [RootKind], named: &str) -> Result<&'k RootKind, Failure> {
    let hint = "give the number that waxseal root status shows";
    if let Ok(number) = named.parse::<usize>() {
        let found = number.checked_sub(1).and_then(|index| kinds.get(index));
        return found.ok_or_else(|| Failure::usage(format!("there is no root {number}"), hint));
    }
    let name = Named::parse(named)?;
    let mut fitting = kinds.iter().filter(|kind| name.fits(kind));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Failure::usage(
            format!("'{named}' fits several roots"),
            hint,
        )),
        (None, _) => Err(Failure::usage(
            format!("the store does not hang from '{named}'"),
            hint,
        )),
    }
}

fn hangs(kinds: &[RootKind], session: &Session) -> Result<(), Failure> {
    let words: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    let line = format!("the store hangs from {} now", words.join(", and from "));
    session.tell(
        &line,
        || json!({ "roots": kinds.iter().map(value).collect::<Vec<_>>() }),
    )
}

fn value(root: &RootKind) -> Value {
    match root {
        RootKind::File => json!({ "kind": "file" }),
        RootKind::Passphrase { memory_kib, .. } => {
            json!({ "kind": "passphrase", "memoryKib": memory_kib })
        }
        RootKind::Shares { need, of, .. } => json!({ "kind": "shares", "need": need, "of": of }),
        RootKind::Pkcs11 { serial, object } => {
            json!({ "kind": "pkcs11", "serial": serial, "object": object })
        }
        RootKind::Kms { key } => json!({ "kind": "kms", "key": key }),
    }
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Some(one), Value::Object(other)) = (one.as_object_mut(), other) {
        one.extend(other);
    }
    one
}
