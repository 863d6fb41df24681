//! `staith push`.

use std::{fs::File, io, path::Path};

use clap::Args;
use staith_model::{CompanionKind, Digest, Exit, Name, Package, Version};
use staith_packager::{
    hashing,
    registry::transfer::push,
    seal::{
        attached,
        beside::{self, Beside},
    },
    store::{Publication, Reference, Store, Which},
    web_deploy::{PROFILE, PackageReader},
};
use tokio::runtime::Handle;

use super::{
    offered,
    package::{self, Meant},
};
use crate::{
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
    package_place::{PackagePlace, own_store, package_place},
};

/// Bring a package to another store, or into a registry
///
/// The package goes there with what comes with it (its SetParameters.xml) and what was said about it (its provenance, its bill of
/// materials); of a package file, with what lies beside it. What is there already is not sent; a push that was interrupted goes on where it ended. A version that is there with
/// other content is never replaced.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The package: NAME@VERSION, NAME@CHANNEL, NAME (its latest version), or a package file
    #[arg(value_name = "PACKAGE", add = offered::files_and_packages())]
    package: String,
    /// What a package file is called: NAME@VERSION. By default what its file name says
    #[arg(value_name = "NAME@VERSION", id = "as")]
    called: Option<String>,
    /// Where to: a directory, s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, or oci://HOST/PATH for a registry
    #[arg(long, value_name = "LOCATION", value_parser = package_place)]
    to: PackagePlace,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let (runtime, stop) = (Handle::current(), interrupt::listen_for_an_end()?);
        let work = move || -> Result<(), Problem> {
            let (store, wanted, _beside) = self.source(&home)?;
            let published = package::find(&store, &wanted)?;
            let to = self.to.open(&home, &runtime, &stop)?;
            let heard = output::carrying("pushing", mode);
            let pushed = push(&store, &published, &to.place, &heard, &stop);
            heard("", 0, 0);
            let pushed = pushed.map_err(|failed| to.explained(failed))?;
            output::pushed(&published.package, &pushed, mode).map_err(|lost| Problem::unwritable(&lost))
        };
        tokio::task::spawn_blocking(work).await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        Ok(Exit::Passed)
    }

    /// The store that has the package: the home's own, or one of the moment for a file.
    fn source(&self, home: &Home) -> Result<(Store, Reference, Option<tempfile::TempDir>), Problem> {
        let path = match package::meant(&self.package)? {
            Meant::File(path) => path,
            Meant::Stored(_) if self.called.is_some() => {
                return Err(Problem::new(
                    Exit::Usage,
                    "only a package file can be given a name and a version",
                ));
            }
            Meant::Stored(wanted) => return Ok((own_store(home)?, wanted, None)),
        };
        own_store(home)?;
        let refused = |error: io::Error| {
            Problem::new(Exit::Environment, format!("{} can't be read", path.display()))
                .with_why(error.to_string())
        };
        let beside = tempfile::tempdir_in(home.path()).map_err(refused)?;
        let store = Store::open(beside.path())?;
        let package = publish(&store, &path, self.called.as_deref())?;
        let which = Which::Named(package.version.to_string());
        Ok((store, Reference { name: package.name, which }, Some(beside)))
    }
}

/// Takes a package file into a store of the moment, after all of it was verified.
fn publish(store: &Store, path: &Path, called: Option<&str>) -> Result<Package, Problem> {
    let refused = |why: String| {
        Problem::new(Exit::Configuration, format!("{} is not pushed", path.display())).with_why(why)
    };
    let unreadable = |error: io::Error| {
        Problem::new(Exit::Environment, format!("{} can't be read", path.display()))
            .with_why(error.to_string())
    };
    let mut staged = store.stage()?;
    let mut file = File::open(path).map_err(unreadable)?;
    let (digest, size) = hashing::copy(&mut file, staged.file()).map_err(unreadable)?;
    // What is verified is the copy: the file could change meanwhile.
    let copy = staged.file().try_clone().map_err(unreadable)?;
    let verified = PackageReader::of_file(copy, path).and_then(|package| package.verify());
    let verified = verified.map_err(|bad| refused(bad.to_string()))?;
    let (name, version) = match called {
        Some(text) => named(text).ok_or_else(|| {
            Problem::new(Exit::Usage, format!("`{text}` is not a name and a version; write NAME@VERSION"))
        })?,
        None => by_file_name(path, &digest).ok_or_else(|| {
            refused("its file name does not say what it is called".to_owned())
                .with_remedy(format!("say it: staith push {} NAME@VERSION --to ...", path.display()))
        })?,
    };
    let content = verified.content.unwrap_or(digest);
    let package = Package { name, version, digest, content, size };
    let reader = PackageReader::of_file(staged.file().try_clone().map_err(unreadable)?, path)?;
    let companions = companions(&package, &reader)?;
    let _announced = store.put_announced(companions.iter().map(|file| file.bytes.as_slice()))?;
    let publication = Publication {
        package: &package,
        profile: PROFILE,
        origin: None,
        companions: attached::companions(&companions),
    };
    let published = store.publish_with(staged, publication)?;
    attached::attach(store, &published, &said_of(&published.package, path)?)?;
    Ok(published.package)
}

/// What is published with a package that Staith wrote. It follows from the package, so that a file becomes the same artifact as the
/// package in the store that it came from; SetParameters.xml beside it may have got values that are nobody's business.
fn companions(package: &Package, reader: &PackageReader) -> Result<Vec<Beside>, Problem> {
    let Some(manifest) = reader.manifest() else { return Ok(Vec::new()) };
    Ok(beside::companions(package, manifest, &reader.declarations()?))
}

/// What lies beside a package file and was said of it.
fn said_of(package: &Package, path: &Path) -> Result<Vec<Beside>, Problem> {
    let mut said = Vec::new();
    for (kind, end) in [(CompanionKind::Sbom, "cdx.json"), (CompanionKind::Provenance, "provenance.json")] {
        let at = path.with_extension(end);
        match std::fs::read(&at) {
            Ok(bytes) => said.push(Beside { kind, name: beside::name(kind, package), bytes }),
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => {}
            Err(refused) => {
                return Err(Problem::new(Exit::Environment, format!("{} can't be read", at.display()))
                    .with_why(refused.to_string()));
            }
        }
    }
    Ok(said)
}

fn named(text: &str) -> Option<(Name, Version)> {
    let (name, version) = text.split_once('@')?;
    Some((name.parse().ok()?, version.parse().ok()?))
}

/// `NAME-VERSION-DIGEST.zip`, as packages are called: the version begins at the first `-` that a digit follows.
fn by_file_name(path: &Path, digest: &Digest) -> Option<(Name, Version)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(&format!("-{}.zip", digest.short()))?;
    let begins = stem.match_indices('-').map(|(at, _)| at);
    let at = begins.into_iter().find(|at| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit()))?;
    Some((stem[..at].parse().ok()?, stem[at + 1..].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_file_says_what_it_is_called() {
        let digest = Digest::of(b"x");
        let of = |stem: &str| {
            let path = format!("/a/{stem}-{}.zip", digest.short());
            by_file_name(Path::new(&path), &digest).map(|(name, version)| format!("{name}@{version}"))
        };
        assert_eq!(of("shop-1.4.0").as_deref(), Some("shop@1.4.0"));
        assert_eq!(of("web-shop-1.4.0-rc.1+c.0123").as_deref(), Some("web-shop@1.4.0-rc.1+c.0123"));
        assert_eq!(of("shop"), None);
        assert_eq!(by_file_name(Path::new("shop-1.4.0-000000000000.zip"), &digest), None);
    }
}
