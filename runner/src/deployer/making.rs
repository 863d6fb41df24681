//! A package of the server becomes a release.

use std::{collections::BTreeMap, fs::File, path::Path};

use staith_builder::pipeline::Pipeline;
use staith_model::{
    Exit, FleetEnvironment, Name, Package, Secret,
    service::{OrderAnswer, ReleaseMaterial},
};
use staith_packager::{
    hashing,
    registry::{
        client::{Remote, Settings},
        transfer::{Place, TransferError, pull},
    },
    store::{Published, Store},
    web_deploy::{PROFILE, PackageReader},
};
use staith_server::store::SecretsOf;
use tokio::runtime::Handle;

use super::{
    office::{Office, misnamed},
    secrets::{not_set, withheld},
};
use crate::{
    cli::{Material, all_takers, freeze_for, package_reference},
    fleet::{missing_secrets, secrets_beside},
    home::Home,
    output::Problem,
    package_place::own_store,
    workshop::understood_from_afar,
};

/// Brings the package here, and freezes it.
pub(super) async fn made(
    office: &Office,
    project: &Name,
    material: &ReleaseMaterial,
) -> Result<OrderAnswer, Problem> {
    let pipeline = understood_from_afar(&material.pipeline)?;
    if pipeline.name() != project {
        return Err(misnamed(project, pipeline.name()));
    }
    let home = office.home(project);
    let (settings, wanted, at) = (office.desk.registry(project.as_str())?, material.clone(), home.clone());
    let runtime = Handle::current();
    let bringing = tokio::task::spawn_blocking(move || brought(&at, settings, &wanted, &runtime));
    let (published, reader) = bringing.await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
    let package = &published.package;
    let chosen = chosen(office, &home, &pipeline, package, material.number).await?;
    let from = Material { package, reader: &reader, source: &material.source };
    let (release, _) = freeze_for(&home, &pipeline, from, &chosen.environments, &chosen.secrets)?;
    Ok(OrderAnswer::Made {
        release: release.digest(),
        environments: release.settings.keys().cloned().collect(),
        frozen: Some(Box::new(release)),
    })
}

/// Where a release goes, and what of secrets each environment gives it.
struct Chosen<'a> {
    environments: Vec<&'a FleetEnvironment>,
    secrets: BTreeMap<Name, BTreeMap<String, Secret>>,
}

/// The environments that take the package, without those whose secrets are not for this release: it does not go there.
async fn chosen<'a>(
    office: &Office,
    home: &Home,
    pipeline: &'a Pipeline,
    package: &Package,
    number: u64,
) -> Result<Chosen<'a>, Problem> {
    let mut chosen = Chosen { environments: Vec::new(), secrets: BTreeMap::new() };
    let mut left_out = None;
    for environment in all_takers(pipeline, package)? {
        let kept = office.secrets(pipeline.name(), environment, SecretsOf::Making(number)).await?;
        if let Some(secret) = kept.withheld.first() {
            left_out = Some(withheld(&environment.name, secret));
            continue;
        }
        let secrets = secrets_beside(home, &kept.given, environment).await?;
        if let Some(missing) = missing_secrets(&[environment], &secrets).first() {
            return Err(not_set(missing, pipeline.name()));
        }
        chosen.environments.push(environment);
        chosen.secrets.insert(environment.name.clone(), secrets);
    }
    match left_out {
        Some(refused) if chosen.environments.is_empty() => Err(refused),
        _ => Ok(chosen),
    }
}

/// The package in the project's store here, as the run made it. Blocks.
fn brought(
    home: &Home,
    settings: Settings,
    wanted: &ReleaseMaterial,
    runtime: &Handle,
) -> Result<(Published, PackageReader), Problem> {
    let store = own_store(home)?;
    let published = match store.find(&wanted.package, &wanted.version)? {
        Some(there) => there,
        None => pulled(&store, home, settings, wanted, runtime)?,
    };
    if published.package.digest != wanted.digest {
        let what = format!("{} {} is not what the run made", wanted.package, wanted.version);
        return Err(Problem::new(Exit::Configuration, what)
            .with_why(format!("it is {}, and the run made {}", published.package.digest, wanted.digest))
            .with_remedy("give what is released a version of its own"));
    }
    let blob = store.get(&published.package.digest)?;
    let reader = PackageReader::of_file(blob.file, &blob.path)?;
    Ok((published, reader))
}

fn pulled(
    store: &Store,
    home: &Home,
    settings: Settings,
    wanted: &ReleaseMaterial,
    runtime: &Handle,
) -> Result<Published, Problem> {
    let from = Place::Registry(Remote::new(settings, runtime.clone()).map_err(TransferError::from)?);
    let reference = package_reference(&format!("{}@{}", wanted.package, wanted.version))?;
    let place =
        tempfile::tempdir_in(home.path()).map_err(|refused| Problem::unreadable(home.path(), &refused))?;
    let stop = tokio_util::sync::CancellationToken::new();
    let pulled = pull(&from, &reference, place.path(), false, &|_, _, _| {}, &stop)?;
    let mut staged = store.stage()?;
    let unreadable = |refused: std::io::Error| Problem::unreadable(&pulled.path, &refused);
    let mut file = File::open(&pulled.path).map_err(unreadable)?;
    let (digest, _) = hashing::copy(&mut file, staged.file()).map_err(unreadable)?;
    verified(staged.file().try_clone().map_err(unreadable)?, &pulled.path)?;
    if digest != wanted.digest {
        let what = format!(
            "{} {} came as {digest}, and the run made {}",
            wanted.package, wanted.version, wanted.digest
        );
        return Err(Problem::new(Exit::Configuration, what));
    }
    Ok(store.publish(staged, &pulled.package, PROFILE, None)?)
}

fn verified(file: File, path: &Path) -> Result<(), Problem> {
    PackageReader::of_file(file, path)?.verify()?;
    Ok(())
}
