//! Why there is no answer, or none that helps.

use staith_model::{Exit, service::ProblemDetails};

use crate::output::Problem;

/// Why a question has no answer that helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// No answer came. Whether what was asked for was done, nobody knows.
    #[error("the server {server} can't be reached: {why}")]
    Away {
        /// Its address.
        server: String,
        /// What the network or the clock says.
        why: String,
    },
    /// The server says no.
    #[error("{}", .0.title)]
    Said(ProblemDetails),
    /// What answers there is no server of ours, or something on the way speaks for it.
    #[error("what answers at {server} is not a server of Staith: {why}")]
    Strange {
        /// The address.
        server: String,
        /// What it said.
        why: String,
    },
    /// This machine can't ask.
    #[error("nothing can be asked of {server}: {why}")]
    Unable {
        /// The address.
        server: String,
        /// What is wrong.
        why: String,
    },
}

impl Refused {
    /// Whether the same question may be answered later: nothing is known to be wrong with it.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Strange { .. } => true,
            Self::Said(said) => matches!(said.status, 408 | 425 | 429 | 500 | 502 | 503 | 504 | 507),
            Self::Unable { .. } => false,
        }
    }

    /// Whether the server says this kind of no.
    pub(crate) fn is(&self, kind: &str) -> bool {
        matches!(self, Self::Said(said) if said.kind == kind)
    }

    /// The status of the server's no.
    pub(crate) const fn status(&self) -> Option<u16> {
        match self {
            Self::Said(said) => Some(said.status),
            _ => None,
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let what = refused.to_string();
        match refused {
            Refused::Away { .. } => Self::new(Exit::Environment, what).with_remedy(
                "see that the server runs, that its address is right, and what is between it and here",
            ),
            Refused::Strange { .. } => Self::new(Exit::Environment, what).with_remedy(
                "see that the address is that of the server itself, and what a proxy on the way does",
            ),
            Refused::Unable { .. } => Self::new(Exit::Environment, what).with_remedy(
                "see to the certificates of this machine, or name the server's authority with --ca",
            ),
            Refused::Said(said) => {
                let exit = match said.status {
                    400..=499 => Exit::Usage,
                    _ => Exit::Environment,
                };
                let problem = Self::new(exit, format!("the server refuses: {}", said.title));
                Self { why: said.detail, remedy: said.remedy, ..problem }
            }
        }
    }
}
