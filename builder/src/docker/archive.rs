//! An image from a file of this machine: one that `docker save` made or in OCI's layout, or a tar of a root file system.
//!
//! The engine remembers it under a name made of the file's stamps, so the same file is given to it once.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use bollard::{
    body_try_stream,
    models::ImageInspect,
    query_parameters::{CreateImageOptionsBuilder, ImportImageOptionsBuilder, TagImageOptionsBuilder},
};
use futures_util::StreamExt;
use staith_model::Digest;
use tokio_util::io::ReaderStream;

use super::{daemon::Daemon, refused, why};
use crate::engine::{EngineError, ImageFetched, ImageProgress};

/// The engine's name for all such images; the tag tells them apart.
const NAME: &str = "localhost/staith-imported";

/// What the engine calls the image of a file.
pub(super) fn name(reference: &str, path: &Path) -> Result<String, EngineError> {
    let found = fs::metadata(path).map_err(|error| missing(reference, error.to_string()))?;
    let stamp = (path, found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec());
    let tag = Digest::of_value("staith.imported-image.v1", &stamp).hex()[..16].to_owned();
    Ok(format!("{NAME}:{tag}"))
}

fn missing(reference: &str, why: String) -> EngineError {
    EngineError::ImageMissing {
        reference: reference.to_owned(),
        why,
        remedy: "name a tar that `docker save` or `podman save` wrote, or one of a root file system \
                 (`tar -C rootfs -c . > rootfs.tar`)"
            .to_owned(),
    }
}

/// Gives the image in a file to the engine, under the name that [`name`] says.
pub(super) async fn import(
    daemon: &Daemon,
    reference: &str,
    path: &Path,
    name: &str,
    progress: &ImageProgress<'_>,
) -> Result<ImageInspect, EngineError> {
    let missing = |why: String| missing(reference, why);
    let size = fs::metadata(path).map_err(|error| missing(error.to_string()))?.size();
    let told = |bytes| ImageFetched { reference: reference.to_owned(), bytes, of_bytes: Some(size) };
    progress(told(0));
    // Which of the two it is, the engine knows best: it looks for the list of layers first.
    let image = match load(daemon, path).await {
        Ok(Some(image)) => image,
        _ => import_root(daemon, path).await.map_err(missing)?,
    };
    let tag = name.rsplit_once(':').map_or("", |(_, tag)| tag);
    let options = TagImageOptionsBuilder::default().repo(NAME).tag(tag).build();
    let named = daemon.api.tag_image(&image, Some(options)).await;
    named.map_err(refused(format!("naming the image {image}")))?;
    progress(told(size));
    daemon.api.inspect_image(name).await.map_err(|error| missing(why(&error)))
}

/// The file, piece by piece: archives are bigger than the memory that this process should take.
async fn stream(path: &Path) -> Result<ReaderStream<tokio::fs::File>, String> {
    const PIECE: usize = 256 << 10;
    let file = tokio::fs::File::open(path).await.map_err(|error| error.to_string())?;
    Ok(ReaderStream::with_capacity(file, PIECE))
}

/// Gives the engine an archive of images; the one that was in it, if the engine found one.
async fn load(daemon: &Daemon, path: &Path) -> Result<Option<String>, String> {
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let mut answers = daemon.api.import_image(options, body_try_stream(stream(path).await?), None);
    let mut image = None;
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|error| why(&error))?;
        image = answer.stream.as_deref().and_then(loaded).or(image);
    }
    Ok(image)
}

/// `Loaded image: debian:12`, `Loaded image ID: sha256:...`; Podman puts several after one another.
fn loaded(said: &str) -> Option<String> {
    let (_, after) = said.split_once("Loaded image")?;
    let (_, name) = after.split_once(": ")?;
    Some(name.trim().split(',').next()?.trim().to_owned())
}

/// Gives the engine an archive of files; the id of the image that it made.
async fn import_root(daemon: &Daemon, path: &Path) -> Result<String, String> {
    let options = CreateImageOptionsBuilder::default().from_src("-").build();
    let mut answers =
        daemon.api.create_image(Some(options), Some(body_try_stream(stream(path).await?)), None);
    let mut image = None;
    while let Some(answer) = answers.next().await {
        // Podman says it as the id, Docker as the status.
        let answer = answer.map_err(|error| why(&error))?;
        let is_id = |text: &String| text.starts_with("sha256:");
        image = answer.status.or(answer.id).map(|text| text.trim().to_owned()).filter(is_id).or(image);
    }
    image.ok_or_else(|| "the engine does not say what it made of it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_loaded_is_read_off_the_answer() {
        assert_eq!(loaded("Loaded image: debian:12\n").as_deref(), Some("debian:12"));
        assert_eq!(loaded("Loaded image ID: sha256:abc\n").as_deref(), Some("sha256:abc"));
        assert_eq!(loaded("Loaded image: localhost/a:1,localhost/b:1").as_deref(), Some("localhost/a:1"));
        assert_eq!(loaded("unpacking"), None);
    }
}
