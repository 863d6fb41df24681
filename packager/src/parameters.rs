//! Parameters: what of a package is decided only when it is applied. A map, in reading order:
//!
//! 1. [`Declarations`]: what a package lets one set (`parameters.xml`). `read` and `spelling` are its two ways through XML,
//!    `mistake` is all that it is refused for, `secrecy` says which values must not be shown or kept.
//! 2. [`Values`]: what somebody sets (`NAME.SetParameters.xml`, `NAME=VALUE`, secrets).
//! 3. [`resolve`]: both together. References are replaced, everything is validated, everything wrong is told at once.
//! 4. [`Resolved`]: applies the values to the paths of providers and to files (`text`, `position`, `xml_file`), and knows what
//!    matched nowhere.

mod apply;
mod declare;
mod mistake;
mod position;
mod read;
mod resolve;
mod secrecy;
mod spelling;
mod text;
mod values;
mod xml_file;
mod xpath;

pub use apply::{ApplyError, ForWindows, Miss, Resolved, Rewrite, Unmatched};
pub use declare::{
    Declarations, Entry, Kind, MAY_MATCH_NOTHING, Matcher, Note, Parameter, Rule, Translation, Validation,
};
pub use mistake::{Fault, Mistake, Mistakes};
pub use position::{NotAPosition, Position};
pub use resolve::{ResolveErrors, Unresolved, resolve};
pub use secrecy::{LeakedSecret, Leaks};
pub use values::{BadSetting, From, Value, Values};
