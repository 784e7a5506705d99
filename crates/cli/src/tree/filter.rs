//! `--include` and `--exclude`: which files of a tree are worked on.
//!
//! A pattern is held against names below the directory that the command line names, which itself
//! (as any file that is named there) is never left out:
//!
//! ```text
//! *.jpg        no '/': the name of a file or directory, at any depth
//! /a/*.jpg     a '/' at the beginning or inside: the path from the named directory on
//! cache/       a '/' at the end: directories only
//! ```
//!
//! `*`, `?` and `[a-z]` match within a name, leading dots too; `**` matches any number of
//! directories; `{a,b}` is either. Upper and lower case differ. A directory that is excluded is
//! not entered. Where there are includes, a file must match one, or lie below a directory that
//! does. Excludes win, whatever the order.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::path::Path;
use std::str::FromStr;

/// One pattern, as it was typed.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    glob: globset::Glob,
    /// Held against the whole path below the named directory, not the last name of it.
    is_path: bool,
    directories_only: bool,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, directories_only) = match text.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let is_path = rest.contains('/');
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        if rest.is_empty() {
            return Err("a pattern names something: '*.jpg', 'cache/', '/a/**/b'".into());
        }
        let glob = GlobBuilder::new(rest)
            .literal_separator(true)
            .backslash_escape(true)
            .build();
        Ok(Self {
            glob: glob.map_err(|error| error.kind().to_string())?,
            is_path,
            directories_only,
        })
    }
}

/// All patterns of one kind.
#[derive(Debug, Clone)]
struct Patterns {
    names: GlobSet,
    paths: GlobSet,
    directory_names: GlobSet,
    directory_paths: GlobSet,
}

impl Patterns {
    fn new(patterns: &[Pattern]) -> Result<Self, String> {
        let set = |is_path: bool, directories_only: bool| {
            let mut set = GlobSetBuilder::new();
            for pattern in patterns {
                if (pattern.is_path, pattern.directories_only) == (is_path, directories_only) {
                    set.add(pattern.glob.clone());
                }
            }
            set.build().map_err(|error| error.to_string())
        };
        Ok(Self {
            names: set(false, false)?,
            paths: set(true, false)?,
            directory_names: set(false, true)?,
            directory_paths: set(true, true)?,
        })
    }

    fn is_empty(&self) -> bool {
        let sets = [
            &self.names,
            &self.paths,
            &self.directory_names,
            &self.directory_paths,
        ];
        sets.iter().all(|set| set.is_empty())
    }

    fn matches(&self, below: &Path, is_directory: bool) -> bool {
        let name = below.file_name().map(Path::new).unwrap_or(below);
        self.names.is_match(name)
            || self.paths.is_match(below)
            || (is_directory
                && (self.directory_names.is_match(name) || self.directory_paths.is_match(below)))
    }
}

/// What is worked on.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
}

impl Filter {
    /// From what was typed.
    ///
    /// # Errors
    /// A text: the patterns together are too large.
    pub(crate) fn new(include: &[Pattern], exclude: &[Pattern]) -> Result<Self, String> {
        let some =
            |patterns| Patterns::new(patterns).map(|set| Some(set).filter(|set| !set.is_empty()));
        Ok(Self {
            include: some(include)?,
            exclude: some(exclude)?,
        })
    }

    /// Whether only some files are worked on, so that a directory may stay without any.
    pub(crate) fn is_selective(&self) -> bool {
        self.include.is_some()
    }

    /// Whether nothing is left out.
    pub(crate) fn is_empty(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// Whether what is at `below`, counted from the named directory, is left out. That of a
    /// directory is decided before what is in it is looked at.
    pub(crate) fn leaves_out(&self, below: &Path, is_directory: bool) -> bool {
        if below.as_os_str().is_empty() {
            return false;
        }
        let matches = |set: &Option<Patterns>, path: &Path, is_directory| {
            set.as_ref()
                .is_some_and(|set| set.matches(path, is_directory))
        };
        if matches(&self.exclude, below, is_directory) {
            return true;
        }
        if is_directory || self.include.is_none() {
            return false;
        }
        let mut directories = below.ancestors().skip(1);
        !matches(&self.include, below, false)
            && !directories
                .any(|path| !path.as_os_str().is_empty() && matches(&self.include, path, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let parsed = |texts: &[&str]| -> Vec<Pattern> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        Filter::new(&parsed(include), &parsed(exclude)).unwrap()
    }

    fn kept(filter: &Filter, files: &[&str]) -> Vec<String> {
        let left_out = |file: &str| {
            let path = Path::new(file);
            let mut above: Vec<_> = path.ancestors().skip(1).collect();
            above.reverse();
            above.iter().any(|path| filter.leaves_out(path, true)) || filter.leaves_out(path, false)
        };
        let files = files.iter().filter(|file| !left_out(file));
        files.map(|file| (*file).to_owned()).collect()
    }

    const FILES: &[&str] = &[
        "a.jpg",
        "a/b.jpg",
        "a/b/c.jpg",
        "a/x.txt",
        "cache/.t",
        "z/cache",
    ];

    #[test]
    fn patterns_without_a_slash_are_about_names() {
        assert_eq!(
            kept(&filter(&["*.jpg"], &[]), FILES),
            ["a.jpg", "a/b.jpg", "a/b/c.jpg"]
        );
        assert_eq!(kept(&filter(&[], &["*"]), FILES), [""; 0]);
        assert_eq!(
            kept(&filter(&[], &["b", "*.txt", "cache"]), FILES),
            ["a.jpg", "a/b.jpg"]
        );
        assert_eq!(
            kept(&filter(&["?.jp[a-g]"], &["c.*"]), FILES),
            ["a.jpg", "a/b.jpg"]
        );
    }

    #[test]
    fn patterns_with_a_slash_are_about_paths() {
        assert_eq!(kept(&filter(&["/*.jpg"], &[]), FILES), ["a.jpg"]);
        assert_eq!(kept(&filter(&["a/*.jpg"], &[]), FILES), ["a/b.jpg"]);
        assert_eq!(
            kept(&filter(&["a/**/*.jpg"], &[]), FILES),
            ["a/b.jpg", "a/b/c.jpg"]
        );
        assert_eq!(kept(&filter(&["b/*"], &[]), FILES), [""; 0]);
        assert_eq!(kept(&filter(&["**/b/*"], &[]), FILES), ["a/b/c.jpg"]);
    }

    #[test]
    fn a_slash_at_the_end_means_directories() {
        assert_eq!(
            kept(&filter(&[], &["cache/", "a/b/"]), FILES),
            ["a.jpg", "a/b.jpg", "a/x.txt", "z/cache"]
        );
        assert_eq!(
            kept(&filter(&["cache/", "/a/b"], &[]), FILES),
            ["a/b/c.jpg", "cache/.t"]
        );
    }

    #[test]
    fn excludes_win_and_alternatives_work() {
        assert_eq!(
            kept(&filter(&["*.{jpg,txt}"], &["b*"]), FILES),
            ["a.jpg", "a/x.txt"]
        );
        assert!(!filter(&["x"], &["*"]).leaves_out(Path::new(""), true));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "/", "[", "{a", "a[z-a]"] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }
}
