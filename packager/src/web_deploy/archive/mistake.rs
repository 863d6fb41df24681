//! All that a package's XML is refused for, with its place.

/// What is wrong with an XML file of a package, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wrong} (line {line}, column {column})")]
pub struct Mistake {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What is wrong with an XML file of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Not well-formed, or with what no package needs.
    #[error("it is not well-formed: {0}")]
    NotXml(String),
    /// The outermost element is of another kind of file.
    #[error("its outermost element is `{}`, but a package's is `sitemanifest` or begins with `MSDeploy.`", .0.escape_debug())]
    Root(String),
    /// A typed value that is none.
    #[error("attribute `{}` is not what its type says it is: {expected}", name.escape_debug())]
    Value {
        /// The attribute.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Flags that are no number.
    #[error("the flags of attribute `{}` are no number", .0.escape_debug())]
    Flags(String),
    /// Provider options that can't be read.
    #[error(
        "the provider options of `{}` can't be read as data, and are not executed to find out: {why}; package it again, or \
         take the attribute `MSDeploy.MSDeployProviderOptions` out, which Web Deploy does not need", provider.escape_debug()
    )]
    Options {
        /// The provider.
        provider: String,
        /// Why not.
        why: &'static str,
    },
    /// Provider options that contradict what everybody sees.
    #[error(
        "the provider options of `{}` say that its {what} is `{}`, but the file says `{}`: Web Deploy would follow the hidden \
         one, whatever the parameters say", provider.escape_debug(), hidden.escape_debug(), visible.escape_debug()
    )]
    Redirects {
        /// The provider.
        provider: String,
        /// `name` or `path`.
        what: &'static str,
        /// In the options.
        hidden: String,
        /// In the attribute.
        visible: String,
    },
    /// More content than can be meant.
    #[error("it names more than 1,000 directories and files")]
    TooManyRoots,
}

impl Mistake {
    /// `wrong` at an offset in bytes of `text`.
    pub(crate) fn at(text: &[u8], offset: usize, wrong: Wrong) -> Self {
        let before = String::from_utf8_lossy(&text[..offset.min(text.len())]);
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        // A byte-order mark is no character that anybody sees.
        let column = last.trim_start_matches('\u{feff}').chars().count() + 1;
        Self { line, column, wrong }
    }
}
