//! What a manifest says: which blobs and manifests it needs, what it is about. Read without trust. Pure.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use staith_model::Digest;

use super::shelf::StoredManifest;

/// An image or an artifact.
pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The types that are taken.
pub const KINDS: [&str; 4] = [IMAGE, INDEX, DOCKER_IMAGE, DOCKER_LIST];

/// A part that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where else it is, for what registries must not hand on.
    #[serde(default)]
    pub urls: Vec<String>,
    /// What is said about it.
    #[serde(default)]
    pub annotations: Option<Map<String, Value>>,
}

/// A manifest that makes sense.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    /// What kind of artifact it is, where it says.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// What the artifact's type describes.
    #[serde(default)]
    pub config: Option<Descriptor>,
    /// The content, of an image or an artifact.
    #[serde(default)]
    pub layers: Option<Vec<Descriptor>>,
    /// The manifests that it lists, of an index.
    #[serde(default)]
    pub manifests: Option<Vec<Descriptor>>,
    /// The manifest that it is about.
    #[serde(default)]
    pub subject: Option<Descriptor>,
    /// What is said about it.
    #[serde(default)]
    pub annotations: Option<Map<String, Value>>,
}

impl Manifest {
    /// Reads a manifest that is said to be of the type `said`; its own `mediaType` counts where nothing is said. Gives its type,
    /// too.
    ///
    /// # Errors
    /// It is not a manifest, or can be read as two things; the text says why.
    pub fn parse(bytes: &[u8], said: Option<&str>) -> Result<(Self, String), String> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|why| format!("it is not a manifest: {why}"))?;
        if manifest.schema_version != 2 {
            return Err(format!("its schemaVersion is {}, and only 2 is known", manifest.schema_version));
        }
        // `text/plain; charset=utf-8`: what follows the type says nothing about which one it is.
        let said = said.map(|said| said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let kind = match (said, &manifest.media_type) {
            (Some(said), Some(own)) if said != *own => {
                return Err(format!("its mediaType is {own}, and it was sent as {said}"));
            }
            (Some(said), _) => said,
            (None, Some(own)) => own.clone(),
            (None, None) => return Err("neither Content-Type nor mediaType says what it is".to_owned()),
        };
        if !KINDS.contains(&kind.as_str()) {
            return Err(format!(
                "manifests of the type {kind} are not taken; these are: {}",
                KINDS.join(", ")
            ));
        }
        manifest.is_one_thing(&kind)?;
        Ok((manifest, kind))
    }

    /// What is both an image and an index is understood in one way here and in another there.
    fn is_one_thing(&self, kind: &str) -> Result<(), String> {
        let is_index = matches!(kind, INDEX | DOCKER_LIST);
        match (is_index, &self.manifests, &self.layers, &self.config) {
            (true, Some(_), None, None) | (false, None, Some(_), Some(_)) => Ok(()),
            (true, None, ..) => Err("an index has a list `manifests`".to_owned()),
            (false, _, None, _) | (false, _, _, None) => Err("an image has `config` and `layers`".to_owned()),
            _ => Err("it has the parts of an image and those of an index".to_owned()),
        }
    }

    /// The blobs that must be there for it to be of use. What may be had elsewhere only is not among them.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let layers = self.layers.iter().flatten();
        self.config.iter().chain(layers).filter(|part| part.urls.is_empty())
    }

    /// Its type as an artifact, as the specification has it for lists of referrers.
    fn kind_of_artifact(&self) -> Option<&str> {
        let own = self.artifact_type.as_deref().filter(|kind| !kind.is_empty());
        own.or_else(|| self.config.as_ref().map(|config| config.media_type.as_str()))
    }
}

/// The index of manifests that are about another, as the specification wants it: those of one type, if one is asked for.
/// `None` for each that can't be read: it was taken once, so only damage makes it so, and damage is told where it is asked for.
pub(super) fn referrers(of: &[StoredManifest], kind: Option<&str>) -> Value {
    let described = of.iter().filter_map(|stored| {
        let (manifest, _) = Manifest::parse(&stored.bytes, Some(&stored.media_type)).ok()?;
        let artifact = manifest.kind_of_artifact();
        if kind.is_some_and(|kind| artifact != Some(kind)) {
            return None;
        }
        let mut entry = json!({
            "mediaType": stored.media_type,
            "digest": stored.digest.to_string(),
            "size": stored.bytes.len(),
        });
        if let Some(artifact) = artifact {
            entry["artifactType"] = artifact.into();
        }
        if let Some(annotations) = manifest.annotations {
            entry["annotations"] = Value::Object(annotations);
        }
        Some(entry)
    });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": described.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn descriptor() -> Value {
        json!({ "mediaType": "a/b", "digest": Digest::of(b"").to_string(), "size": 0 })
    }

    #[test]
    fn what_is_two_things_or_none_is_refused() {
        let image = json!({ "schemaVersion": 2, "config": descriptor(), "layers": [] });
        let index = json!({ "schemaVersion": 2, "manifests": [] });
        let both = json!({ "schemaVersion": 2, "config": descriptor(), "layers": [], "manifests": [] });
        let old = json!({ "schemaVersion": 1, "config": descriptor(), "layers": [] });
        let typed = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
        let parse =
            |value: &Value, kind| Manifest::parse(value.to_string().as_bytes(), kind).map(|(_, kind)| kind);
        assert_eq!(parse(&image, Some(IMAGE)).as_deref(), Ok(IMAGE));
        assert_eq!(
            parse(&image, Some("Application/vnd.oci.image.manifest.v1+json; x=y")).as_deref(),
            Ok(IMAGE)
        );
        assert_eq!(parse(&index, Some(INDEX)).as_deref(), Ok(INDEX));
        assert_eq!(parse(&typed, None).as_deref(), Ok(INDEX));
        for (bad, kind) in [
            (&image, Some(INDEX)),
            (&index, Some(IMAGE)),
            (&both, Some(IMAGE)),
            (&both, Some(INDEX)),
            (&old, Some(IMAGE)),
            (&typed, Some(IMAGE)),
            (&image, None),
            (&image, Some("text/html")),
        ] {
            assert!(parse(bad, kind).is_err(), "{bad} as {kind:?}");
        }
    }

    #[test]
    fn what_may_only_be_had_elsewhere_need_not_be_here() {
        let mut foreign = descriptor();
        foreign["urls"] = json!(["https://example.org/x"]);
        let image = json!({ "schemaVersion": 2, "config": descriptor(), "layers": [foreign, descriptor()] });
        let (manifest, _) = Manifest::parse(image.to_string().as_bytes(), Some(IMAGE)).unwrap();
        assert_eq!(manifest.blobs().count(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes: Vec<u8>, json in "[{}\\[\\]\":a-z0-9,]{0,60}") {
            let _ = Manifest::parse(&bytes, Some(IMAGE));
            let _ = Manifest::parse(json.as_bytes(), None);
        }
    }
}
