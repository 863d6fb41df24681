//! Where a store is, as people say it.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use object_store::{aws::AmazonS3Builder, azure::MicrosoftAzureBuilder};
use tokio::runtime::Handle;

use super::{Bucket, Store, StoreError};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `DIR` or `file:///DIR`.
    Directory(PathBuf),
    /// `s3://BUCKET/PREFIX`. Credentials, region and endpoint come from the variables that AWS's tools know, such as `AWS_ACCESS_KEY_ID`.
    S3 {
        /// The bucket.
        bucket: String,
        /// What the store's objects begin with; may be empty.
        prefix: String,
    },
    /// `az://CONTAINER/PREFIX`. Account and credentials come from variables such as `AZURE_STORAGE_ACCOUNT_NAME`.
    Azure {
        /// The container.
        container: String,
        /// What the store's objects begin with; may be empty.
        prefix: String,
    },
}

impl Location {
    /// Reads a place as people write it. A text without a scheme is a directory.
    ///
    /// # Errors
    /// The scheme is none of these, or something is missing.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let refuse = |why: &str| {
            let why = format!("{why}; write DIR, file:///DIR, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX");
            StoreError::Location { text: text.to_owned(), why }
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() {
                Err(refuse("it is empty"))
            } else {
                Ok(Self::Directory(text.into()))
            };
        };
        let (first, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/').to_owned();
        let is_plain = prefix.is_empty()
            || object_store::path::Path::parse(&prefix).is_ok_and(|path| path.as_ref() == prefix);
        match scheme {
            "file" if rest.starts_with('/') => Ok(Self::Directory(rest.into())),
            "file" => Err(refuse("a file URL names an absolute path, with three slashes")),
            "s3" | "az" if first.is_empty() => Err(refuse("it names no bucket")),
            "s3" | "az" if !is_plain => {
                Err(refuse("what stands behind the bucket has a part that is empty, `.` or `..`"))
            }
            "s3" => Ok(Self::S3 { bucket: first.into(), prefix }),
            "az" => Ok(Self::Azure { container: first.into(), prefix }),
            _ => Err(refuse("Staith knows no such scheme")),
        }
    }
}

impl FromStr for Location {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Self::parse(text)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, first, prefix) = match self {
            Self::Directory(path) => return fmt::Display::fmt(&path.display(), f),
            Self::S3 { bucket, prefix } => ("s3", bucket, prefix),
            Self::Azure { container, prefix } => ("az", container, prefix),
        };
        write!(f, "{scheme}://{first}")?;
        if prefix.is_empty() { Ok(()) } else { write!(f, "/{prefix}") }
    }
}

impl Store {
    /// Opens the store at a place. `runtime` drives the network, and has to run as long as the store is used, on other threads
    /// than the callers'.
    ///
    /// # Errors
    /// The place can't be reached, made or written; what the environment says of it makes no sense.
    pub fn at(location: &Location, runtime: &Handle) -> Result<Self, StoreError> {
        let refuse = |why: object_store::Error| StoreError::Remote {
            what: "open the store at",
            place: PathBuf::from(location.to_string()),
            why: why.to_string(),
        };
        let place = location.to_string();
        let bucket = match location {
            Location::Directory(path) => return Self::open(path),
            Location::S3 { bucket, prefix } => {
                have_tls();
                let s3 = AmazonS3Builder::from_env().with_bucket_name(bucket).build().map_err(refuse)?;
                Bucket::open(Arc::new(s3), prefix, &place, runtime.clone())?
            }
            Location::Azure { container, prefix } => {
                have_tls();
                let azure = MicrosoftAzureBuilder::from_env().with_container_name(container).build();
                Bucket::open(Arc::new(azure.map_err(refuse)?), prefix, &place, runtime.clone())?
            }
        };
        Self::over(Arc::new(bucket))
    }
}

/// The client for http takes the process's TLS, which somebody has to choose.
fn have_tls() {
    // If somebody has, it is ring's as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["packages", "/var/lib/packages", "./a b", "s3://bucket", "s3://bucket/a/b", "az://box/x"]
        {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Location::parse("file:///a/b").unwrap(), Location::Directory("/a/b".into()));
        assert_eq!(
            Location::parse("s3://b/p/").unwrap(),
            Location::S3 { bucket: "b".into(), prefix: "p".into() }
        );
        for bad in
            ["", "s3://", "az:///x", "file://a/b", "gs://bucket", "s3://b/../c", "s3://b/a//c", "http://x/y"]
        {
            let refused = Location::parse(bad).unwrap_err().to_string();
            assert!(refused.contains("s3://BUCKET/PREFIX"), "{refused}");
        }
    }
}
