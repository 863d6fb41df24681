//! What a request is about, going by its path. Pure.

use staith_model::{Digest, Name};

use super::names::{self, BadWord, Reference, UploadId};

/// A place that the protocol knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Whether this is a registry.
    Support,
    Manifest(Name, Reference),
    Blob(Name, Digest),
    /// Where uploads begin.
    Uploads(Name),
    Upload(Name, UploadId),
    Tags(Name),
    Referrers(Name, Digest),
}

/// A path that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// A word in it is not what it must be.
    Bad(BadWord),
    /// A good name, which no package can have.
    Nested(String),
    /// Not a path of the protocol.
    Unknown,
}

impl From<BadWord> for NoRoute {
    fn from(bad: BadWord) -> Self {
        Self::Bad(bad)
    }
}

impl Route {
    /// Reads a path as it came. It is not percent-decoded: no word of the protocol has a character that needs that, but for the colon
    /// of digests, which some clients encode.
    pub(super) fn parse(path: &str) -> Result<Self, NoRoute> {
        let rest = path.strip_prefix("/v2").ok_or(NoRoute::Unknown)?;
        if matches!(rest, "" | "/") {
            return Ok(Self::Support);
        }
        let decoded = rest.replace("%3A", ":").replace("%3a", ":");
        let parts: Vec<&str> = decoded.strip_prefix('/').ok_or(NoRoute::Unknown)?.split('/').collect();
        match parts.as_slice() {
            [name @ .., "manifests", reference] => Ok(Self::Manifest(repository(name)?, reference.parse()?)),
            // Without the last slash as well: some clients leave it out.
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Self::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", upload] => Ok(Self::Upload(repository(name)?, upload.parse()?)),
            [name @ .., "blobs", digest] => Ok(Self::Blob(repository(name)?, names::digest(digest)?)),
            [name @ .., "tags", "list"] => Ok(Self::Tags(repository(name)?)),
            [name @ .., "referrers", digest] => {
                Ok(Self::Referrers(repository(name)?, names::digest(digest)?))
            }
            _ => Err(NoRoute::Unknown),
        }
    }

    /// The repository that it is about.
    pub(super) const fn name(&self) -> Option<&Name> {
        match self {
            Self::Support => None,
            Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Tags(name)
            | Self::Referrers(name, _) => Some(name),
        }
    }
}

fn repository(parts: &[&str]) -> Result<Name, NoRoute> {
    match parts {
        [one] => Ok(names::repository(one)?),
        [] => Err(NoRoute::Unknown),
        several if several.iter().all(|part| names::is_repository_part(part)) => {
            Err(NoRoute::Nested(several.join("/")))
        }
        several => Err(BadWord::Name(several.join("/")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest() -> String {
        Digest::of(b"x").to_string()
    }

    #[test]
    fn each_endpoint_has_its_path() {
        let (shop, digest) = ("shop".parse::<Name>().unwrap(), digest());
        let known = Digest::of(b"x");
        let upload = "0123456789abcdef0123456789abcdef";
        for (path, route) in [
            ("/v2".to_owned(), Route::Support),
            ("/v2/".to_owned(), Route::Support),
            ("/v2/shop/manifests/1.0".to_owned(), Route::Manifest(shop.clone(), "1.0".parse().unwrap())),
            (format!("/v2/shop/manifests/{digest}"), Route::Manifest(shop.clone(), Reference::Digest(known))),
            (format!("/v2/shop/blobs/{digest}"), Route::Blob(shop.clone(), known)),
            (format!("/v2/shop/blobs/{}", digest.replace(':', "%3A")), Route::Blob(shop.clone(), known)),
            ("/v2/shop/blobs/uploads".to_owned(), Route::Uploads(shop.clone())),
            ("/v2/shop/blobs/uploads/".to_owned(), Route::Uploads(shop.clone())),
            (
                format!("/v2/shop/blobs/uploads/{upload}"),
                Route::Upload(shop.clone(), upload.parse().unwrap()),
            ),
            ("/v2/shop/tags/list".to_owned(), Route::Tags(shop.clone())),
            (format!("/v2/shop/referrers/{digest}"), Route::Referrers(shop.clone(), known)),
        ] {
            assert_eq!(Route::parse(&path), Ok(route), "{path}");
        }
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in [
            "",
            "/",
            "/v1/",
            "/v2x/",
            "/v2//",
            "/v2/shop",
            "/v2/shop/",
            "/v2/manifests/x",
            "/v2/../manifests/x",
            "/v2/..%2f..%2fetc/manifests/x",
            "/v2/shop/manifests/..",
            "/v2/shop/manifests/../../x",
            "/v2/shop/manifests/",
            "/v2/shop/blobs/sha256:../../../etc/passwd",
            "/v2/shop/blobs/uploads/..",
            "/v2/shop/blobs/uploads/0123456789abcdef0123456789abcdef/x",
            "/v2/SHOP/tags/list",
            "/v2/shop/tags/list/",
            "/v2/shop\\..\\x/tags/list",
        ] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
        assert_eq!(Route::parse("/v2/a/b/tags/list"), Err(NoRoute::Nested("a/b".to_owned())));
    }

    proptest! {
        #[test]
        fn any_path_is_taken_or_refused(path in "/v2/[a-z./%:-]{0,60}") {
            let _ = Route::parse(&path);
        }
    }
}
