//! What the conformance suites share: the built program, fresh worlds to run it in, chance that
//! can be repeated, and the vectors of others.
//!
//! The suites in `tests/` hold promises that cross crates: processes side by side, kills at any
//! moment, hostile and hopeless input, secrets that stay secret, files of older versions. Each
//! prints what it found as `promise NAME: FIGURE`.
//!
//! They run the program that `WAXSEAL` names, else the one that was built beside them
//! (`target/release/waxseal`). `WAXSEAL_LONG=1` makes the campaigns ten times as long.
// Support for tests: a failed expectation here is a failed test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

pub mod dice;
pub mod disk;
pub mod engines;
pub mod inputs;
pub mod manifest;
pub mod opening;
pub mod policies;
pub mod program;
pub mod refusal;
pub mod rights;
pub mod served;
pub mod server;
pub mod vectors;
pub mod world;

pub use dice::Dice;
pub use program::Ran;
pub use served::Served;
pub use server::{Client, Server};
pub use world::World;

/// Prints a promise and the figure that it was held with; and puts it into a file of its own in the
/// folder that `WAXSEAL_PROMISES` names, where `conformance/promises` finds it for the table in
/// `docs/security.md`.
pub fn promise(name: &str, figure: impl std::fmt::Display) {
    println!("promise {name}: {figure}");
    let Some(folder) = std::env::var_os("WAXSEAL_PROMISES").filter(|folder| !folder.is_empty())
    else {
        return;
    };
    let folder = std::path::Path::new(&folder);
    std::fs::create_dir_all(folder).unwrap();
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    let file = name.chars().map(plain).collect::<String>();
    std::fs::write(folder.join(file), format!("{name}\t{figure}\n")).unwrap();
}

/// A figure of the promises: that of every run, or with `WAXSEAL_LONG` the long one.
pub fn tier(short: usize, long: usize) -> usize {
    match std::env::var_os("WAXSEAL_LONG") {
        Some(set) if !set.is_empty() => long,
        _ => short,
    }
}

/// `n`, or ten times as many when `WAXSEAL_LONG` is set.
pub fn campaign(n: usize) -> usize {
    match std::env::var_os("WAXSEAL_LONG") {
        Some(long) if !long.is_empty() => n * 10,
        _ => n,
    }
}
