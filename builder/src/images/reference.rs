//! What a pipeline may write behind `image`. Pure.

use std::{fmt, path::PathBuf, str::FromStr};

use staith_model::Digest;

use crate::addresses::host_and_port;

/// An image by the place that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageReference {
    /// One in a registry.
    Registry(RegistryImage),
    /// One on this machine.
    Local(LocalImage),
}

/// An image in a registry, with all that Docker leaves out filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryImage {
    /// Host and, if named, port.
    pub registry: String,
    /// The name in that registry.
    pub repository: String,
    /// Which of the repository's images.
    pub choice: Choice,
}

/// How one of a repository's images is chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// Whatever the registry gives under this name today.
    Tag(String),
    /// Exactly this one.
    Digest(Digest),
}

/// An image on this machine, below a folder that the machine's owner allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalImage {
    /// As it was written. One that is not absolute is looked for in each allowed folder.
    pub path: PathBuf,
    /// Of an OCI layout with several images, the one with this name.
    pub tag: Option<String>,
    /// Whether it was written as `oci:`, so that a directory is a layout and not a root file system.
    pub is_layout: bool,
}

/// Text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` does not name an image: {why}")]
pub struct NotAnImage {
    /// As it was written.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
    /// What to write instead.
    pub remedy: String,
}

const FORMS: &str = "write `node:22`, `registry.example.org/team/app:1`, `name@sha256:...`, or a file on this machine as \
                     `./image.tar`, `/path/image.tar`, `/path/rootfs` or `oci:/path/layout`";
/// Where Docker looks when no registry is named.
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
/// The registry specification's bound for registry and name together.
const LONGEST: usize = 255;

impl FromStr for ImageReference {
    type Err = NotAnImage;

    fn from_str(text: &str) -> Result<Self, NotAnImage> {
        if text.trim().is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(refused(text, "it is empty or has a space in it", FORMS));
        }
        if let Some(path) = text.strip_prefix("oci:") {
            return layout(text, path).map(Self::Local);
        }
        if text.starts_with(['/', '.']) {
            let path = local_path(text, text)?;
            return Ok(Self::Local(LocalImage { path, tag: None, is_layout: false }));
        }
        registry_image(text).map(Self::Registry)
    }
}

fn layout(text: &str, rest: &str) -> Result<LocalImage, NotAnImage> {
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
        _ => (rest, None),
    };
    Ok(LocalImage { path: local_path(text, path)?, tag, is_layout: true })
}

fn local_path(text: &str, path: &str) -> Result<PathBuf, NotAnImage> {
    if path.split('/').any(|part| part == "..") {
        return Err(refused(
            text,
            "a path to an image must not go up with `..`",
            "name the file from `/` on, or below an allowed folder as `./image.tar`",
        ));
    }
    let path: PathBuf = path.into();
    if path.file_name().is_none() {
        return Err(refused(text, "it names no file and no folder of its own", FORMS));
    }
    Ok(path)
}

fn registry_image(text: &str) -> Result<RegistryImage, NotAnImage> {
    check_slips(text)?;
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(parse_digest(text, named, digest)?)),
        None => (text, None),
    };
    // A colon after the last slash; one before it belongs to the registry's port.
    let (place, tag) = match named.rsplit_once(':') {
        Some((place, tag)) if !tag.contains('/') => (place, Some(tag)),
        _ => (named, None),
    };
    if let Some(tag) = tag {
        check_tag(text, place, tag)?;
    }
    let (registry, repository) = split_registry(place);
    check_registry(text, registry)?;
    check_repository(text, repository)?;
    if registry.len() + repository.len() > LONGEST {
        return Err(refused(text, &format!("its name has more than {LONGEST} characters"), FORMS));
    }
    let is_official = registry == DEFAULT_REGISTRY && !repository.contains('/');
    let repository = if is_official { format!("library/{repository}") } else { repository.to_owned() };
    // With both, the digest decides, as with Docker.
    let choice = digest.map_or_else(|| Choice::Tag(tag.unwrap_or(DEFAULT_TAG).to_owned()), Choice::Digest);
    Ok(RegistryImage { registry: registry.to_owned(), repository, choice })
}

/// Mistakes that people make, each with what they meant.
fn check_slips(text: &str) -> Result<(), NotAnImage> {
    for scheme in ["https://", "http://", "docker://", "docker:", "docker-archive:", "dir:"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            let meant = if scheme.ends_with("archive:") || scheme == "dir:" {
                format!("write the file's path alone: `./{}`", rest.trim_start_matches('/'))
            } else {
                format!("write `{rest}`")
            };
            return Err(refused(text, &format!("`{scheme}` is not part of an image's name"), &meant));
        }
    }
    let ends = [".tar", ".tar.gz", ".tgz", ".tar.zst"];
    if ends.iter().any(|end| text.ends_with(end)) {
        let meant = format!("for the file write `./{text}`");
        return Err(refused(text, "a file's path begins with `./` or `/`", &meant));
    }
    if text.contains('\\') {
        return Err(refused(
            text,
            "it has a backslash in it",
            &format!("write `{}`", text.replace('\\', "/")),
        ));
    }
    Ok(())
}

fn parse_digest(text: &str, named: &str, digest: &str) -> Result<Digest, NotAnImage> {
    digest.parse().map_err(|_| {
        let meant = if digest.contains(':') || digest.len() >= 32 {
            "a digest is `sha256:` and 64 hexadecimal digits".to_owned()
        } else {
            format!("a digest is `sha256:` and 64 hexadecimal digits; for the tag write `{named}:{digest}`")
        };
        refused(text, &format!("`{digest}` is not a digest"), &meant)
    })
}

fn check_tag(text: &str, place: &str, tag: &str) -> Result<(), NotAnImage> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let starts = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if starts && tag.len() <= 128 && tag.chars().all(fits) {
        return Ok(());
    }
    let why = if tag.is_empty() {
        "nothing follows `:`".to_owned()
    } else {
        format!("`{tag}` is not a tag: letters, digits, `_`, `.` and `-`, at most 128")
    };
    Err(refused(text, &why, &format!("write `{place}:latest` or the tag that you mean")))
}

/// Docker's rule: the first part is a registry when it can't be a name.
fn split_registry(place: &str) -> (&str, &str) {
    match place.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':', '[']) || first == "localhost" => {
            // Docker's own registry has two names.
            let first = if first == "index.docker.io" { DEFAULT_REGISTRY } else { first };
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, place),
    }
}

fn check_registry(text: &str, registry: &str) -> Result<(), NotAnImage> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let good_host = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(plain) && !host.starts_with(['-', '.']),
    };
    let good_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if good_host && good_port {
        return Ok(());
    }
    Err(refused(text, &format!("`{registry}` is not a registry's host and port"), FORMS))
}

fn check_repository(text: &str, repository: &str) -> Result<(), NotAnImage> {
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        let lower = text.replacen(repository, &repository.to_ascii_lowercase(), 1);
        return Err(refused(
            text,
            "names in registries have no capital letters",
            &format!("write `{lower}`"),
        ));
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let good = |part: &str| {
        part.chars().all(fits)
            && edge(part.chars().next())
            && edge(part.chars().last())
            && !part.contains("..")
    };
    if repository.split('/').all(good) {
        return Ok(());
    }
    let why = format!(
        "`{repository}` is not a name: parts of small letters, digits, `.`, `_` and `-`, with `/` between"
    );
    Err(refused(text, &why, FORMS))
}

fn refused(text: &str, why: &str, remedy: &str) -> NotAnImage {
    let text = text.chars().take(200).collect();
    NotAnImage { text, why: why.to_owned(), remedy: remedy.to_owned() }
}

impl RegistryImage {
    /// Whether the registry is on this machine: only there may images come without TLS, and through no proxy.
    pub fn is_on_loopback(&self) -> bool {
        let (host, _) = self.host_and_port();
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Where the registry is: a name, or an address without brackets.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        let (host, port) = host_and_port(&self.registry);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (host, port.unwrap_or(443))
    }
}

impl fmt::Display for RegistryImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.choice {
            Choice::Tag(tag) => write!(f, "{}/{}:{tag}", self.registry, self.repository),
            Choice::Digest(digest) => write!(f, "{}/{}@{digest}", self.registry, self.repository),
        }
    }
}

impl fmt::Display for LocalImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_layout { "oci:" } else { "" };
        write!(f, "{scheme}{}", self.path.display())?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(image) => image.fmt(f),
            Self::Local(image) => image.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "0123456789012345678901234567890123456789012345678901234567890123";

    #[test]
    fn what_docker_leaves_out_is_filled_in() {
        let digest = format!("sha256:{HEX}");
        for (text, full) in [
            ("node", "docker.io/library/node:latest".to_owned()),
            ("node:22-slim", "docker.io/library/node:22-slim".to_owned()),
            ("team/app", "docker.io/team/app:latest".to_owned()),
            ("index.docker.io/team/app", "docker.io/team/app:latest".to_owned()),
            ("localhost/app:1", "localhost/app:1".to_owned()),
            ("127.0.0.1:5000/a/b:x", "127.0.0.1:5000/a/b:x".to_owned()),
            ("[::1]:5000/a", "[::1]:5000/a:latest".to_owned()),
            ("ghcr.io/o/p", "ghcr.io/o/p:latest".to_owned()),
            (&format!("node@{digest}"), format!("docker.io/library/node@{digest}")),
            (&format!("node:22@{digest}"), format!("docker.io/library/node@{digest}")),
            ("./image.tar", "./image.tar".to_owned()),
            ("/opt/images/rootfs", "/opt/images/rootfs".to_owned()),
            ("oci:/opt/layout:1.2", "oci:/opt/layout:1.2".to_owned()),
            ("oci:./layout", "oci:./layout".to_owned()),
        ] {
            let parsed: ImageReference = text.parse().unwrap();
            assert_eq!(parsed.to_string(), full);
        }
    }

    #[test]
    fn slips_are_told_with_what_was_meant() {
        for (text, part) in [
            ("https://ghcr.io/o/p", "write `ghcr.io/o/p`"),
            ("docker://alpine", "write `alpine`"),
            ("Node:22", "write `node:22`"),
            ("ghcr.io/Org/App:V1", "write `ghcr.io/org/app:V1`"),
            ("node@22", "`node:22`"),
            ("node@sha256:123", "64 hexadecimal digits"),
            ("image.tar", "./image.tar"),
            ("docker-archive:image.tar", "./image.tar"),
            ("team\\app", "write `team/app`"),
            ("node:", "`node:latest`"),
            ("", "node:22"),
            ("a b", "node:22"),
            ("/", "node:22"),
            ("./../secret.tar", "from `/` on"),
            ("host:port/app", "registry.example.org"),
            ("a//b", "registry.example.org"),
        ] {
            let refused = text.parse::<ImageReference>().expect_err(text);
            assert!(refused.remedy.contains(part), "{text}: {refused} {}", refused.remedy);
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (text, expected) in [
            ("localhost:5000/a", true),
            ("127.0.0.1:5000/a", true),
            ("127.8.0.1/a", true),
            ("[::1]:1/a", true),
            ("localhost.example.org/a", false),
            ("10.0.0.1:5000/a", false),
            ("alpine", false),
        ] {
            let Ok(ImageReference::Registry(image)) = text.parse() else { panic!("{text}") };
            assert_eq!(image.is_on_loopback(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_names_the_same_image(text in "[a-z0-9./:@_\\[\\]A-Z-]{1,40}") {
            if let Ok(image) = text.parse::<ImageReference>() {
                prop_assert_eq!(image.to_string().parse::<ImageReference>(), Ok(image));
            }
        }
    }
}
