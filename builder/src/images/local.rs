//! Images on this machine: which may be used, and what they are.
//!
//! A pipeline may come from anybody, so that it names a path says nothing. Only what the machine's owner put below `/opt` or
//! below a folder of [`ROOTS_VARIABLE`] is used. What is used is copied: a step never sees the place itself.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use serde::Serialize;
use staith_model::Digest;

use super::{
    bundle::Bundle,
    config::{self, ImageConfig, Manifest},
    directory,
    error::{ImageError, at},
    reference::LocalImage,
    registry::unpack_into,
    store::{Known, Store},
};
use crate::sandbox::{Stamp, reason_not_below, resolve_below, stamps_below};

/// In Staith's own environment, never in a pipeline's: folders below which images may be, with `:` between them.
pub(super) const ROOTS_VARIABLE: &str = "STAITH_IMAGE_ROOTS";

/// The folders that the machine's owner allows by the environment. What is not absolute means nothing.
pub(crate) fn allowed_roots() -> Vec<PathBuf> {
    let value = env::var_os(ROOTS_VARIABLE).unwrap_or_default();
    env::split_paths(&value).filter(|root| root.is_absolute()).collect()
}

/// What an image on this machine is known by: changes when a file of it does.
#[derive(Serialize)]
struct Identity<'a> {
    tag: &'a Option<String>,
    stamps: &'a [Stamp],
}

/// Imports an image, or finds that it was imported before. Blocks.
pub(super) fn import(image: &LocalImage, roots: &[PathBuf], store: &Store) -> Result<Known, ImageError> {
    let path = find(&image.path, roots)?;
    let found = fs::metadata(&path).map_err(at("looking at", &path))?;
    let what = match (found.is_dir(), image.is_layout) {
        (true, false) if is_layout(&path) => What::Layout,
        (true, true) => What::Layout,
        (true, false) => What::RootFs,
        (false, _) if found.is_file() => What::Archive,
        (false, _) => {
            let why = format!("{} is neither a file nor a directory", path.display());
            return Err(ImageError::missing(why, "name an archive, a layout or a root file system"));
        }
    };
    // A layout's files are named by their content: its index tells all.
    let stamps = match what {
        What::Layout => vec![Stamp::of(path.join("index.json"))],
        What::Archive => vec![Stamp::of(&path)],
        What::RootFs => stamps_below(&path),
    };
    let identity = Digest::of_value("staith.local-image.v1", &Identity { tag: &image.tag, stamps: &stamps });
    if let Some(known) = store.known(&identity) {
        return Ok(known);
    }
    let _turn = store.wait_turn(&identity.hex())?;
    if let Some(known) = store.known(&identity) {
        return Ok(known);
    }
    let known = match what {
        What::RootFs => root_fs(&path, store)?,
        What::Layout => bundle(Bundle::of_directory(path), image.tag.as_deref(), store)?,
        What::Archive => archive(&path, image.tag.as_deref(), store)?,
    };
    // What changed a moment ago may change again and keep its times.
    if stamps.iter().all(Stamp::is_settled) {
        store.know(&identity, &known)?;
    }
    Ok(known)
}

enum What {
    Archive,
    Layout,
    RootFs,
}

fn is_layout(path: &Path) -> bool {
    path.join("oci-layout").is_file() && path.join("index.json").is_file()
}

/// The place itself, without links, if the machine's owner allows it.
pub(super) fn find(path: &Path, roots: &[PathBuf]) -> Result<PathBuf, ImageError> {
    let allow = || {
        format!(
            "put it below /opt, or, if you own this machine, start Staith with {ROOTS_VARIABLE} set to a folder that holds it \
             (absolute paths, `:` between several)"
        )
    };
    let missing = |why: String| ImageError::missing(format!("{} {why}", path.display()), allow());
    if !path.is_absolute() {
        let found = roots.iter().find_map(|root| fs::canonicalize(root.join(path)).ok());
        let allowed = found.filter(|host| reason_not_below(host, roots, ROOTS_VARIABLE).is_none());
        return allowed.ok_or_else(|| missing(format!("is in no folder that {ROOTS_VARIABLE} allows")));
    }
    resolve_below(path, roots, ROOTS_VARIABLE).map_err(missing)
}

fn root_fs(path: &Path, store: &Store) -> Result<Known, ImageError> {
    let layer = store.make_layer(|place| directory::copy(path, place), None)?;
    Ok(Known { layers: vec![layer], config: ImageConfig::plain() })
}

fn archive(path: &Path, tag: Option<&str>, store: &Store) -> Result<Known, ImageError> {
    let file = File::open(path).map_err(at("opening", path))?;
    let bundle_of = Bundle::of_archive(file, store)?;
    if bundle_of.has("manifest.json") || bundle_of.has("index.json") {
        return bundle(bundle_of, tag, store);
    }
    // Neither docker's nor an OCI archive: a root file system, as `docker export` and `debootstrap` make them.
    let layer = unpack_into(store, bundle_of.whole()?, None)?;
    Ok(Known { layers: vec![layer], config: ImageConfig::plain() })
}

/// An image in docker's or in OCI's form, in an archive or a directory.
fn bundle(bundle: Bundle, tag: Option<&str>, store: &Store) -> Result<Known, ImageError> {
    let parts = if bundle.has("index.json") { of_layout(&bundle, tag)? } else { of_docker(&bundle, tag)? };
    let (config, digests) = config::parse_config(&bundle.small(&parts.config)?)?;
    if digests.len() != parts.layers.len() {
        let why =
            format!("it has {} layers, and its configuration knows {}", parts.layers.len(), digests.len());
        return Err(ImageError::unsound("the image contradicts itself", why));
    }
    for (name, digest) in parts.layers.iter().zip(&digests) {
        let _turn = store.wait_turn(&digest.hex())?;
        if store.layer(digest).is_none() {
            unpack_into(store, bundle.open(name)?, Some(digest))?;
        }
    }
    Ok(Known { layers: digests, config })
}

/// Where an image's parts are in a bundle.
struct Parts {
    config: String,
    layers: Vec<String>,
}

fn of_layout(bundle: &Bundle, tag: Option<&str>) -> Result<Parts, ImageError> {
    let Manifest::Index(mut entries) = Manifest::parse(&bundle.small("index.json")?)? else {
        return Err(ImageError::unsound("the layout's index can't be used", "it is no index"));
    };
    if let Some(tag) = tag {
        let name =
            |entry: &config::IndexEntry| entry.annotations.get("org.opencontainers.image.ref.name").cloned();
        let names: Vec<String> = entries.iter().filter_map(name).collect();
        entries.retain(|entry| {
            name(entry).is_some_and(|name| name == tag || name.ends_with(&format!(":{tag}")))
        });
        if entries.is_empty() {
            let why = format!("the layout has no image `{tag}`; it has {}", names.join(", "));
            return Err(ImageError::missing(why, "name one that it has"));
        }
    }
    // One entry needs no platform; an index below it may name several.
    let mut of = match entries.as_slice() {
        [only] => only.of.clone(),
        _ => config::for_this_machine(&entries)?.clone(),
    };
    for _ in 0..2 {
        match Manifest::parse(&bundle.blob(&of.digest)?)? {
            Manifest::Index(entries) => of = config::for_this_machine(&entries)?.clone(),
            Manifest::Image { config, layers } => {
                let blob = |digest: &str| Bundle::blob_name(digest);
                return Ok(Parts {
                    config: blob(&config.digest)?,
                    layers: layers.iter().map(|layer| blob(&layer.digest)).collect::<Result<_, _>>()?,
                });
            }
        }
    }
    Err(ImageError::unsound("the layout's index can't be used", "its indexes lead nowhere"))
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn of_docker(bundle: &Bundle, tag: Option<&str>) -> Result<Parts, ImageError> {
    let unsound = |why: String| ImageError::unsound("the archive's manifest.json can't be used", why);
    let saved: Vec<Saved> = serde_json::from_slice(&bundle.small("manifest.json")?)
        .map_err(|error| unsound(error.to_string()))?;
    let tags = |image: &Saved| image.repo_tags.clone().unwrap_or_default();
    let count = saved.len();
    let is_wanted = |image: &Saved| {
        tag.is_none_or(|tag| tags(image).iter().any(|name| name.ends_with(&format!(":{tag}"))))
    };
    let mut wanted = saved.into_iter().filter(is_wanted);
    match (wanted.next(), wanted.next()) {
        (Some(one), None) => Ok(Parts { config: one.config, layers: one.layers }),
        (None, _) => Err(unsound(format!("none of its {count} images is meant"))),
        (Some(_), Some(_)) => Err(ImageError::missing(
            format!("the archive holds {count} images"),
            "save one image alone, or say which as `oci:./image.tar:TAG`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_owner_allows_is_found() {
        let place = tempfile::tempdir().unwrap();
        let (allowed, other) = (place.path().join("allowed"), place.path().join("other"));
        fs::create_dir_all(&allowed).unwrap();
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("image.tar"), "").unwrap();
        fs::write(allowed.join("image.tar"), "").unwrap();
        std::os::unix::fs::symlink(other.join("image.tar"), allowed.join("link.tar")).unwrap();
        let roots = [allowed.clone()];
        assert_eq!(
            find(Path::new("./image.tar"), &roots).unwrap(),
            fs::canonicalize(allowed.join("image.tar")).unwrap()
        );
        assert!(find(&allowed.join("image.tar"), &roots).is_ok());
        for refused in
            [other.join("image.tar"), allowed.join("link.tar"), "./link.tar".into(), "./none.tar".into()]
        {
            assert!(find(&refused, &roots).is_err(), "{}", refused.display());
        }
        assert!(find(&allowed.join("image.tar"), &[]).is_err());
        std::os::unix::fs::symlink(&other, allowed.join("away")).unwrap();
        let refusal = |path: PathBuf| find(&path, &roots).unwrap_err().to_string();
        // The same words, whether it is there or not.
        for folder in [other.as_path(), &allowed.join("away"), Path::new("./away")] {
            let there = refusal(folder.join("image.tar"));
            assert_eq!(there.replace("image.tar", "nothing.tar"), refusal(folder.join("nothing.tar")));
            assert!(!folder.is_absolute() || there.contains("neither below /opt"), "{there}");
        }
        assert!(refusal(allowed.join("nothing.tar")).contains("No such file"));
        assert!(refusal("/opt/nothing-of-this-name.tar".into()).contains("can't be opened"));
    }
}
