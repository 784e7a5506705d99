//! The `waxseal` command: arguments in, exit code out.
//!
//! ```text
//! args ─► commands/* ─► input ─► (library) ─► output      one file, stdin to stdout
//!                   └─► tree: many files, some threads
//! failure: every error becomes an exit code, one line what, one line what to do
//! ```
//!
//! The meaning of formats and keys is in the libraries; here objects are built and handed over.

mod args;
mod clusters;
mod commands;
mod embedded;
mod failure;
mod input;
mod interrupt;
mod keys;
mod output;
mod progress;
mod report;
mod roots;
mod secrets;
mod shelter;
mod terminal;
mod tree;
mod world;

use clap::Parser;
use failure::Failure;
use report::Report;
use std::alloc::System;
use std::process::ExitCode;
use world::World;
use zeroizing_alloc::ZeroAlloc;

/// What is given back is wiped, whichever library had it.
#[global_allocator]
static HEAP: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    // A server insists on it; elsewhere what cannot be had is done without.
    let _ = shelter::conceal();
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let session = commands::Session {
        report: Report::new(args.global.json, args.global.quiet),
        kms: args.global.kms,
        world: World::read(),
    };
    match commands::run(args.command, &session) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            session.report.failure(&failure, None);
            failure.exit.into()
        }
    }
}

/// Help and version are no failure; everything else is exit code 2.
fn usage(error: &clap::Error) -> ExitCode {
    if error.exit_code() == 0 || !std::env::args_os().any(|argument| argument == "--json") {
        // Nothing is left to be told when the terminal cannot be written to.
        let _ = error.print();
        return match error.exit_code() {
            0 => ExitCode::SUCCESS,
            _ => failure::Exit::Usage.into(),
        };
    }
    let text = error.to_string();
    let what = text.lines().next().unwrap_or_default();
    let failure = Failure::usage(
        what.trim_start_matches("error: "),
        "see waxseal --help for the commands and their options",
    );
    Report::new(true, false).failure(&failure, None);
    failure.exit.into()
}
