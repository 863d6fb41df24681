//! `staith release create`.

use std::collections::BTreeMap;

use clap::Args;
use staith_builder::pipeline::Pipeline;
use staith_model::{
    Exit, FleetEnvironment, FleetRelease, Name, Package, Secret, SourceOfRelease, service::Trust,
};
use staith_packager::web_deploy::PackageReader;
use staith_releaser::fleet::freeze::{Ingredients, freeze};

use super::Project;
use crate::{
    cli::package,
    fleet::{pipeline_in, secrets_of, shelf_of, source_of, takers_of, version_key},
    home::Home,
    output::{self, OutputMode, Problem},
};

/// Freeze a package and the environments of runner.toml into a release
///
/// All values are taken by value; secrets by name, with a version that tells nothing of them. The same package and the same
/// environments make the same release.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The package: NAME@VERSION, NAME@CHANNEL or NAME of this machine's store; the newest that fits if not given
    package: Option<String>,
    #[command(flatten)]
    project: Project,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let release = made(&home, &self.project.project_dir, self.package.as_deref()).await?;
        output::release_made(&release.0, release.1, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// Makes a release; says whether it was there already.
///
/// # Errors
/// The package is not there (64), or can't run as the environments say (20).
pub(crate) async fn made(
    home: &Home,
    folder: &std::path::Path,
    package: Option<&str>,
) -> Result<(FleetRelease, bool), Problem> {
    let pipeline = pipeline_in(folder)?;
    let fleets = || pipeline.destinations().into_iter().filter(|to| to.environment.fleet().is_some());
    let first = fleets().next().ok_or_else(|| {
        Problem::new(Exit::Configuration, "runner.toml has no environment of machines")
            .with_remedy("docs/releases.md shows how to describe one")
    })?;
    let wanted = package.map_or_else(|| first.package.to_string(), str::to_owned);
    let open = {
        // Never a file: one in the project's directory may well be called as the package is.
        let reference = package::reference(&wanted).map_err(|bad| {
            bad.with_remedy("name a package of the store, NAME@VERSION; `staith run` brings one there")
        })?;
        let opened = tokio::task::spawn_blocking(move || package::open_stored(&reference)).await;
        opened.map_err(|panicked| Problem::bug(panicked.to_string()))??
    };
    let published = open.published.ok_or_else(|| Problem::bug("a package of the store is not published"))?;
    let source = source_of(home, folder, &published).await;
    if source.trust == Some(Trust::Fork) {
        let what = format!("{}@{} makes no release", published.package.name, published.package.version);
        return Err(Problem::new(Exit::Configuration, what)
            .with_why("its provenance says that a fork's code has made it")
            .with_remedy("release what a branch of the repository has made"));
    }
    let material = Material { package: &published.package, reader: &open.reader, source: &source };
    freeze_package(home, &pipeline, material).await
}

/// A package that is to be released, and where it came from.
#[derive(Clone, Copy)]
pub(crate) struct Material<'a> {
    pub(crate) package: &'a Package,
    pub(crate) reader: &'a PackageReader,
    pub(crate) source: &'a SourceOfRelease,
}

/// Freezes a package with what all environments say that take it, with this machine's secrets; says whether the release was there already.
///
/// # Errors
/// It can't run as the environments say (20).
pub(crate) async fn freeze_package(
    home: &Home,
    pipeline: &Pipeline,
    material: Material<'_>,
) -> Result<(FleetRelease, bool), Problem> {
    let environments = all_takers(pipeline, material.package)?;
    let known = secrets_of(home, environments.iter().copied()).await?;
    let secrets = environments.iter().map(|one| (one.name.clone(), known.clone())).collect();
    freeze_for(home, pipeline, material, &environments, &secrets)
}

/// The environments of machines that take a package.
///
/// # Errors
/// There is none (20).
pub(crate) fn all_takers<'a>(
    pipeline: &'a Pipeline,
    package: &Package,
) -> Result<Vec<&'a FleetEnvironment>, Problem> {
    let environments = takers_of(pipeline, &package.name);
    if environments.is_empty() {
        return Err(Problem::new(
            Exit::Configuration,
            format!("no environment of machines in runner.toml takes the package `{}`", package.name),
        ));
    }
    Ok(environments)
}

/// Freezes a package with what some environments say, each with secrets of its own; says whether the release was there already.
///
/// # Errors
/// It can't run as the environments say (20).
pub(crate) fn freeze_for(
    home: &Home,
    pipeline: &Pipeline,
    Material { package, reader, source }: Material<'_>,
    environments: &[&FleetEnvironment],
    secrets: &BTreeMap<Name, BTreeMap<String, Secret>>,
) -> Result<(FleetRelease, bool), Problem> {
    let called = format!("{}@{}", package.name, package.version);
    let manifest = reader.manifest().ok_or_else(|| {
        Problem::new(
            Exit::Configuration,
            format!("{called} was not written by Staith, so it has no list of its content"),
        )
    })?;
    let key = version_key(home)?;
    let project = pipeline.name();
    let ingredients = Ingredients { project, package, manifest, source, environments, secrets, key: &key };
    let release = freeze(&ingredients).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let mut remedies: Vec<String> =
            errors.iter().map(staith_releaser::fleet::freeze::FreezeError::remedy).collect();
        remedies.dedup();
        Problem::new(Exit::Configuration, format!("{called} makes no release"))
            .with_why(lines.join("\n"))
            .with_remedy(remedies.join("\n"))
    })?;
    let already = shelf_of(home, pipeline.name()).keep(&release)?;
    Ok((release, already))
}
