//! Parameters: what of a package is decided only when it is applied. A map, in reading order:
//!
//! 1. [`Declarations`]: what a package lets one set (`parameters.xml`). `read` and `spelling` are its two ways through XML,
//!    `mistake` is all that it is refused for, `secrecy` says which values must not be shown or kept.

mod declare;
mod mistake;
mod position;
mod read;
mod secrecy;
mod spelling;
mod xpath;

pub use declare::{
    Declarations, Entry, Kind, MAY_MATCH_NOTHING, Matcher, Note, Parameter, Rule, Translation, Validation,
};
pub use mistake::{Fault, Mistake, Mistakes};
pub use position::{NotAPosition, Position};
pub use secrecy::{LeakedSecret, Leaks};
pub use xpath::{BadXPath, XPath};
