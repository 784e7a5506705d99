//! Many files: what is read and what it becomes. Who does it is in [`crew`], which files of a
//! tree are left out in [`filter`], what it comes to in [`tally`].

use crate::failure::Failure;
use crate::output::stale::is_temporary;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

pub(crate) mod crew;
pub(crate) mod filter;
pub(crate) mod tally;

use filter::Filter;

/// A file to read and the file it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}

/// What happens to names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Naming {
    /// Sealing: the suffix is added.
    Add(String),
    /// Opening: the suffix is taken off, and must be there.
    Strip(String),
    /// Sealing again: the name stays.
    Keep,
}

/// Where outputs go.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) naming: Naming,
    /// What of the trees is worked on.
    pub(crate) filter: Filter,
    /// A directory that the trees are rebuilt in; `None` is beside each input.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) recursive: bool,
}

/// One input of the command line and where its outputs begin.
#[derive(Debug)]
struct Root {
    from: PathBuf,
    /// What the input itself becomes, the suffix not considered.
    to: PathBuf,
}

/// What the walk yields.
#[derive(Debug)]
pub(crate) enum Item {
    /// A file to work on.
    File(Job),
    /// A directory, before what is in it, and what it becomes; only where outputs go elsewhere.
    Directory {
        to: PathBuf,
        /// It is rebuilt although it may stay empty.
        even_empty: bool,
    },
    /// A link, a device, a socket or a pipe.
    LeftOut,
    /// Half-written by a process like this one, which may live or not.
    Stale(PathBuf),
    /// It has failed already.
    Failed(PathBuf, Failure),
}

/// Everything that the inputs name, in their order. Directories are read as the walk comes to
/// them, in order of names, so that what is written beside the inputs is not walked into.
pub(crate) fn items(
    inputs: &[PathBuf],
    layout: &Layout,
) -> Result<impl Iterator<Item = Item> + Send + use<>, Failure> {
    let roots = roots(inputs, layout)?;
    let out = layout.directory.as_deref().and_then(identity);
    let (recursive, naming) = (layout.recursive, layout.naming.clone());
    let (beside, filter) = (layout.directory.is_none(), layout.filter.clone());
    let walk = move |root: Root| {
        let depth = if recursive { usize::MAX } else { 0 };
        let (from, kept) = (root.from.clone(), filter.clone());
        let entries = WalkDir::new(&root.from)
            .max_depth(depth)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(move |entry| {
                let below = || below(&from, entry.path());
                (kept.is_empty() || !kept.leaves_out(below(), entry.file_type().is_dir()))
                    && (out.is_none() || directory_identity(entry) != out)
            });
        let walked = Walked {
            root,
            recursive,
            beside,
            even_empty: !filter.is_selective(),
            naming: naming.clone(),
        };
        entries.filter_map(move |entry| walked.item(entry))
    };
    Ok(roots.into_iter().flat_map(walk))
}

/// One input as the walk comes by.
struct Walked {
    root: Root,
    recursive: bool,
    beside: bool,
    even_empty: bool,
    naming: Naming,
}

impl Walked {
    /// Nothing where an entry is no input: directories themselves and, beside their plaintexts,
    /// files that are sealed already. What the command line names itself is never passed over.
    fn item(&self, entry: walkdir::Result<DirEntry>) -> Option<Item> {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(unwalkable(&self.root, &error)),
        };
        let named = entry.depth() == 0;
        if entry.file_type().is_dir() || (named && entry.path().is_dir()) {
            return match (self.recursive, self.beside) {
                (false, _) => Some(directory(&entry)),
                (true, true) => None,
                (true, false) => Some(Item::Directory {
                    to: self.root.to_of(&entry),
                    even_empty: self.even_empty,
                }),
            };
        }
        if named {
            return Some(job(&self.root, &entry, &self.naming));
        }
        if !entry.file_type().is_file() {
            return Some(Item::LeftOut);
        }
        if is_temporary(entry.file_name()) {
            return self.beside.then(|| Item::Stale(entry.into_path()));
        }
        let sealed = match &self.naming {
            Naming::Add(suffix) => self.beside && stripped(entry.file_name(), suffix).is_some(),
            Naming::Strip(_) | Naming::Keep => false,
        };
        (!sealed).then(|| job(&self.root, &entry, &self.naming))
    }
}

impl Root {
    /// What `entry` becomes, the suffix not considered.
    fn to_of(&self, entry: &DirEntry) -> PathBuf {
        let below = below(&self.from, entry.path());
        match below.as_os_str().is_empty() {
            true => self.to.clone(),
            false => self.to.join(below),
        }
    }
}

/// The part of `path` that is below `root`.
fn below<'a>(root: &Path, path: &'a Path) -> &'a Path {
    path.strip_prefix(root).unwrap_or(Path::new(""))
}

/// Two inputs that would become the same output are refused before anything is written.
fn roots(inputs: &[PathBuf], layout: &Layout) -> Result<Vec<Root>, Failure> {
    let mut taken = BTreeSet::new();
    let mut roots = Vec::with_capacity(inputs.len());
    for from in inputs {
        if from.as_os_str() == "-" {
            return Err(Failure::usage(
                "stdin cannot be one of several inputs",
                "give stdin alone, with -o FILE or to stdout",
            ));
        }
        let to = match (&layout.directory, from.file_name()) {
            (None, _) => from.clone(),
            (Some(directory), Some(name)) => directory.join(name),
            (Some(directory), None) => directory.clone(),
        };
        let whole = layout.directory.as_ref() == Some(&to) && inputs.len() > 1;
        if whole || !taken.insert(to.clone()) {
            return Err(Failure::usage(
                format!(
                    "another input would be written to the place of {}",
                    from.display()
                ),
                "give such inputs one by one, with different output directories",
            ));
        }
        roots.push(Root {
            from: from.clone(),
            to,
        });
    }
    Ok(roots)
}

fn job(root: &Root, entry: &DirEntry, naming: &Naming) -> Item {
    let from = entry.path().to_path_buf();
    let mut to = root.to_of(entry);
    let name = to.file_name().unwrap_or_default().to_owned();
    match naming {
        Naming::Keep => {}
        Naming::Add(suffix) => {
            let mut longer = name;
            longer.push(suffix);
            to.set_file_name(longer);
        }
        Naming::Strip(suffix) => match stripped(&name, suffix) {
            Some(shorter) => to.set_file_name(shorter),
            None => {
                let what = format!("its name does not end with {suffix}");
                let hint = "name the output with -o, or the suffix with --suffix";
                return Item::Failed(from, Failure::usage(what, hint));
            }
        },
    }
    Item::File(Job { from, to })
}

/// `name` without `suffix`; a name that is nothing but the suffix does not have it.
fn stripped<'a>(name: &'a OsStr, suffix: &str) -> Option<&'a OsStr> {
    let shorter = name.as_bytes().strip_suffix(suffix.as_bytes())?;
    (!shorter.is_empty()).then(|| OsStr::from_bytes(shorter))
}

fn directory(entry: &DirEntry) -> Item {
    let failure = Failure::usage("this is a directory", "walk into directories with -r");
    Item::Failed(entry.path().to_path_buf(), failure)
}

fn unwalkable(root: &Root, error: &walkdir::Error) -> Item {
    let path = error.path().unwrap_or(&root.from).to_path_buf();
    let failure = match error.io_error() {
        Some(error) => Failure::io("read", &path.display().to_string(), error),
        None => Failure::usage(
            "a link leads back into its own tree",
            "give another directory",
        ),
    };
    Item::Failed(path, failure)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let of = |metadata: Metadata| (metadata.dev(), metadata.ino());
    std::fs::metadata(path).ok().map(of)
}

fn directory_identity(entry: &DirEntry) -> Option<(u64, u64)> {
    match entry.file_type().is_dir() {
        true => identity(entry.path()),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn layout(naming: Naming, directory: Option<&Path>) -> Layout {
        Layout {
            naming,
            filter: Filter::new(&[], &[]).unwrap(),
            directory: directory.map(Path::to_path_buf),
            recursive: true,
        }
    }

    fn wax() -> String {
        ".wax".into()
    }

    /// The items relative to `base`: files as `from>to`, directories as `to/`, failures as
    /// `from!`, what is stale as `path?`, what is left out as nothing.
    fn walked(inputs: &[PathBuf], layout: &Layout, base: &Path) -> Vec<String> {
        let short = |path: &Path| path.strip_prefix(base).unwrap().display().to_string();
        items(inputs, layout)
            .unwrap()
            .filter_map(|item| match item {
                Item::File(job) => Some(format!("{}>{}", short(&job.from), short(&job.to))),
                Item::Directory { to, .. } => Some(format!("{}/", short(&to))),
                Item::Failed(path, _) => Some(format!("{}!", short(&path))),
                Item::Stale(path) => Some(format!("{}?", short(&path))),
                Item::LeftOut => None,
            })
            .collect()
    }

    fn tree() -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("in/sub")).unwrap();
        for name in ["b", "a.wax", "sub/c", ".b.waxseal-abcdef.tmp"] {
            fs::write(base.path().join("in").join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("..", base.path().join("in/loop")).unwrap();
        std::os::unix::fs::symlink("b", base.path().join("in/link")).unwrap();
        base
    }

    #[test]
    fn beside_their_inputs_sealed_files_are_left_alone() {
        let base = tree();
        let inputs = [base.path().join("in")];
        let found = walked(&inputs, &layout(Naming::Add(wax()), None), base.path());
        assert_eq!(
            found,
            [
                "in/.b.waxseal-abcdef.tmp?",
                "in/b>in/b.wax",
                "in/sub/c>in/sub/c.wax"
            ]
        );
    }

    #[test]
    fn a_directory_gets_the_tree_and_is_not_walked_into() {
        let base = tree();
        let (inputs, out) = ([base.path().join("in")], base.path().join("in/out"));
        fs::create_dir(&out).unwrap();
        fs::write(out.join("z"), "x").unwrap();
        let found = walked(
            &inputs,
            &layout(Naming::Add(wax()), Some(&out)),
            base.path(),
        );
        assert_eq!(
            found,
            [
                "in/out/in/",
                "in/a.wax>in/out/in/a.wax.wax",
                "in/b>in/out/in/b.wax",
                "in/out/in/sub/",
                "in/sub/c>in/out/in/sub/c.wax"
            ]
        );
    }

    #[test]
    fn opening_takes_the_suffix_off() {
        let base = tree();
        let inputs = [base.path().join("in")];
        let found = walked(&inputs, &layout(Naming::Strip(wax()), None), base.path());
        assert_eq!(
            found,
            [
                "in/.b.waxseal-abcdef.tmp?",
                "in/a.wax>in/a",
                "in/b!",
                "in/sub/c!"
            ]
        );
        assert_eq!(stripped(OsStr::new(".wax"), ".wax"), None);
    }

    #[test]
    fn a_directory_needs_recursion() {
        let base = tree();
        let flat = Layout {
            recursive: false,
            ..layout(Naming::Add(wax()), None)
        };
        let inputs = [base.path().join("in"), base.path().join("in/b")];
        assert_eq!(
            walked(&inputs, &flat, base.path()),
            ["in!", "in/b>in/b.wax"]
        );
    }

    #[test]
    fn inputs_that_meet_are_refused() {
        let out = Path::new("out");
        let refused = |inputs: &[&str], directory| {
            let inputs: Vec<_> = inputs.iter().map(PathBuf::from).collect();
            items(&inputs, &layout(Naming::Add(wax()), directory)).is_err()
        };
        assert!(refused(&["a/x", "b/x"], Some(out)));
        assert!(refused(&["x", "x"], None));
        assert!(refused(&[".", "x"], Some(out)));
        assert!(refused(&["x", "-"], None));
        assert!(!refused(&["a/x", "b/y"], Some(out)));
        assert!(!refused(&["a/x", "b/x"], None));
    }
}
