//! Where to read and where to write: one file, or many.

use super::values::suffix;
use crate::tree::filter::Pattern;
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;

/// Where to read and where to write.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Files {
    /// Files to read; none or '-' is stdin
    #[arg(value_name = "IN")]
    pub(crate) inputs: Vec<PathBuf>,
    /// File, or directory for several files; '-' is stdout [default: stdout for one input]
    ///
    /// A file gets its name, and mode 0600, when it is complete and synced. An existing file is
    /// replaced on success and never touched on failure; a symbolic link keeps pointing to the
    /// file, which is replaced. Plaintext that is no short text goes onto a terminal only with
    /// '-o -'; ciphertext never does.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// Walk into directories, and rebuild them under -o. Symbolic links in them are not followed
    ///
    /// What is below IN/ goes to OUT/IN/, empty directories too; new directories have mode 0700.
    /// Links, devices, sockets and pipes in a tree are left out and counted; a link that is named
    /// as IN is followed. Without -o, outputs are written beside the inputs, and files that end
    /// with the suffix are not encrypted again.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// With -r: only files that match, or lie in a directory that matches; repeatable
    ///
    /// GLOB is held against names below IN, as they are read. Without a '/' it is a name at any
    /// depth: '*.jpg'. With one it is a path from IN on: '/a/*.jpg', 'a/**/b'. With one at the end
    /// it matches directories only: 'cache/'. '*', '?' and '[a-z]' match within a name, leading
    /// dots too, '**' any number of directories, '{a,b}' either. Directories in which nothing
    /// matches are not rebuilt.
    #[arg(long, value_name = "GLOB", requires = "recursive")]
    pub(crate) include: Vec<Pattern>,
    /// With -r: not what matches, whatever --include says; directories are not entered; repeatable
    #[arg(long, value_name = "GLOB", requires = "recursive")]
    pub(crate) exclude: Vec<Pattern>,
    /// Leave alone what an earlier run has done: 'quick' or, byte for byte, 'verify'
    ///
    /// For instance after an interruption: outputs appear only when they are complete. 'quick'
    /// (also --skip-done alone) takes an output for done when it was written after the input last
    /// changed, its header is authentic under the keys and context given, and the lengths fit to
    /// the byte. 'verify' decrypts all of it and compares. What is not proved done is done again.
    /// Messages in base64, direct and secretbox are always compared.
    #[arg(
        long,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "quick"
    )]
    pub(crate) skip_done: Option<SkipDone>,
    /// Only tell which files would be written: one line, or with --json one object, a file
    ///
    /// Nothing is made, written or asked of a key service, except to open headers for
    /// --skip-done. The exit code is that of the run where it can be known before.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Files worked on at once, or threads for one file, 1 to 64 [default: the number of cores,
    /// at most 16]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    /// What is added to names when encrypting and taken off when decrypting [default: .wax]
    #[arg(long, value_name = "SUFFIX", value_parser = suffix)]
    pub(crate) suffix: Option<String>,
    /// Do not wait until outputs are on the disk: faster, but a power cut may lose them
    #[arg(long)]
    pub(crate) no_sync: bool,
}

/// `--skip-done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SkipDone {
    /// Written after the input changed, header authentic, lengths right
    Quick,
    /// Decrypted and compared
    Verify,
}
