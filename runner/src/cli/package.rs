//! The argument PACKAGE: a package that lies in a file, or one of this machine's store.

use std::path::{Path, PathBuf};

use clap::Args;
use staith_model::Exit;
use staith_packager::{
    store::{NotAReference, Published, Reference, Store, StoreError},
    web_deploy::PackageReader,
};

use super::offered;
use crate::{home::Home, output::Problem};

/// One package, as several commands take it.
#[derive(Debug, Args)]
pub(crate) struct PackageArgument {
    /// The package: a file, or NAME@VERSION, NAME@CHANNEL, NAME@DIGEST or NAME (its latest version) of this machine's store
    #[arg(value_name = "PACKAGE", add = offered::files_and_packages())]
    package: String,
}

impl PackageArgument {
    /// Opens it; see [`open`].
    pub(crate) fn open(&self) -> Result<OpenPackage, Problem> {
        open(&self.package)
    }
}

/// A package that is open for reading.
#[derive(Debug)]
pub(crate) struct OpenPackage {
    /// Its content.
    pub(crate) reader: PackageReader,
    /// What it is called: the file as it was named, or name and version.
    pub(crate) called: String,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What the store knows of it; `None` for a file.
    pub(crate) published: Option<Published>,
}

/// What the text of a PACKAGE means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// A file, which need not be there.
    File(PathBuf),
    /// One of a store.
    Stored(Reference),
}

/// Tells files from packages of a store. A file of that name goes before the store, and what looks like a file is one.
///
/// # Errors
/// It is neither (64).
pub(crate) fn meant(argument: &str) -> Result<Meant, Problem> {
    let path = Path::new(argument);
    let looks_like_file = argument.contains('/')
        || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    if looks_like_file || path.is_file() {
        return Ok(Meant::File(path.to_owned()));
    }
    reference(argument).map(Meant::Stored).map_err(|problem| {
        let why = format!("there is no file of that name, and {}", problem.what);
        Problem { what: format!("there is no package `{argument}`"), ..problem }
            .with_why(why)
            .with_remedy("give the path of a package, or NAME@VERSION of one in the store")
    })
}

/// Reads NAME@VERSION and its like.
///
/// # Errors
/// It is none (64).
pub(crate) fn reference(text: &str) -> Result<Reference, Problem> {
    text.parse().map_err(|bad: NotAReference| Problem::new(Exit::Usage, bad.to_string()))
}

/// Opens the package that `argument` names. What comes from the store has been held against its digest; what comes from a file,
/// by its structure only. Blocks.
///
/// # Errors
/// There is no such package (64), it is refused (20), or it can't be read (30).
pub(crate) fn open(argument: &str) -> Result<OpenPackage, Problem> {
    match meant(argument)? {
        Meant::File(path) => {
            let reader = PackageReader::open(&path)?;
            Ok(OpenPackage { reader, called: argument.to_owned(), path, published: None })
        }
        Meant::Stored(wanted) => open_stored(&wanted),
    }
}

/// Opens a package of this machine's store, whatever files lie about that are called so; held against its digest. Blocks.
///
/// # Errors
/// There is no such package (64), it is refused (20), or it can't be read (30).
pub(crate) fn open_stored(wanted: &Reference) -> Result<OpenPackage, Problem> {
    let packages = Home::find()?.packages();
    // Looking makes no store.
    if !packages.is_dir() {
        return Err(absent(wanted)
            .with_why("there is no file of that name, and nothing was published on this machine")
            .with_remedy("give the path of a package, or make one with `staith run`"));
    }
    let store = Store::open(&packages)?;
    let published = find(&store, wanted)?;
    let blob = store.get(&published.package.digest)?;
    let reader = PackageReader::of_file(blob.file, &blob.path)?;
    let called = format!("{}@{}", published.package.name, published.package.version);
    Ok(OpenPackage { reader, called, path: blob.path, published: Some(published) })
}

/// What a store has as `wanted`. Blocks.
///
/// # Errors
/// There is none (64), or the store can't be read (30).
pub(crate) fn find(store: &Store, wanted: &Reference) -> Result<Published, Problem> {
    store.resolve(wanted).map_err(|refused| match refused {
        StoreError::Unknown { what, remedy } => absent(wanted).with_why(what).with_remedy(remedy),
        refused => refused.into(),
    })
}

fn absent(wanted: &Reference) -> Problem {
    Problem::new(Exit::Usage, format!("there is no package `{wanted}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_packages_of_the_store() {
        for file in ["shop.zip", "./shop", "out/shop-1.4.ZIP", "/not/on/this/machine", "no.zip"] {
            assert_eq!(meant(file).ok(), Some(Meant::File(file.into())), "{file}");
        }
        let digest = format!("shop@sha256:{}", "0".repeat(64));
        for stored in ["shop", "shop@1.4", "shop@1.4.0+c.0123", "shop@stable", "shop@latest", &digest] {
            assert_eq!(meant(stored).ok(), Some(Meant::Stored(stored.parse().unwrap())), "{stored}");
        }
        for neither in ["", "Shop", "shop@", "shop@sha256:1", "shop@a b"] {
            let refused = meant(neither).unwrap_err();
            assert_eq!(refused.exit, Exit::Usage);
            assert!(refused.why.is_some_and(|why| why.contains("no file of that name")), "{neither}");
        }
    }
}
