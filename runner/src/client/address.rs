//! Where a server is, as people write it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use reqwest::{Certificate, Url};
use serde::{Deserialize, Serialize};
use staith_model::Exit;

use crate::output::Problem;

/// Where a server is, and by what it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// `https://HOST[:PORT][/PATH]`, without a `/` at its end.
    url: String,
    /// The authorities that may vouch for it; those of this machine if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authorities: Option<PathBuf>,
    /// Where it listens, for processes of its own: where its name leads to for others is not to matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<SocketAddr>,
}

impl Address {
    /// Reads an address. In clear text a server is asked on this machine only, unless somebody says that the network is to be
    /// trusted: what a runner sends would be as good as its key to whoever listens.
    ///
    /// # Errors
    /// It is no address (64), or the file of authorities can't be read or has none.
    pub(crate) fn parse(text: &str, authorities: Option<&Path>, is_insecure: bool) -> Result<Self, Problem> {
        let no_address = |why: String| {
            Problem::new(Exit::Usage, format!("`{text}` is no address of a server"))
                .with_why(why)
                .with_remedy("write https://HOST[:PORT], as `staith server status` shows it")
        };
        let url = Url::parse(text).map_err(|why| no_address(why.to_string()))?;
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
            // Addresses are put into scripts and commands that people copy.
            || url.as_str().contains(['\'', '"', '`', '$', '\\'])
        {
            return Err(no_address("it has more than a host, a port and a path".to_owned()));
        }
        match url.scheme() {
            "https" => {}
            "http" if is_insecure || is_on_this_machine(&url) => {}
            "http" => {
                return Err(Problem::new(Exit::Usage, format!("{text} would be asked in clear text"))
                    .with_why("whoever is on the way could read what proves who asks, and change what is answered")
                    .with_remedy("write https://, with --ca for a server's own authority; or --insecure where nobody else is on the network"));
            }
            other => return Err(no_address(format!("it begins with `{other}:`, and not with `https:`"))),
        }
        let authorities = authorities.map(absolute).transpose()?;
        let address = Self { url: url.as_str().trim_end_matches('/').to_owned(), authorities, at: None };
        address.certificates()?;
        Ok(address)
    }

    /// That of a server of this machine, for processes of its own: what is said to it does not leave the machine.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub(crate) fn of_own_server(
        url: &str,
        authorities: Option<&Path>,
        at: SocketAddr,
    ) -> Result<Self, Problem> {
        Ok(Self { at: Some(at), ..Self::parse(url, authorities, true)? })
    }

    /// One that [`Address::of_own_server`] made, as a process of its own is told it.
    pub(crate) fn told(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// Where it listens, if that is not where its name leads.
    pub(crate) const fn at(&self) -> Option<SocketAddr> {
        self.at
    }

    /// The name of its host, or its address.
    pub(crate) fn host(&self) -> Option<String> {
        Some(Url::parse(&self.url).ok()?.host_str()?.to_owned())
    }

    /// The address as text, without a `/` at its end.
    pub(crate) fn as_str(&self) -> &str {
        &self.url
    }

    /// Whether what is said to it is read by nobody on the way.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.starts_with("https:")
    }

    /// Whether somebody must say that the network is to be trusted.
    pub(crate) fn needs_leave(&self) -> bool {
        !self.is_encrypted() && !Url::parse(&self.url).is_ok_and(|url| is_on_this_machine(&url))
    }

    /// The file of its authorities, if one was named.
    pub(crate) fn authorities(&self) -> Option<&Path> {
        self.authorities.as_deref()
    }

    /// Host, and port if there is one, as registries are named.
    pub(crate) fn host_and_port(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }

    /// Whether it has no path.
    pub(crate) fn is_a_whole_host(&self) -> bool {
        self.url.ends_with(self.host_and_port())
    }

    /// The authorities that may vouch for it; `None` for those of this machine.
    ///
    /// # Errors
    /// Their file can't be read, or has none.
    pub(crate) fn certificates(&self) -> Result<Option<Vec<Certificate>>, Problem> {
        let Some(file) = &self.authorities else { return Ok(None) };
        let text = fs::read(file).map_err(|refused| Problem::unreadable(file, &refused))?;
        let none = |why: String| {
            Problem::new(Exit::Usage, format!("{} has no authority's certificate", file.display()))
                .with_why(why)
                .with_remedy("name a file with certificates in PEM")
        };
        match Certificate::from_pem_bundle(&text) {
            Ok(found) if found.is_empty() => Err(none("no part of it is a certificate in PEM".to_owned())),
            Ok(found) => Ok(Some(found)),
            Err(bad) => Err(none(bad.to_string())),
        }
    }
}

/// A runner is started elsewhere than where it was registered.
fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path).map_err(|refused| Problem::unreadable(path, &refused))
}

fn is_on_this_machine(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    // Whatever a resolver says, this name is this machine's (RFC 6761).
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
