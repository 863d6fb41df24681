//! The keys of a `runner.toml`: one table that the parser, the JSON Schema and the reference page share, so that none of them
//! can know a key that the others don't.

/// The keys that a table may have.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) known: &'static [Key],
    /// What other tools call things, with the key that means it here.
    pub(super) elsewhere: &'static [(&'static str, &'static str)],
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// What holds where the key is absent, in Markdown.
    pub(super) default: &'static str,
    /// What it means, in Markdown.
    pub(super) meaning: &'static str,
}

/// The default of a key that must be there.
pub(super) const REQUIRED: &str = "required";

/// What a value looks like, as far as it can be said without the rest of the file.
#[derive(Debug)]
pub(super) enum Shape {
    Text(&'static TextKind),
    /// One of these words.
    Word(&'static [&'static str]),
    Truth,
    Whole {
        least: u64,
        most: u64,
    },
    /// Any number in a range.
    Number {
        least: f64,
        most: f64,
    },
    /// Items of one shape; `filled` lists have at least one.
    List {
        of: &'static Shape,
        filled: bool,
    },
    /// Names of one's own, each with a value of one shape; `most` of them at most.
    Named {
        names: &'static TextKind,
        of: &'static Shape,
        filled: bool,
        most: Option<usize>,
    },
    /// As `Named`, but some names mean something of Staith's own.
    NamedBut {
        names: &'static TextKind,
        of: &'static Shape,
        own: &'static Keys,
    },
    Table(&'static Keys),
    Either(&'static [Shape]),
}

/// A kind of text.
#[derive(Debug)]
pub(super) struct TextKind {
    /// What people call it.
    pub(super) what: &'static str,
    /// A regular expression that every good text matches (some bad ones may, too).
    pub(super) pattern: Option<&'static str>,
}

const fn kind(what: &'static str, pattern: &'static str) -> TextKind {
    TextKind { what, pattern: Some(pattern) }
}

pub(super) const TEXT: TextKind = TextKind { what: "text", pattern: None };
pub(super) const NAME: TextKind = kind("name", "^[a-z0-9][a-z0-9_.-]{0,62}$");
pub(super) const LABEL: TextKind =
    kind("label", r"^([a-z0-9]|\{matrix\.[a-z][a-z0-9_-]*\})([a-z0-9_.-]|\{matrix\.[a-z][a-z0-9_-]*\})*$");
pub(super) const VERSION: TextKind =
    kind("version", r"^([A-Za-z0-9]|\{(commit|branch|tag)\})([A-Za-z0-9.+-]|\{(commit|branch|tag)\})*$");
pub(super) const DURATION: TextKind = kind("duration", "^[0-9]+[smh]$");
pub(super) const SIZE: TextKind = kind("size", "^[0-9]+(KiB|MiB|GiB)$");
pub(super) const PATH: TextKind = kind("path", r"^[^/\\][^\\]*$");
pub(super) const GLOB: TextKind = kind("glob", r"^[^!/\\][^\\]*$");
pub(super) const PATH_FILTER: TextKind = kind("filter", r"^!?[^!/\\][^\\]*$");
pub(super) const NAME_FILTER: TextKind = kind("filter", r"^!?[^/\\][^\\]*$");
pub(super) const VARIABLE: TextKind = kind("variable", "^[A-Za-z_][A-Za-z0-9_]*$");
pub(super) const SECRET: TextKind = kind("secret's name", "^[A-Za-z0-9_][A-Za-z0-9_./-]*$");
pub(super) const IMAGE: TextKind = kind("image", r"^[A-Za-z0-9{./]");
pub(super) const HOST: TextKind = kind("host", r"^(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$");
pub(super) const CONDITION: TextKind = kind("condition", r"\S");
pub(super) const CRON: TextKind = kind("cron", r"^\s*\S+(\s+\S+){4}\s*$");
pub(super) const ZONE: TextKind = kind("time zone", r"^[A-Za-z][A-Za-z0-9_+/-]*$");
pub(super) const ADDRESS: TextKind = kind("address", ":[0-9]+$");
pub(super) const URL_PATH: TextKind = kind("path of a URL", "^/");
pub(super) const HEADER: TextKind = kind("header's name", r"^[^\s:]+$");
pub(super) const HOST_FOLDER: TextKind = kind("folder of the host", "^/");
pub(super) const FOLDER_OF_MACHINE: TextKind = kind("folder of a machine", "^([A-Za-z]:)?/");
pub(super) const MACHINE: TextKind = kind("machine", r"^[A-Za-z0-9._@:\[\]\\$-]+$");
pub(super) const HOST_KEY: TextKind = kind("key of a host", "^(SHA256:|ssh-|ecdsa-)");
pub(super) const ACCOUNT: TextKind = kind("account", r"^[A-Za-z0-9._\\$][A-Za-z0-9._\\$-]*$");
pub(super) const UNIT: TextKind = kind("unit", "^[A-Za-z0-9:_@][A-Za-z0-9:_.@-]*$");
pub(super) const SETTING: TextKind = kind("setting", "^[A-Za-z0-9_][A-Za-z0-9_.: -]*$");
pub(super) const SHARE: TextKind = kind("share", "^[0-9]{1,3}%$");
pub(super) const URL: TextKind = kind("URL", "^https?://");
pub(super) const NODE: TextKind = kind("node", "^(unix:/|tcp:|ssh:)");
pub(super) const PLAIN_WORD: TextKind = kind("word", r"^\S+$");
pub(super) const SCRIPT: TextKind = kind("script", r"\S");

pub(super) const SCRIPT_OR_ARGUMENTS: Shape =
    Shape::Either(&[Shape::Text(&SCRIPT), Shape::List { of: &Shape::Text(&TEXT), filled: true }]);
pub(super) const NAMES: Shape = Shape::List { of: &Shape::Text(&NAME), filled: false };
pub(super) const GLOBS: Shape = Shape::List { of: &Shape::Text(&GLOB), filled: true };
pub(super) const PATH_FILTERS: Shape = Shape::List { of: &Shape::Text(&PATH_FILTER), filled: true };
pub(super) const NAME_FILTERS: Shape = Shape::List { of: &Shape::Text(&NAME_FILTER), filled: true };
pub(super) const VARIABLES: Shape =
    Shape::Named { names: &VARIABLE, of: &Shape::Text(&TEXT), filled: false, most: None };
pub(super) const SECRETS: Shape = Shape::Either(&[
    Shape::List { of: &Shape::Text(&VARIABLE), filled: true },
    Shape::Named { names: &VARIABLE, of: &Shape::Text(&SECRET), filled: true, most: None },
]);

/// Values by the names of variables, or of a package's parameters.
pub(super) const SETTINGS: Shape =
    Shape::Named { names: &SETTING, of: &Shape::Text(&TEXT), filled: false, most: None };
pub(super) const SETTING_SECRETS: Shape = Shape::Either(&[
    Shape::List { of: &Shape::Text(&VARIABLE), filled: true },
    Shape::Named { names: &SETTING, of: &Shape::Text(&SECRET), filled: false, most: None },
]);

impl Keys {
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.known.iter().map(|key| key.name)
    }
}

/// A key in one line of a table.
pub(super) const fn key(
    name: &'static str,
    shape: Shape,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, shape, default, meaning }
}
