//! What a release is to a Windows machine.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::address::{NotAnAddress, refuse};

/// What gets a release on a Windows machine, and how. At least one of `site` and `service` is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowsRelease {
    /// The IIS site that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The application pool that is recycled; `None` is the one that the site's root application is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_pool: Option<String>,
    /// A Windows service that is on the machine already and runs from `current`; it is stopped before, and started after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// How the site gets it.
    #[serde(default, skip_serializing_if = "WindowsWay::is_usual")]
    pub way: WindowsWay,
}

/// How an IIS site gets a release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowsWay {
    /// The site's physical path is switched to the release's own folder, at one instant.
    #[default]
    Directory,
    /// The machine's own `msdeploy.exe` changes the files in the site's folder, one after the other.
    Msdeploy,
}

impl WindowsWay {
    // serde hands over a reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_usual(&self) -> bool {
        *self == Self::Directory
    }
}

const NAME: &str = "write the name as Windows shows it, for example \"Shop\"";

impl WindowsRelease {
    /// The name of an IIS site, an application pool or a Windows service. Letters that mean something to PowerShell's paths, to XML or to
    /// a shell are refused, although Windows takes some of them.
    ///
    /// # Errors
    /// The text can't be one.
    pub fn name(text: &str) -> Result<String, NotAnAddress> {
        const LONGEST: usize = 200;
        let forbidden = |c: char| c.is_control() || "'\"`$[]*?/\\<>|:;&%".contains(c);
        if text.trim() == text && !text.is_empty() && text.len() <= LONGEST && !text.contains(forbidden) {
            return Ok(text.to_owned());
        }
        refuse(text, "can't be the name of a site, an application pool or a service", NAME)
    }

    /// The folder of an application on a Windows machine: that of the environment, on the drive that it names or else on `C:`.
    pub fn folder(of_environment: &str) -> String {
        let with_drive = of_environment.as_bytes().get(1) == Some(&b':');
        let drive = if with_drive { "" } else { "C:" };
        format!("{drive}{of_environment}").replace('/', "\\").trim_end_matches('\\').to_owned()
    }
}

impl fmt::Display for WindowsRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let site = self.site.iter().map(|site| format!("site {site}"));
        let service = self.service.iter().map(|service| format!("service {service}"));
        f.write_str(&site.chain(service).collect::<Vec<_>>().join(", "))?;
        match self.way {
            WindowsWay::Directory => Ok(()),
            WindowsWay::Msdeploy => f.write_str(" by msdeploy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_elsewhere_are_refused() {
        for good in ["Shop", "Default Web Site", "shop.example.net", "Läden (neu)", ".NET v4.5"] {
            assert_eq!(WindowsRelease::name(good).unwrap(), good);
        }
        for bad in ["", " Shop", "a*", "a[b]", "a'b", "a$b", "a\\b", "a/b", "a\nb", &"x".repeat(201)] {
            assert!(WindowsRelease::name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn folders_of_linux_are_put_on_the_first_drive() {
        assert_eq!(WindowsRelease::folder("/srv/shop"), "C:\\srv\\shop");
        assert_eq!(WindowsRelease::folder("D:/apps/shop/"), "D:\\apps\\shop");
    }

    #[test]
    fn what_is_not_said_is_not_written() {
        let site = WindowsRelease { site: Some("Shop".into()), ..WindowsRelease::default() };
        assert_eq!(serde_json::to_string(&site).unwrap(), r#"{"site":"Shop"}"#);
    }
}
