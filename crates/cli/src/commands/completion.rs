//! `waxseal completion`: a script for a shell.

use crate::args::{Args, Completion};
use crate::failure::Failure;
use clap::CommandFactory;
use std::io::Write;

/// Prints the script. It is made in memory first: the generator panics when a pipe is closed.
pub(super) fn run(args: &Completion) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "waxseal", &mut script);
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(&script).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::io("write", "stdout", &error))
}
