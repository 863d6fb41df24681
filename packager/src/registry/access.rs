//! Who may do what. Whoever mounts the registry decides.

use axum::http::HeaderMap;
use staith_model::Name;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Find out whether this is a registry; clients sign in here.
    Look,
    /// Read a package.
    Pull,
    /// Add to a package.
    Push,
    /// Take something away.
    Remove,
}

/// A request, as far as it matters for whether it is granted.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// All headers; `Authorization` is among them.
    pub headers: &'a HeaderMap,
    /// The package, but for [`Wish::Look`].
    pub name: Option<&'a Name>,
    /// What is wanted.
    pub wish: Wish,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Granted,
    /// No; the text says why and what to do.
    Denied(String),
    /// Not before the client says who it is; the text is the value of `WWW-Authenticate`.
    SignIn(String),
}

/// Judges requests. It is asked once for each, on a thread that serves others too, so it must not block.
pub trait Access: Send + Sync + 'static {
    /// Whether this is granted. What is denied here is denied before anything is looked up, so that nobody learns what is there.
    fn judge(&self, asked: &Asked<'_>) -> Verdict;
}

impl<F: Fn(&Asked<'_>) -> Verdict + Send + Sync + 'static> Access for F {
    fn judge(&self, asked: &Asked<'_>) -> Verdict {
        self(asked)
    }
}

/// Everybody may pull, and nobody may push.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOnly;

impl Access for ReadOnly {
    fn judge(&self, asked: &Asked<'_>) -> Verdict {
        match asked.wish {
            Wish::Look | Wish::Pull => Verdict::Granted,
            Wish::Push | Wish::Remove => Verdict::Denied("this registry can only be pulled from".to_owned()),
        }
    }
}

/// Everybody may do everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

impl Access for Open {
    fn judge(&self, _: &Asked<'_>) -> Verdict {
        Verdict::Granted
    }
}
