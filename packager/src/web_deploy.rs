//! Microsoft Web Deploy packages. A map, in reading order:
//!
//! 1. `portable`: names that Linux, Windows and IIS can all hold.
//! 2. `rules`, `limits`: which trees can't become a package. `layout`: which entries a package has, and in which order.
//! 3. `metadata`: `archive.xml`, `parameters.xml`, `systemInfo.xml`; `time`: the times that entries carry.
//! 4. `sealed`: `staith.manifest.json`, which brings Unix modes and symbolic links through.
//! 5. `deflate`, `stitch`, `source`: a file's bytes, verified and compressed, the same on every machine.
//! 6. `container`: the zip format's headers; `pack`, `large`: everything in order, with a window; `reuse`: entries copied from an earlier
//!    package; `write`: the way in.
//! 7. `archive`: what a package says it is made of, whoever wrote it.
//! 8. `read`: a package opened, listed, verified and extracted, whoever wrote it.
//! 9. `inspect`: all about a package. `diff`: how two of them differ. `secrecy`: what neither of them shows.

pub mod archive;
mod container;
mod deflate;
mod diff;
mod inspect;
mod large;
mod layout;
mod limits;
mod metadata;
mod pack;
pub mod portable;
mod read;
mod reuse;
mod rules;
mod sealed;
mod source;
mod stitch;
mod time;
mod write;

pub use diff::{Change, Difference, FileFact, TextFact, What, diff};
pub use inspect::{InspectedEntry, Inspection, Warning, Writer, inspect};
pub use limits::{MAX_ENTRIES, MAX_FILE_BYTES, MAX_PACKAGE_BYTES};
pub use read::{
    ContentRoot, Declared, DeclaredEntry, Dialect, Extract, Extracted, Flaw, Item, ItemKind, Listed,
    Openings, PackageReader, PackedFile, ReadError, RootKind, SealedReader, Verified,
};
pub use reuse::Earlier;
pub use rules::{Refusal, Refusals, Rule};
pub use sealed::content_manifest;
pub use time::DosTime;
pub use write::{Content, PROFILE, Progress, WriteError, Written, write, write_after};
