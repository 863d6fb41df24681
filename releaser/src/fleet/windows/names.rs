//! Which names and lengths Windows takes, and how arguments are quoted for it. Pure.

use std::{collections::BTreeMap, fmt};

use staith_model::{Entry, Manifest};
use staith_packager::web_deploy::portable::{NameFlaw, flaw, fold};

/// The longest path that IIS and most programs take, in UTF-16 units; without the 0 at its end.
const LONGEST_FILE: usize = 259;
/// A folder has to leave room for a short name in it.
const LONGEST_FOLDER: usize = 247;

/// Why a release can't be put on a Windows machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    Name { path: String, flaw: NameFlaw },
    Same { one: String, other: String },
    Link { path: String },
    Long { path: String, units: usize },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { path, flaw } => write!(f, "`{}`: {flaw}", path.escape_debug()),
            Self::Same { one, other } => write!(f, "`{one}` and `{other}` are one file on Windows"),
            Self::Link { path } => {
                write!(f, "`{path}` is a symbolic link, which a Windows machine does not get")
            }
            Self::Long { path, units } => {
                write!(f, "`{path}` would be {units} characters long on Windows, and 259 is the most")
            }
        }
    }
}

impl Unfit {
    pub(super) const fn remedy(&self) -> &'static str {
        match self {
            Self::Name { .. } | Self::Same { .. } => "rename it in what the package is made of",
            Self::Link { .. } => "let the step that makes the package copy what the link leads to",
            Self::Long { .. } => "give the environment a shorter `folder`, such as C:/s, or shorten the path",
        }
    }
}

/// Looks at every path of a release before anything is sent.
pub(super) fn check(manifest: &Manifest, folder: &str) -> Result<(), Unfit> {
    let before = units(folder) + r"\releases\".len() + 64 + 1;
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (path, entry) in &manifest.entries {
        let text = path.as_str();
        if let Some(flaw) = text.split('/').find_map(flaw) {
            return Err(Unfit::Name { path: text.into(), flaw });
        }
        let most = match entry {
            Entry::Symlink { .. } => return Err(Unfit::Link { path: text.into() }),
            Entry::File { .. } => LONGEST_FILE,
            Entry::Directory => LONGEST_FOLDER,
        };
        let units = before + units(text);
        if units > most {
            return Err(Unfit::Long { path: text.into(), units });
        }
        if let Some(other) = seen.insert(fold(text), text) {
            return Err(Unfit::Same { one: other.into(), other: text.into() });
        }
    }
    Ok(())
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A program as Windows starts it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: String,
    /// Whether the name is a path within the release.
    pub(super) inside: bool,
    /// One text, quoted.
    pub(super) arguments: String,
}

/// How a hook's command is started. A program with a `/` is a file of the release, as everywhere; `.ps1` is run by PowerShell. A batch
/// file is run by `cmd.exe`, whose quoting can't be made safe, so it gets plain arguments only.
pub(super) fn program(command: &[String]) -> Result<Program, String> {
    let Some((name, arguments)) = command.split_first().filter(|(name, _)| !name.is_empty()) else {
        return Err("has no command".into());
    };
    let absolute = name.starts_with('/') || name.as_bytes().get(1) == Some(&b':');
    let inside = name.contains('/') && !absolute;
    let path = name.trim_start_matches("./").replace('/', "\\");
    let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    if matches!(ending.as_str(), "cmd" | "bat") {
        let special = |c: char| "\"%!^&|<>()".contains(c) || c.is_control();
        if let Some(bad) = arguments.iter().find(|argument| argument.contains(special)) {
            return Err(format!(
                "is a batch file and gets `{}`, which cmd.exe would not take as it is",
                bad.escape_debug()
            ));
        }
    }
    let arguments = arguments.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ");
    if ending == "ps1" {
        // A path without a drive is looked for in the folder that the program is started in, which is the release's.
        let arguments = format!(
            "-NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File {} {arguments}",
            quoted(&path)
        );
        let arguments = arguments.trim_end().to_owned();
        return Ok(Program { name: "powershell.exe".into(), inside: false, arguments });
    }
    Ok(Program { name: path, inside, arguments })
}

/// One argument, as `CommandLineToArgvW` and the C library take lines apart: backslashes are doubled before a quote, and only there.
fn quoted(argument: &str) -> String {
    if !argument.is_empty() && !argument.contains([' ', '\t', '\n', '\u{b}', '"']) {
        return argument.to_owned();
    }
    let mut text = String::from("\"");
    let mut backslashes = 0;
    for c in argument.chars() {
        if c == '"' {
            text.extend(std::iter::repeat_n('\\', backslashes + 1));
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        text.push(c);
    }
    text.extend(std::iter::repeat_n('\\', backslashes));
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use staith_model::Digest;

    fn tree(paths: &[&str]) -> Manifest {
        let file = || Entry::File { mode: 0o644, size: 0, digest: Digest::of(b"") };
        let entries = paths.iter().map(|path| ((*path).try_into().unwrap(), file()));
        Manifest { entries: entries.collect() }
    }

    #[test]
    fn what_windows_would_not_hold_is_refused_before_anything_is_sent() {
        let folder = "C:\\srv\\shop";
        assert_eq!(check(&tree(&["web.config", "bin/App.dll"]), folder), Ok(()));
        let refused = |paths: &[&str]| check(&tree(paths), folder).unwrap_err().to_string();
        assert!(refused(&["a/con.txt"]).contains("device"));
        assert!(refused(&["a:b"]).contains("hold"));
        assert!(refused(&["end. "]).contains("drops"));
        assert!(refused(&["Web.config", "web.config"]).contains("one file"));
        let long = format!("{}/a.txt", "x".repeat(170));
        assert!(refused(&[&long]).contains("262 characters"), "{}", refused(&[&long]));
        let mut linked = tree(&[]);
        linked.entries.insert("l".try_into().unwrap(), Entry::Symlink { target: "x".into() });
        assert!(check(&linked, folder).unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn programs_of_the_release_and_of_the_machine() {
        let of = |words: &[&str]| program(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let plain = |name: &str, inside, arguments: &str| Program {
            name: name.into(),
            inside,
            arguments: arguments.into(),
        };
        assert_eq!(
            of(&["./tools/migrate.exe", "up now"]).unwrap(),
            plain("tools\\migrate.exe", true, "\"up now\"")
        );
        assert_eq!(of(&["C:/tools/x.exe"]).unwrap(), plain("C:\\tools\\x.exe", false, ""));
        assert_eq!(of(&["iisreset"]).unwrap(), plain("iisreset", false, ""));
        let script = of(&["./warm up.ps1", "a"]).unwrap();
        assert_eq!((script.name.as_str(), script.inside), ("powershell.exe", false));
        assert!(script.arguments.ends_with("-File \"warm up.ps1\" a"), "{}", script.arguments);
        assert!(of(&["./go.cmd", "a&b"]).unwrap_err().contains("batch file"));
        assert!(of(&[]).is_err() && of(&[""]).is_err());
    }

    /// The documented rules, for one argument in quotes or none.
    fn taken_apart(line: &str) -> Vec<String> {
        let (mut words, mut word, mut inside, mut any) = (Vec::new(), String::new(), false, false);
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\\' => {
                    let mut count = 1;
                    while rest.next_if_eq(&'\\').is_some() {
                        count += 1;
                    }
                    let before_quote = rest.peek() == Some(&'"');
                    word.extend(std::iter::repeat_n('\\', if before_quote { count / 2 } else { count }));
                    if before_quote && count % 2 == 1 {
                        rest.next();
                        word.push('"');
                    }
                    any = true;
                }
                '"' => (inside, any) = (!inside, true),
                ' ' | '\t' if !inside => {
                    if std::mem::take(&mut any) {
                        words.push(std::mem::take(&mut word));
                    }
                }
                c => {
                    word.push(c);
                    any = true;
                }
            }
        }
        if any {
            words.push(word);
        }
        words
    }

    proptest! {
        #[test]
        fn quoted_arguments_arrive_as_they_were(arguments in prop::collection::vec("[a \\\\\"\t]{0,8}", 0..5)) {
            let line = arguments.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(taken_apart(&line), arguments);
        }
    }
}
