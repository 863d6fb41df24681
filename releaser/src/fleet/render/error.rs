//! Why a release can't be rendered. Nothing here holds the value of a secret.

use std::fmt;

use staith_model::{Name, RelPath};

/// A token that stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingToken {
    /// The file.
    pub file: RelPath,
    /// Counted from 1.
    pub line: usize,
    /// Counted in characters, from 1.
    pub column: usize,
    /// The token's name.
    pub token: String,
}

impl fmt::Display for MissingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: `#{{{}}}#`",
            self.file.as_str().escape_debug(),
            self.line,
            self.column,
            self.token.escape_debug()
        )
    }
}

/// Why a release can't be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The release has nothing for this environment.
    #[error("the release was made before environment `{environment}` was, and has no values for it")]
    OtherEnvironment {
        /// The environment.
        environment: Name,
    },
    /// A secret is not at hand.
    #[error("`{variable}` is the secret `{secret}`, which is not set")]
    NoSecret {
        /// The variable.
        variable: String,
        /// The secret's name.
        secret: String,
    },
    /// A secret would get a value that anybody may see.
    #[error("`{variable}` is a secret of the environment, and target `{target}` gives it a plain value")]
    SecretAndPlain {
        /// The variable.
        variable: String,
        /// The machine.
        target: Name,
    },
    /// Two roles contradict each other.
    #[error(
        "target `{target}` has the roles `{one}` and `{other}`, which give `{variable}` different values"
    )]
    RolesDisagree {
        /// The machine.
        target: Name,
        /// A role.
        one: Name,
        /// The other.
        other: Name,
        /// The variable.
        variable: String,
    },
    /// A glob is malformed.
    #[error("`{glob}` is not a glob: {why}")]
    BadGlob {
        /// The glob.
        glob: String,
        /// What is wrong.
        why: String,
    },
    /// Tokens stand for nothing.
    #[error("no value for {}{}", tokens.iter().take(20).map(ToString::to_string).collect::<Vec<_>>().join(", "), if tokens.len() > 20 { format!(" and {} more", tokens.len() - 20) } else { String::new() })]
    Missing {
        /// Each place.
        tokens: Vec<MissingToken>,
    },
    /// A value can't stand where its token does.
    #[error("{at}: {why}")]
    Unfit {
        /// The token.
        at: MissingToken,
        /// Why not, without the value.
        why: &'static str,
    },
    /// A variable of the service's environment names something wrong.
    #[error("`env.{variable}` of the service names `#{{{token}}}#`, {why}")]
    InEnvironment {
        /// The variable of the environment.
        variable: String,
        /// The token's name.
        token: String,
        /// Why it can't.
        why: &'static str,
    },
    /// A file can't be read or changed.
    #[error("{}: {why}", file.as_str().escape_debug())]
    File {
        /// The file.
        file: RelPath,
        /// Why not, without values.
        why: String,
    },
    /// The package's parameters can't have these values.
    #[error("{why}")]
    Parameters {
        /// Why not, without secrets.
        why: String,
    },
}

impl RenderError {
    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::OtherEnvironment { .. } => "make a new release; a release is never changed",
            Self::NoSecret { .. } => "set it with `staith secret set NAME`",
            Self::SecretAndPlain { .. } => {
                "give one of them another name; a secret has no plain value anywhere"
            }
            Self::RolesDisagree { .. } => {
                "give the target itself the value, which wins over its roles, or take one role away from it"
            }
            Self::BadGlob { .. } => "correct `render` in runner.toml and make a new release",
            Self::Missing { .. } => {
                "add the variable in runner.toml; a text that only looks like a token is written `##{NAME}#`"
            }
            Self::Unfit { .. } => "correct the value, or put the token in quotes",
            Self::InEnvironment { .. } => {
                "add the variable in runner.toml; a secret reaches the service by `secrets`, under its own name"
            }
            Self::File { .. } => {
                "correct the file in the project, or name files more closely in `render`, and make a new release"
            }
            Self::Parameters { .. } => {
                "`variables` gives values to the package's parameters by their names; see `staith parameters`"
            }
        }
    }
}
