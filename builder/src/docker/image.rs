//! From what a pipeline names to an image that the engine has.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use bollard::{models::ImageInspect, query_parameters::CreateImageOptionsBuilder};
use futures_util::StreamExt;
use staith_model::{Digest, Tool};

use super::{Shared, archive, daemon::Daemon, is_absent, refused, why};
use crate::{
    engine::{EngineError, Image, ImageFetched, ImageProgress, ImageSpec, Root},
    images::{ImageReference, NotAnImage, RegistryImage, find_archive, judge_registry, workdir},
    sandbox::shared::{SYSTEM_PATH, folder},
};

/// Resolves an image, and folders of the host that are shown beside it. Fetches the image when it is not here.
pub(super) async fn resolve(
    shared: &Shared,
    wanted: &ImageSpec,
    progress: &ImageProgress<'_>,
) -> Result<Image, EngineError> {
    let daemon = shared.daemon().await?;
    let place = Place::of(shared, wanted)?;
    let found = match (here(daemon, &place.name).await?, &place.archive) {
        (Some(found), _) => found,
        (None, None) => {
            // What the engine has already, a pipeline may name whatever it is called.
            if let Some(image) = &place.registry {
                judge_registry(image, &shared.caution).await?;
            }
            fetch(daemon, &place, progress).await?
        }
        (None, Some(path)) => archive::import(daemon, place.reference, path, &place.name, progress).await?,
    };
    finish(shared, wanted, place.reference, found)
}

/// The same for an image that the engine has already; none when it does not.
pub(super) async fn known(shared: &Shared, wanted: &ImageSpec) -> Result<Option<Image>, EngineError> {
    let place = Place::of(shared, wanted)?;
    let found = here(shared.daemon().await?, &place.name).await?;
    found.map(|found| finish(shared, wanted, place.reference, found)).transpose()
}

/// Where an image comes from.
struct Place<'a> {
    /// As the pipeline names it.
    reference: &'a str,
    /// What the engine calls it, with all that the reference leaves out: engines would fetch all of an image's tags.
    name: String,
    /// The file that it is in; `None` is a registry.
    archive: Option<PathBuf>,
    /// What is asked for, if that is a registry's.
    registry: Option<RegistryImage>,
}

impl<'a> Place<'a> {
    fn of(shared: &Shared, wanted: &'a ImageSpec) -> Result<Self, EngineError> {
        let Some(reference) = &wanted.reference else {
            return Err(EngineError::Unsupported {
                what: "a container engine has no root file system of the host, and no image is named".to_owned(),
                remedy: "name one for all steps at the top of runner.toml, such as `image = \"debian:12\"`, or for one step in \
                         its section; or leave `--engine` out: the built-in sandbox shows the host's own programs"
                    .to_owned(),
            });
        };
        let parsed = reference.parse().map_err(|bad: NotAnImage| EngineError::ImageMissing {
            reference: reference.clone(),
            why: bad.why,
            remedy: bad.remedy,
        })?;
        Ok(match parsed {
            ImageReference::Local(image) => {
                let path = find_archive(&image, &shared.image_roots)?;
                Self {
                    reference,
                    name: archive::name(reference, &path)?,
                    archive: Some(path),
                    registry: None,
                }
            }
            ImageReference::Registry(image) => {
                Self { reference, name: image.to_string(), archive: None, registry: Some(image) }
            }
        })
    }
}

async fn here(daemon: &Daemon, name: &str) -> Result<Option<ImageInspect>, EngineError> {
    match daemon.api.inspect_image(name).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(refused(format!("looking for the image {name}"))(error)),
    }
}

fn finish(
    shared: &Shared,
    wanted: &ImageSpec,
    reference: &str,
    found: ImageInspect,
) -> Result<Image, EngineError> {
    let mut image = of_inspected(reference, found)?;
    let mut identities = Vec::new();
    for tool in &wanted.tools {
        let (identity, shown) = show(shared, tool)?;
        image.binds.extend(shown.binds);
        image.env.extend(shown.env);
        image.path.splice(0..0, shown.path);
        identities.push(identity);
    }
    image.digest = Digest::of_value("staith.engine-image.v1", &(image.digest, identities));
    Ok(image)
}

/// A folder that a project names can be shown in any image. The toolchains that Staith finds by itself are made of the
/// host's own libraries, so they are not: in an image of another system they would fail in ways that nobody understands.
fn show(shared: &Shared, tool: &Tool) -> Result<(String, Image), EngineError> {
    match tool {
        Tool::Directory { name, path } => folder(name, path.as_ref(), &shared.state, &shared.tool_roots),
        Tool::Known(name) => Err(EngineError::ToolMissing {
            tool: name.to_string(),
            why: "it is the host's, built for the host's own libraries, and can't be shown in a container"
                .to_owned(),
            remedy: format!(
                "use an image that has it and remove `{name}` from `tools`, or leave `--engine` out"
            ),
        }),
    }
}

async fn fetch(
    daemon: &Daemon,
    place: &Place<'_>,
    progress: &ImageProgress<'_>,
) -> Result<ImageInspect, EngineError> {
    let (reference, name) = (place.reference, place.name.as_str());
    let missing = |why: String| EngineError::ImageMissing {
        reference: reference.to_owned(),
        why,
        remedy: format!(
            "check its name, and that the container engine can reach its registry and is logged in: `docker pull {name}` has to \
             work"
        ),
    };
    let options = CreateImageOptionsBuilder::default().from_image(name).build();
    let mut answers = daemon.api.create_image(Some(options), None, None);
    let mut layers = BTreeMap::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|error| missing(why(&error)))?;
        if let (Some(layer), Some(detail)) = (answer.id, answer.progress_detail)
            && answer.status.as_deref() == Some("Downloading")
        {
            layers.insert(layer, (detail.current.unwrap_or(0), detail.total));
            progress(so_far(reference, &layers));
        }
    }
    daemon.api.inspect_image(name).await.map_err(|error| missing(why(&error)))
}

fn so_far(reference: &str, layers: &BTreeMap<String, (i64, Option<i64>)>) -> ImageFetched {
    let bytes = |count: i64| u64::try_from(count).unwrap_or(0);
    let totals: Option<Vec<u64>> = layers.values().map(|(_, total)| total.map(bytes)).collect();
    ImageFetched {
        reference: reference.to_owned(),
        bytes: layers.values().map(|(current, _)| bytes(*current)).sum(),
        of_bytes: totals.map(|totals| totals.iter().sum()),
    }
}

fn of_inspected(reference: &str, found: ImageInspect) -> Result<Image, EngineError> {
    let missing = |why: String, remedy: &str| EngineError::ImageMissing {
        reference: reference.to_owned(),
        why,
        remedy: remedy.to_owned(),
    };
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let its = (found.os.as_deref().unwrap_or("linux"), found.architecture.as_deref().unwrap_or(architecture));
    if its != ("linux", architecture) {
        let why = format!("it is for {} on {}", its.0, its.1);
        return Err(missing(why, "use an image for Linux and this processor"));
    }
    let id = found
        .id
        .ok_or_else(|| missing("the engine gives it no id".to_owned(), "update the container engine"))?;
    let config = found.config.unwrap_or_default();
    let command = config.entrypoint.into_iter().chain(config.cmd).flatten().map(OsString::from).collect();
    let workdir = workdir(&config.working_dir.unwrap_or_default());
    let mut env: BTreeMap<String, String> = config
        .env
        .into_iter()
        .flatten()
        .filter_map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    let path = match env.remove("PATH") {
        Some(path) if !path.is_empty() => path.split(':').map(PathBuf::from).collect(),
        _ => SYSTEM_PATH.map(PathBuf::from).to_vec(),
    };
    // They are the step's own, whatever the image says.
    for name in ["HOME", "USER", "TMPDIR"] {
        env.remove(name);
    }
    let digest = Digest::of(id.as_bytes());
    Ok(Image { digest, root: Root::InEngine(id), binds: Vec::new(), path, env, command, workdir })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ImageConfig;

    #[test]
    fn an_image_brings_its_variables_but_not_who_the_step_is() {
        let env = ["PATH=/opt/x:/bin", "HOME=/root", "CARGO_HOME=/usr/local/cargo", "odd"]
            .map(str::to_owned)
            .to_vec();
        let found = ImageInspect {
            id: Some("sha256:abc".to_owned()),
            config: Some(ImageConfig {
                env: Some(env),
                entrypoint: Some(vec!["/entry".to_owned()]),
                cmd: Some(vec!["serve".to_owned(), "all".to_owned()]),
                working_dir: Some("srv".to_owned()),
                ..ImageConfig::default()
            }),
            ..ImageInspect::default()
        };
        let image = of_inspected("x", found.clone()).unwrap();
        assert_eq!(image.path, ["/opt/x", "/bin"].map(PathBuf::from));
        assert_eq!(image.command, ["/entry", "serve", "all"]);
        assert_eq!(image.workdir, Some(PathBuf::from("/srv")));
        assert_eq!(
            image.env.into_iter().collect::<Vec<_>>(),
            [("CARGO_HOME".to_owned(), "/usr/local/cargo".to_owned())]
        );
        assert_eq!(image.root, Root::InEngine("sha256:abc".to_owned()));
        let other = ImageInspect { architecture: Some("s390x".to_owned()), ..found };
        assert!(
            matches!(of_inspected("x", other), Err(EngineError::ImageMissing { why, .. }) if why.contains("s390x"))
        );
    }

    #[test]
    fn progress_is_the_sum_of_the_layers_once_all_are_known() {
        let mut layers = BTreeMap::from([("a".to_owned(), (5, Some(10)))]);
        assert_eq!((so_far("x", &layers).bytes, so_far("x", &layers).of_bytes), (5, Some(10)));
        layers.insert("b".to_owned(), (1, None));
        assert_eq!((so_far("x", &layers).bytes, so_far("x", &layers).of_bytes), (6, None));
    }
}
