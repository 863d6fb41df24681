//! Whether a release's program can be started at all: told before anything is touched for it.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use staith_model::{Entry, Manifest, RelPath};

use super::tree::is_executable;

/// As many links as Linux follows in one path.
const MOST_LINKS: usize = 40;
/// As many entries as fit a line.
const MOST_NAMED: usize = 8;
/// Where a program is looked for without a `PATH`, as the C library has it.
const USUAL_PATH: &str = "/bin:/usr/bin";

/// Why a release's program can't be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no program.
    #[error("the environment's `run` is empty; it needs a program")]
    Empty,
    /// The package has no such file.
    #[error("the package has no file `{program}`, which the environment is to run; {in_package}")]
    NotInPackage {
        /// The program, as `run` has it.
        program: String,
        /// What the package has instead, in words.
        in_package: String,
    },
    /// It is there, and is nothing that can be run.
    #[error("`{program}`, which the environment is to run, is {what}")]
    NotExecutable {
        /// The program, as `run` has it.
        program: String,
        /// What it is.
        what: String,
        /// Whether it is a file that merely lacks the permission.
        is_file: bool,
    },
    /// This machine has no such program.
    #[error(
        "this machine has no program `{program}`, which the environment is to run; it was looked for in {searched}"
    )]
    NotOnHost {
        /// The program, as `run` has it.
        program: String,
        /// Where it was looked for.
        searched: String,
    },
}

impl CommandError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Empty => "name a program in `run` of the environment in runner.toml".into(),
            Self::NotInPackage { .. } => {
                "correct `run` of the environment in runner.toml: it is looked up from the package's root; or correct what the package is made of and its root".into()
            }
            Self::NotExecutable { is_file: true, program, .. } => format!(
                "let the step that makes it (or git) mark `{program}` as executable (chmod +x), or let `run` name its interpreter first"
            ),
            Self::NotExecutable { .. } => "let `run` of the environment in runner.toml name a file".into(),
            Self::NotOnHost { program, .. } => format!(
                "install `{program}` on this machine, or name it by its path in the package, such as `./{program}`"
            ),
        }
    }

    /// Whether this machine lacks something, rather than the project.
    pub const fn is_of_the_host(&self) -> bool {
        matches!(self, Self::NotOnHost { .. })
    }
}

/// Checks that the program of `command` can be started: one with a `/` must be an executable file of the package (or,
/// with an absolute path, of this machine), any other must be found in `path`, the `PATH` that it will be given. Reads
/// no file's content; blocks for a few looks at the disk.
///
/// # Errors
/// [`CommandError`] says what is there instead; its [remedy](CommandError::remedy) what to do.
pub fn check_command(
    command: &[String],
    manifest: &Manifest,
    path: Option<&OsStr>,
) -> Result<(), CommandError> {
    let program = command.first().filter(|program| !program.is_empty()).ok_or(CommandError::Empty)?;
    if program.starts_with('/') {
        return on_host(program);
    }
    if program.contains('/') {
        return in_package(program, manifest);
    }
    let path = path.unwrap_or(OsStr::new(USUAL_PATH));
    let found = std::env::split_paths(path).any(|folder| match folder.is_absolute() {
        true => is_program(&folder.join(program)),
        // Looked up from where the program is started: in the release.
        false => folder.join(program).to_str().is_some_and(|text| in_package(text, manifest).is_ok()),
    });
    let searched = path.to_string_lossy().into_owned();
    if found { Ok(()) } else { Err(CommandError::NotOnHost { program: program.clone(), searched }) }
}

/// Whether a path is a file that somebody may execute.
pub(crate) fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| there.is_file() && is_executable(there.permissions().mode()))
}

fn on_host(program: &str) -> Result<(), CommandError> {
    let path = Path::new(program);
    if is_program(path) {
        return Ok(());
    }
    let program = program.to_owned();
    match fs::metadata(path) {
        Ok(there) if there.is_file() => {
            let what =
                format!("a file that nobody may execute (mode {:o})", there.permissions().mode() & 0o777);
            Err(CommandError::NotExecutable { program, what, is_file: true })
        }
        Ok(_) => Err(CommandError::NotExecutable { program, what: "no file".into(), is_file: false }),
        Err(_) => Err(CommandError::NotOnHost { program, searched: "that place".into() }),
    }
}

fn in_package(program: &str, manifest: &Manifest) -> Result<(), CommandError> {
    let place = follow(program, manifest);
    let entry = place.as_ref().and_then(|place| manifest.entries.get(place));
    let refused =
        |what: String, is_file| CommandError::NotExecutable { program: program.into(), what, is_file };
    match entry {
        Some(Entry::File { mode, .. }) if is_executable(*mode) => Ok(()),
        Some(Entry::File { mode, .. }) => {
            Err(refused(format!("a file of the package that nobody may execute (mode {mode:o})"), true))
        }
        Some(Entry::Directory) => Err(refused("a folder of the package".into(), false)),
        Some(Entry::Symlink { target }) => {
            Err(refused(format!("a link to `{target}`, which leads nowhere in the package"), false))
        }
        None if place.is_some_and(|place| is_folder(&place, manifest)) => {
            Err(refused("a folder of the package".into(), false))
        }
        None => Err(CommandError::NotInPackage {
            program: program.into(),
            in_package: instead_of(program, manifest),
        }),
    }
}

fn is_folder(place: &RelPath, manifest: &Manifest) -> bool {
    let inside = format!("{place}/");
    manifest.entries.keys().any(|path| path.as_str().starts_with(&inside))
}

/// The path that a program's name leads to, links of the package followed; `None` if it leads out of it.
fn follow(program: &str, manifest: &Manifest) -> Option<RelPath> {
    let mut ahead: VecDeque<String> = parts(program)?;
    let (mut place, mut links): (Vec<String>, _) = (Vec::new(), 0);
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            place.pop()?;
            continue;
        }
        place.push(part);
        let here = RelPath::try_from(place.join("/")).ok()?;
        if let Some(Entry::Symlink { target }) = manifest.entries.get(&here) {
            links += 1;
            if links > MOST_LINKS || target.starts_with('/') {
                return Some(here);
            }
            place.pop();
            let mut more = parts(target)?;
            more.append(&mut ahead);
            ahead = more;
        }
    }
    RelPath::try_from(place.join("/")).ok()
}

fn parts(path: &str) -> Option<VecDeque<String>> {
    let path = PathBuf::from(path);
    let parts = path.components().filter(|part| !matches!(part, Component::CurDir));
    parts.map(|part| part.as_os_str().to_str().map(str::to_owned)).collect()
}

/// What the package has that may be meant: files of a like name, else what lies at its root.
fn instead_of(program: &str, manifest: &Manifest) -> String {
    let wanted = program.rsplit('/').next().unwrap_or(program).to_lowercase();
    let is_like = |path: &RelPath| {
        let name = path.file_name().to_lowercase();
        name == wanted || stem(&name) == stem(&wanted) || name.contains(&wanted) || wanted.contains(&name)
    };
    let files = manifest.entries.iter().filter(|(_, entry)| !matches!(entry, Entry::Directory));
    let mut like: Vec<&str> =
        files.map(|(path, _)| path).filter(|path| is_like(path)).map(RelPath::as_str).collect();
    // What lies least deep is meant most likely.
    like.sort_by_key(|path| (path.matches('/').count(), *path));
    if !like.is_empty() {
        return format!("it has {}", listed(&like));
    }
    let mut root: Vec<&str> = manifest.entries.keys().map(|path| first_part(path.as_str())).collect();
    root.dedup();
    if root.is_empty() { "it is empty".into() } else { format!("at its root are {}", listed(&root)) }
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn first_part(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn listed(names: &[&str]) -> String {
    let mut words: Vec<String> = names.iter().take(MOST_NAMED).map(|name| format!("`{name}`")).collect();
    if names.len() > MOST_NAMED {
        words.push(format!("{} more", names.len() - MOST_NAMED));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{PackageFiles as _, samples::Tree};

    fn check(program: &str, path: Option<&str>) -> Result<(), CommandError> {
        let link = |target: &str| Entry::Symlink { target: target.into() };
        let tree = Tree::of(&[
            ("bin/server*", b"x"),
            ("bin/plain", b"x"),
            ("app.py", b"x"),
            ("tools/deep/app*", b"x"),
        ])
        .with("server", link("bin/../bin/server"))
        .with("round", link("round"))
        .with("here", link("bin"));
        check_command(&[program.to_owned()], tree.manifest(), path.map(OsStr::new))
    }

    #[test]
    fn programs_of_the_package_are_found_by_path_and_through_links() {
        for program in
            ["bin/server", "./bin/server", "./server", "bin/../server", "./here/server", "tools/deep/app"]
        {
            assert_eq!(check(program, None), Ok(()), "{program}");
        }
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let missing = check("target/release/server", None).unwrap_err();
        let text = missing.to_string();
        assert!(
            text.contains("`target/release/server`") && text.contains("it has `server`, `bin/server`"),
            "{text}"
        );
        assert!(missing.remedy().contains("runner.toml"));
        let text = check("./nothing-like-it", None).unwrap_err().to_string();
        assert!(text.contains("at its root are `app.py`, `bin`"), "{text}");
        for program in ["../bin/server", "bin/../../bin/server"] {
            assert!(matches!(check(program, None), Err(CommandError::NotInPackage { .. })), "{program}");
        }
    }

    #[test]
    fn what_can_not_be_executed_is_told_from_what_is_missing() {
        let plain = check("bin/plain", None).unwrap_err();
        assert!(plain.to_string().contains("mode 644") && plain.remedy().contains("chmod +x"), "{plain}");
        for (program, what) in
            [("./bin", "a folder"), ("./round", "a link to `round`"), ("./here", "a folder")]
        {
            let error = check(program, None).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn other_programs_are_looked_for_where_the_keeper_will() {
        assert_eq!(check("sh", Some("/nowhere:/bin")), Ok(()));
        assert_eq!(check("sh", None), Ok(()));
        assert_eq!(check("server", Some("/nowhere:bin")), Ok(()));
        let missing = check("sh", Some("/nowhere:bin")).unwrap_err();
        assert!(missing.is_of_the_host() && missing.to_string().contains("/nowhere:bin"), "{missing}");
        assert!(missing.remedy().contains("install `sh`"));
        assert_eq!(check("/bin/sh", None), Ok(()));
        assert!(matches!(check("/nowhere/sh", None), Err(CommandError::NotOnHost { .. })));
        assert!(matches!(check("/etc/passwd", None), Err(CommandError::NotExecutable { is_file: true, .. })));
        assert!(matches!(check("/etc", None), Err(CommandError::NotExecutable { is_file: false, .. })));
        assert_eq!(check("", None), Err(CommandError::Empty));
        assert_eq!(check_command(&[], &Manifest::default(), None), Err(CommandError::Empty));
    }
}
