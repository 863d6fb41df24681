//! The argument PACKAGE: a package that lies in a file, or one of this machine's store.

use std::path::{Path, PathBuf};

use clap::Args;
use staith_model::{Digest, Exit, Name, Version};
use staith_packager::{
    store::{Published, Store},
    web_deploy::PackageReader,
};

use crate::{home::Home, output::Problem};

/// One package, as several commands take it.
#[derive(Debug, Args)]
pub(crate) struct PackageArgument {
    /// The package: a file, or NAME@VERSION, NAME@DIGEST or NAME (its latest version) of this machine's store
    #[arg(value_name = "PACKAGE")]
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

/// Opens the package that `argument` names. A file of that name goes before the store. What comes from the store has been held
/// against its digest; what comes from a file, by its structure only. Blocks.
///
/// # Errors
/// There is no such package (64), it is refused (20), or it can't be read (30).
pub(crate) fn open(argument: &str) -> Result<OpenPackage, Problem> {
    let path = Path::new(argument);
    let looks_like_file = argument.contains('/')
        || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    if looks_like_file || path.is_file() {
        let reader = PackageReader::open(path)?;
        return Ok(OpenPackage {
            reader,
            called: argument.to_owned(),
            path: path.to_owned(),
            published: None,
        });
    }
    let published = find(argument)?;
    let store = Store::open(&Home::find()?.packages())?;
    let blob = store.get(&published.package.digest)?;
    let reader = PackageReader::of_file(blob.file, &blob.path)?;
    let called = format!("{}@{}", published.package.name, published.package.version);
    Ok(OpenPackage { reader, called, path: blob.path, published: Some(published) })
}

/// What the store has under NAME, NAME@VERSION or NAME@DIGEST.
fn find(argument: &str) -> Result<Published, Problem> {
    let (name, wanted) = match argument.split_once('@') {
        Some((name, wanted)) => (name, Some(wanted)),
        None => (argument, None),
    };
    let name: Name = name.parse().map_err(|why: staith_model::NotAName| {
        Problem::new(Exit::Usage, format!("there is no package `{argument}`"))
            .with_why(format!("there is no file of that name, and {why}"))
            .with_remedy("give the path of a package, or NAME@VERSION of one in the store")
    })?;
    let wanted = wanted.map(Wanted::parse).transpose()?;
    let home = Home::find()?;
    // Looking makes no store.
    let all = if home.packages().is_dir() { Store::open(&home.packages())?.list(&name)? } else { Vec::new() };
    match choose(&all, wanted.as_ref()) {
        Some(published) => Ok(published.clone()),
        None => Err(absent(argument, &all)),
    }
}

/// What may follow `@`.
enum Wanted {
    Version(Version),
    Digest(Digest),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, Problem> {
        let usage = |why: String| Problem::new(Exit::Usage, why);
        if text.starts_with("sha256:") {
            return text
                .parse()
                .map(Self::Digest)
                .map_err(|why: staith_model::NotADigest| usage(why.to_string()));
        }
        text.parse().map(Self::Version).map_err(|why: staith_model::NotAVersion| usage(why.to_string()))
    }
}

/// The one that is meant, of all versions in ascending order. A version without build metadata means the latest of its builds.
fn choose<'p>(all: &'p [Published], wanted: Option<&Wanted>) -> Option<&'p Published> {
    let is = |matches: &dyn Fn(&Published) -> bool| all.iter().rev().find(|published| matches(published));
    match wanted {
        None => all.last(),
        Some(Wanted::Digest(digest)) => is(&|published| published.package.digest == *digest),
        Some(Wanted::Version(version)) => {
            is(&|published| published.package.version == *version).or_else(|| {
                is(&|published| {
                    let build = published.package.version.as_str().strip_prefix(version.as_str());
                    build.is_some_and(|build| build.starts_with('+'))
                })
            })
        }
    }
}

fn absent(argument: &str, all: &[Published]) -> Problem {
    /// Versions that are named, the latest.
    const NAMED: usize = 5;
    let latest = all.iter().rev().take(NAMED).map(|published| published.package.version.to_string());
    let latest = latest.collect::<Vec<_>>().join(", ");
    let problem = Problem::new(Exit::Usage, format!("there is no package `{argument}`"));
    if latest.is_empty() {
        return problem
            .with_why("there is no file of that name, and the store has no version of a package of that name")
            .with_remedy("give the path of a package, or make one with `staith run`");
    }
    problem.with_why(format!("the store has {latest}")).with_remedy("name one of these")
}

#[cfg(test)]
mod tests {
    use staith_model::Package;
    use staith_packager::store::Origin;

    use super::*;

    fn published(version: &str) -> Published {
        let digest = Digest::of(version.as_bytes());
        let package = Package {
            name: "shop".parse().unwrap(),
            version: version.parse().unwrap(),
            digest,
            content: digest,
            size: 1,
        };
        let origin = Origin { run: "0".repeat(26).parse().unwrap(), plan: digest };
        serde_json::from_value(serde_json::json!({
            "format": 1, "package": package, "profile": 1, "origin": origin, "at": 1
        }))
        .unwrap()
    }

    #[test]
    fn a_version_without_its_build_means_the_latest_build() {
        let all = ["1.4.0+c.1", "1.4.0+c.2", "1.5.0", "1.5.0+c.3"].map(published);
        let found = |wanted: Option<&str>| {
            let wanted = wanted.map(|wanted| Wanted::parse(wanted).unwrap());
            choose(&all, wanted.as_ref()).map(|published| published.package.version.to_string())
        };
        assert_eq!(found(None).as_deref(), Some("1.5.0+c.3"));
        assert_eq!(found(Some("1.4.0")).as_deref(), Some("1.4.0+c.2"));
        assert_eq!(found(Some("1.4.0+c.1")).as_deref(), Some("1.4.0+c.1"));
        assert_eq!(found(Some("1.5.0")).as_deref(), Some("1.5.0"));
        assert_eq!(found(Some("1.4")), None);
        let digest = Digest::of(b"1.4.0+c.1").to_string();
        assert_eq!(found(Some(&digest)).as_deref(), Some("1.4.0+c.1"));
        assert_eq!(Wanted::parse("sha256:1").err().map(|problem| problem.exit), Some(Exit::Usage));
        assert!(
            absent("shop@2", &all).why.is_some_and(|why| why.starts_with("the store has 1.5.0+c.3, 1.5.0,"))
        );
    }
}
