//! What an image says of itself: its manifest, its index, its configuration. Pure.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use staith_model::Digest;

use super::error::{ImageError, tamed};

/// Longer descriptions are no descriptions.
pub(super) const LONGEST: u64 = 4 << 20;
/// More layers than any tool makes; the kernel takes 500.
const MOST_LAYERS: usize = 127;
/// Variables in a sandbox that are the sandbox's own to say.
const OF_THE_SANDBOX: [&str; 4] = ["HOME", "PATH", "TMPDIR", "USER"];
/// Proxies of wherever the image was made; the sandbox has its own, and can reach no other.
const PROXIES: [&str; 5] = ["all_proxy", "ftp_proxy", "http_proxy", "https_proxy", "no_proxy"];
/// Where an image that says nothing has its programs.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What of an image's configuration matters to a step or a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Variables, without those that are the sandbox's own.
    pub env: BTreeMap<String, String>,
    /// Where programs are, highest priority first.
    pub path: Vec<PathBuf>,
    /// What is run where nothing else is said, before [`command`](Self::command).
    pub entrypoint: Vec<String>,
    /// Its arguments, or, without an entry point, what is run.
    pub command: Vec<String>,
    /// Where it is run; empty is `/`.
    pub workdir: String,
    /// As whom it would be run elsewhere; empty and `root` are the usual. Here all is run as the sandbox's one user.
    pub user: String,
}

/// A manifest or an index, by what it has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    #[serde(default)]
    manifests: Vec<IndexEntry>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    schema_version: Option<u32>,
}

/// One part of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) size: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IndexEntry {
    #[serde(flatten)]
    pub(super) of: Descriptor,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

/// What a registry or a layout gave under one digest.
#[derive(Debug)]
pub(super) enum Manifest {
    /// One image.
    Image { config: Descriptor, layers: Vec<Descriptor> },
    /// Several, for several platforms or with several names.
    Index(Vec<IndexEntry>),
}

impl Manifest {
    /// # Errors
    /// It is not of a kind that is known.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let unsound = |why: String| ImageError::unsound("the image's manifest can't be used", why);
        let described: Described =
            serde_json::from_slice(bytes).map_err(|error| unsound(tamed(&error.to_string())))?;
        match described {
            Described { config: Some(config), layers, .. } if layers.len() <= MOST_LAYERS => {
                Ok(Self::Image { config, layers })
            }
            Described { config: Some(_), layers, .. } => {
                Err(unsound(format!("it has {} layers; at most {MOST_LAYERS} can be stacked", layers.len())))
            }
            Described { manifests, .. } if !manifests.is_empty() => Ok(Self::Index(manifests)),
            Described { schema_version: Some(1), .. } => {
                Err(unsound("it is of the first kind, which registries gave up in 2019".to_owned()))
            }
            _ => Err(unsound("it names neither a configuration nor manifests".to_owned())),
        }
    }
}

/// Of several images the one for this machine.
///
/// # Errors
/// There is none; those that are there are named.
pub(super) fn for_this_machine(entries: &[IndexEntry]) -> Result<&Descriptor, ImageError> {
    for_machine(entries, architecture())
}

fn for_machine<'a>(entries: &'a [IndexEntry], architecture: &str) -> Result<&'a Descriptor, ImageError> {
    let fits = |entry: &&IndexEntry| {
        entry
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture)
    };
    // Of several for one processor the plainest runs everywhere.
    let plainest = entries.iter().filter(fits).min_by_key(|entry| {
        let variant = entry.platform.as_ref().map_or("", |platform| platform.variant.as_str());
        !matches!(variant, "" | "v1" | "v8")
    });
    let without_platform = || match entries {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    };
    plainest.or_else(without_platform).map(|entry| &entry.of).ok_or_else(|| {
        let named = |entry: &IndexEntry| {
            let platform = entry.platform.as_ref()?;
            (platform.os != "unknown").then(|| tamed(&format!("{}/{}", platform.os, platform.architecture)))
        };
        let there: Vec<String> = entries.iter().filter_map(named).take(20).collect();
        ImageError::missing(
            format!("it is not made for linux/{architecture}; it is there for {}", there.join(", ")),
            "use an image that is made for this machine's processor",
        )
    })
}

/// This machine's processor, as images call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[derive(Debug, Deserialize)]
struct WholeConfig {
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<RunConfig>,
    #[serde(default)]
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig {
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    cmd: Option<Vec<String>>,
    #[serde(default)]
    working_dir: Option<String>,
    #[serde(default)]
    user: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// The configuration, and the digests of the uncompressed layers, lowest first.
///
/// # Errors
/// It can't be read, or is none for Linux.
pub(super) fn parse_config(bytes: &[u8]) -> Result<(ImageConfig, Vec<Digest>), ImageError> {
    let unsound = |why: String| ImageError::unsound("the image's configuration can't be used", why);
    let whole: WholeConfig =
        serde_json::from_slice(bytes).map_err(|error| unsound(tamed(&error.to_string())))?;
    if !matches!(whole.os.as_str(), "" | "linux") {
        return Err(unsound(format!("it is for {}, and steps run on Linux", tamed(&whole.os))));
    }
    let digests: Result<Vec<Digest>, _> = whole.rootfs.diff_ids.iter().map(|id| id.parse()).collect();
    let digests = digests.map_err(|bad| unsound(tamed(&bad.to_string())))?;
    let run = whole.config.unwrap_or_default();
    Ok((of_run(run), digests))
}

fn of_run(run: RunConfig) -> ImageConfig {
    let told = run.env.unwrap_or_default();
    let variables = told.iter().filter_map(|line| line.split_once('='));
    let all: BTreeMap<&str, &str> =
        variables.filter(|(name, _)| !name.is_empty() && !name.contains('\0')).collect();
    let path = all.get("PATH").filter(|path| !path.is_empty()).map_or(USUAL_PATH, |path| *path);
    let is_its_own = |name: &str| {
        !OF_THE_SANDBOX.contains(&name) && !PROXIES.iter().any(|proxy| name.eq_ignore_ascii_case(proxy))
    };
    let owned = |(name, value): (&&str, &&str)| ((*name).to_owned(), (*value).to_owned());
    ImageConfig {
        env: all
            .iter()
            .filter(|(name, value)| is_its_own(name) && !value.contains('\0'))
            .map(owned)
            .collect(),
        // A directory that is not absolute would be looked for below the workspace, where the project could put anything.
        path: path.split(':').map(PathBuf::from).filter(|part| part.is_absolute()).collect(),
        entrypoint: run.entrypoint.unwrap_or_default(),
        command: run.cmd.unwrap_or_default(),
        workdir: run.working_dir.unwrap_or_default(),
        user: run.user.unwrap_or_default(),
    }
}

impl ImageConfig {
    /// Of a root file system that says nothing of itself.
    pub(super) fn plain() -> Self {
        of_run(RunConfig::default())
    }

    /// What is run where nothing else is said, and where.
    pub(super) fn to_run(&self) -> (Vec<OsString>, Option<PathBuf>) {
        let command = self.entrypoint.iter().chain(&self.command).map(OsString::from).collect();
        (command, workdir(&self.workdir))
    }
}

/// A directory as images name it: from the root, whether they say so or not; none is the root itself.
pub(crate) fn workdir(said: &str) -> Option<PathBuf> {
    (!said.is_empty()).then(|| Path::new("/").join(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandboxs_own_variables_stay_its_own() {
        let json = br#"{"os":"linux","rootfs":{"diff_ids":[]},"config":{"User":"node","Cmd":["node"],
            "Env":["PATH=/opt/x/bin:relative:/bin","HOME=/root","HTTP_PROXY=http://old:1","A=b=c","odd","=x"]}}"#;
        let (config, _) = parse_config(json).unwrap();
        assert_eq!(config.path, ["/opt/x/bin", "/bin"].map(PathBuf::from));
        assert_eq!(config.env, [("A".to_owned(), "b=c".to_owned())].into());
        assert_eq!((config.user.as_str(), config.command.as_slice()), ("node", &["node".to_owned()][..]));
        assert!(ImageConfig::plain().path.contains(&PathBuf::from("/bin")));
    }

    fn entry(platform: &str) -> IndexEntry {
        let name = platform.replace('"', "");
        let json = format!("{{\"digest\":\"{name}\",\"platform\":{platform}}}");
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn the_image_for_this_machine_is_found() {
        let windows = r#"{"os":"windows","architecture":"amd64"}"#;
        let [v3, plain] = [
            r#"{"os":"linux","architecture":"amd64","variant":"v3"}"#,
            r#"{"os":"linux","architecture":"amd64"}"#,
        ];
        let attestation = r#"{"os":"unknown","architecture":"unknown"}"#;
        let all = [windows, attestation, v3, plain].map(entry);
        assert_eq!(for_machine(&all, "amd64").unwrap().digest, plain.replace('"', ""));
        let refused = for_machine(&all[..2], "arm64").unwrap_err().to_string();
        assert!(refused.contains("linux/arm64") && refused.ends_with("there for windows/amd64"), "{refused}");
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for (bytes, part) in [
            (&b"nonsense"[..], "expected"),
            (b"{}", "neither"),
            (br#"{"schemaVersion":1,"fsLayers":[]}"#, "2019"),
            (b"[1]", "can't be used"),
        ] {
            let refused = Manifest::parse(bytes).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
        let one = r#"{"digest":"sha256:0","size":1}"#;
        let many = format!("{{\"config\":{one},\"layers\":[{}]}}", vec![one; 128].join(","));
        assert!(Manifest::parse(many.as_bytes()).unwrap_err().to_string().contains("128 layers"));
        assert!(parse_config(br#"{"os":"windows"}"#).is_err());
    }
}
