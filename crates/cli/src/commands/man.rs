//! `waxseal man`: the manual pages, from the same declarations as `--help`.

use crate::args::{Args, Man};
use crate::failure::Failure;
use clap::CommandFactory;
use std::io::Write;

/// Prints the page.
pub(super) fn run(args: &Man) -> Result<(), Failure> {
    let page = page(args.command.as_deref())?;
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(&page).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::io("write", "stdout", &error))
}

fn page(name: Option<&str>) -> Result<Vec<u8>, Failure> {
    let mut whole = Args::command();
    whole.build();
    let command = match name {
        None => whole,
        Some(name) => whole.find_subcommand(name).cloned().ok_or_else(|| {
            Failure::usage(
                format!("'{name}' is no command"),
                "see waxseal --help for the commands",
            )
        })?,
    };
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.map_err(|error| Failure::io("make", "the page", &error))?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn the_page_has_every_exit_code() {
        let page = String::from_utf8(page(None).unwrap()).unwrap();
        for exit in [
            Exit::Usage,
            Exit::Unauthentic,
            Exit::AccessDenied,
            Exit::KeyState,
            Exit::Unreachable,
            Exit::Context,
            Exit::Policy,
            Exit::Io,
            Exit::Configuration,
        ] {
            let line = format!("{:>4}  ", exit as u8);
            assert!(page.lines().any(|text| text.starts_with(&line)), "{exit:?}");
        }
    }

    #[test]
    fn every_command_has_a_page() {
        for command in Args::command().get_subcommands() {
            assert!(!page(Some(command.get_name())).unwrap().is_empty());
        }
        assert_eq!(page(Some("no")).unwrap_err().exit, Exit::Usage);
    }
}
