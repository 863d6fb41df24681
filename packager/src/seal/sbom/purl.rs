//! Package URLs: <https://github.com/package-url/purl-spec>.

use std::fmt;

/// The package managers whose lock files are read, as purl calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ecosystem {
    Cargo,
    Composer,
    Gem,
    Golang,
    Maven,
    Npm,
    Nuget,
    Pypi,
}

impl Ecosystem {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Composer => "composer",
            Self::Gem => "gem",
            Self::Golang => "golang",
            Self::Maven => "maven",
            Self::Npm => "npm",
            Self::Nuget => "nuget",
            Self::Pypi => "pypi",
        }
    }

    /// What the ecosystem takes for the same name, spelt as purl wants it.
    fn spelt(self, name: &str) -> String {
        match self {
            Self::Composer | Self::Golang | Self::Npm => name.to_lowercase(),
            Self::Pypi => name.to_lowercase().replace('_', "-"),
            Self::Cargo | Self::Gem | Self::Maven | Self::Nuget => name.to_owned(),
        }
    }
}

/// A package URL. Ordered and compared as the text that it becomes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Purl {
    ecosystem: Ecosystem,
    /// With `/` between namespace and name.
    path: String,
    version: String,
    /// Sorted by key.
    qualifiers: Vec<(&'static str, String)>,
}

impl Purl {
    /// `name` holds the namespace, if there is one, before its last `/`.
    pub(super) fn new(ecosystem: Ecosystem, name: &str, version: &str) -> Self {
        let path = ecosystem.spelt(name);
        Self { ecosystem, path, version: version.to_owned(), qualifiers: Vec::new() }
    }

    /// Says in which repository of version control the package is; an empty text says nothing.
    pub(super) fn with(mut self, key: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.qualifiers.push((key, value.to_owned()));
            self.qualifiers.sort();
        }
        self
    }

    /// What comes before the name: a scope, a vendor, a group.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.path.rsplit_once('/').map(|(namespace, _)| namespace)
    }

    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}", self.ecosystem.as_str())?;
        for part in self.path.split('/').filter(|part| !part.is_empty()) {
            write!(f, "/{}", Encoded(part))?;
        }
        if !self.version.is_empty() {
            write!(f, "@{}", Encoded(&self.version))?;
        }
        for (place, (key, value)) in self.qualifiers.iter().enumerate() {
            write!(f, "{}{key}={}", if place == 0 { '?' } else { '&' }, Encoded(value))?;
        }
        Ok(())
    }
}

/// Text in percent-encoding, as purl wants it: colons stay as they are.
pub(super) struct Encoded<'a>(pub(super) &'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purls_are_spelt_as_the_specification_says() {
        use Ecosystem::{Cargo, Composer, Gem, Golang, Maven, Npm, Nuget, Pypi};
        for (ecosystem, name, version, expected) in [
            (Cargo, "rand", "0.7.2", "pkg:cargo/rand@0.7.2"),
            (Cargo, "libz-sys", "1.1.15+zlib", "pkg:cargo/libz-sys@1.1.15%2Bzlib"),
            (Composer, "Laravel/Laravel", "5.5.0", "pkg:composer/laravel/laravel@5.5.0"),
            (Gem, "jruby-launcher", "1.1.2", "pkg:gem/jruby-launcher@1.1.2"),
            (
                Golang,
                "github.com/Azure/go-autorest",
                "v14.2.0+incompatible",
                "pkg:golang/github.com/azure/go-autorest@v14.2.0%2Bincompatible",
            ),
            (
                Maven,
                "org.apache.xmlgraphics/batik-anim",
                "1.9.1",
                "pkg:maven/org.apache.xmlgraphics/batik-anim@1.9.1",
            ),
            (Npm, "@Angular/animation", "12.3.1", "pkg:npm/%40angular/animation@12.3.1"),
            (Nuget, "EnterpriseLibrary.Common", "6.0.1304", "pkg:nuget/EnterpriseLibrary.Common@6.0.1304"),
            (Pypi, "Django_allauth", "12.23", "pkg:pypi/django-allauth@12.23"),
        ] {
            assert_eq!(Purl::new(ecosystem, name, version).to_string(), expected);
        }
        let purl = Purl::new(Gem, "nokogiri", "1.16").with("platform", "java").with("empty", "");
        assert_eq!(purl.to_string(), "pkg:gem/nokogiri@1.16?platform=java");
        let purl = Purl::new(Npm, "x", "1").with("vcs_url", "git+https://h/x.git@a1");
        assert_eq!(purl.to_string(), "pkg:npm/x@1?vcs_url=git%2Bhttps:%2F%2Fh%2Fx.git%40a1");
        assert_eq!((purl.namespace(), purl.name()), (None, "x"));
        assert_eq!(Purl::new(Npm, "@a/b", "1").namespace(), Some("@a"));
    }
}
