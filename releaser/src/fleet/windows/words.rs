//! Requests to the program on a Windows machine, and its replies.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use staith_model::{Digest, WindowsRelease, WindowsWay};

/// What the program is asked. Digests are 64 hexadecimal digits.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub(super) enum Request<'a> {
    /// What the rest is about; the first.
    Begin {
        folder: &'a str,
        site: Option<&'a str>,
        pool: Option<&'a str>,
        service: Option<&'a str>,
        way: WindowsWay,
    },
    Reach,
    Observe,
    Stage {
        epoch: u64,
        operation: String,
        release: String,
        manifest: String,
        private: Vec<&'a str>,
    },
    Switch {
        epoch: u64,
        operation: String,
        to: Option<String>,
    },
    Hook {
        epoch: u64,
        operation: String,
        release: String,
        name: &'a str,
        program: &'a str,
        /// Whether the program is a file of the release.
        inside: bool,
        arguments: &'a str,
        seconds: u64,
        repeatable: bool,
    },
    /// What is there now, with one question to the release.
    Look {
        port: Option<u16>,
        path: &'a str,
        header: Option<&'a str>,
        /// The path of a file that names the release.
        file: Option<&'a str>,
        milliseconds: u64,
    },
    Retain {
        epoch: u64,
        keep: Vec<String>,
    },
}

impl<'a> Request<'a> {
    pub(super) fn begin(folder: &'a str, gets: &'a WindowsRelease) -> Self {
        Request::Begin {
            folder,
            site: gets.site.as_deref(),
            pool: gets.app_pool.as_deref(),
            service: gets.service.as_deref(),
            way: gets.way,
        }
    }

    /// As a line, with letters of ASCII only: what is beyond them depends on code pages.
    pub(super) fn line(&self) -> Result<String, serde_json::Error> {
        use std::fmt::Write as _;
        let json = serde_json::to_string(self)?;
        let mut line = String::with_capacity(json.len() + 1);
        for c in json.chars() {
            if c.is_ascii() {
                line.push(c);
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a text can't fail.
                let _ = write!(line, "\\u{unit:04x}");
            }
        }
        line.push('\n');
        Ok(line)
    }
}

/// A digest as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hex(pub(super) Digest);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        format!("sha256:{text}").parse().map(Self).map_err(D::Error::custom)
    }
}

/// What the program says.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "say")]
pub(super) enum Reply {
    Hello {
        protocol: u32,
        version: String,
    },
    Reached(System),
    Observed(State),
    /// The manifest is wanted.
    Send,
    /// Contents that no release has, as places in the list of files.
    Lacks {
        places: Vec<u32>,
    },
    Staged {
        already: bool,
    },
    Switched {
        already: bool,
    },
    Ran(Ran),
    Seen(Seen),
    Removed {
        releases: Vec<Hex>,
    },
    Not(Not),
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct System {
    pub(super) machine: String,
    pub(super) boot: String,
    pub(super) architecture: String,
    pub(super) system: String,
    pub(super) administrator: bool,
    pub(super) free: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct State {
    pub(super) epoch: u64,
    pub(super) releases: Vec<Hex>,
    pub(super) current: Option<Hex>,
    pub(super) previous: Option<Hex>,
    pub(super) serving: Up,
    pub(super) unfinished: Option<Hex>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Up {
    Up,
    Down,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Ran {
    pub(super) already: bool,
    pub(super) code: Option<i32>,
    pub(super) timed_out: bool,
    /// In base64.
    pub(super) said: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Seen {
    pub(super) current: Option<Hex>,
    pub(super) restarted: Option<Hex>,
    pub(super) serving: Up,
    /// Whether the site has a binding on the port.
    pub(super) bound: bool,
    /// Whether that is one of TLS, so that nothing was asked.
    pub(super) tls: bool,
    /// The process that listens, and the service's own, where there is a service.
    pub(super) owner: Option<u32>,
    pub(super) service: Option<u32>,
    pub(super) answer: Option<Told>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Told {
    Status {
        status: u16,
        header: Option<String>,
        #[serde(default)]
        file: Option<ToldFile>,
    },
    Trouble {
        trouble: Trouble,
        text: String,
    },
}

/// What answered at the path of a file. Each byte that is none of ASCII is a question mark.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ToldFile {
    pub(super) status: u16,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Trouble {
    Refused,
    NoAnswer,
    Broken,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub(super) enum Not {
    TooLate { seen: u64, asked: u64 },
    Undecided,
    Cancelled,
    Impossible { kind: String, text: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_ascii_and_mean_the_same() {
        let line = Request::Begin {
            folder: "C:\\Läden😀",
            site: None,
            pool: None,
            service: None,
            way: WindowsWay::Directory,
        }
        .line()
        .unwrap();
        assert!(line.is_ascii() && line.ends_with('\n') && line.matches('\n').count() == 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((read["ask"].as_str(), read["folder"].as_str()), (Some("begin"), Some("C:\\Läden😀")));
    }
}
