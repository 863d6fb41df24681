//! What an application itself says about which release it is: by a header of its answers, or by a file that it serves.

use crate::{Digest, HealthCheck};

/// Most bytes of a file that names a release. What is longer proves nothing.
pub const LONGEST_FILE: usize = 4 << 10;

/// What an application said when it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Testimony {
    /// The value of [`HealthCheck::release_header`], where the answer had it.
    pub header: Option<String>,
    /// The answer at [`HealthCheck::release_file`], where that was asked.
    pub file: Option<FileAnswer>,
}

/// An answer at the path of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileAnswer {
    /// Its status.
    pub status: u16,
    /// Its body; of one that is longer than [`LONGEST_FILE`], at least one byte more than that.
    pub body: Vec<u8>,
}

/// Why what an application says does not prove that it is the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// The header holds something else, or is missing.
    Header {
        /// Its name.
        header: String,
        /// Its value.
        found: Option<String>,
    },
    /// The file does not name it, or not it alone.
    File {
        /// Its path.
        path: String,
        /// What came instead, in words.
        found: String,
    },
}

impl HealthCheck {
    /// Whether the application itself has to say which release it is.
    pub const fn wants_testimony(&self) -> bool {
        self.release_header.is_some() || self.release_file.is_some()
    }

    /// Why `said` is no proof that `release` answered; `None` if it is, or if nothing is to be said.
    pub fn doubt(&self, release: &Digest, said: &Testimony) -> Option<Doubt> {
        let header = || {
            let header = self.release_header.as_ref()?;
            let names_it = said.header.as_deref() == Some(release.to_string().as_str());
            (!names_it).then(|| Doubt::Header { header: header.clone(), found: said.header.clone() })
        };
        let file = || {
            let path = self.release_file.as_ref()?;
            let found = said.file.as_ref().map_or(Some("no answer".into()), |file| file.instead_of(release));
            found.map(|found| Doubt::File { path: path.clone(), found })
        };
        header().or_else(file)
    }
}

impl FileAnswer {
    /// What it is instead of a file that names this release and no other, in words; `None` if it is one.
    fn instead_of(&self, release: &Digest) -> Option<String> {
        if !(200..300).contains(&self.status) {
            return Some(format!("status {}", self.status));
        }
        if self.body.len() > LONGEST_FILE {
            return Some(format!("more than {LONGEST_FILE} bytes"));
        }
        let text = String::from_utf8_lossy(&self.body);
        let mut named = digests(&text).peekable();
        if named.peek().is_none() {
            return Some("no release's digest".into());
        }
        named.find(|digest| digest != release).map(|other| format!("`{other}`"))
    }
}

/// The digests that a text names.
fn digests(text: &str) -> impl Iterator<Item = Digest> {
    const HEX: usize = 64;
    text.match_indices("sha256:").filter_map(|(at, begin)| {
        let end = at + begin.len() + HEX;
        // What goes on is the beginning of something else.
        let goes_on = text.get(end..)?.starts_with(|c: char| c.is_ascii_alphanumeric());
        if goes_on { None } else { text.get(at..end)?.parse().ok() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: bool, file: bool) -> HealthCheck {
        HealthCheck {
            path: "/".into(),
            release_header: header.then(|| "x-release".into()),
            release_file: file.then(|| "/release.txt".into()),
            deadline_seconds: 1,
            successes: 1,
        }
    }

    fn file(status: u16, body: &str) -> Testimony {
        Testimony { header: None, file: Some(FileAnswer { status, body: body.into() }) }
    }

    #[test]
    fn a_file_proves_the_release_that_it_names_alone() {
        let (this, other) = (Digest::of(b"this"), Digest::of(b"other"));
        let padded = |length: usize| format!("{this}{}", " ".repeat(length - this.to_string().len()));
        for (status, body, found) in [
            (200, this.to_string(), None),
            (200, format!("{this}\r\n"), None),
            (200, format!("{{\"release\": \"{this}\", \"of\": \"1.0\"}}"), None),
            (203, format!("<!-- {this} {this} -->"), None),
            (200, padded(LONGEST_FILE), None),
            (200, padded(LONGEST_FILE + 1), Some("more than 4096 bytes".into())),
            (200, other.to_string(), Some(format!("`{other}`"))),
            (200, format!("{this} {other}"), Some(format!("`{other}`"))),
            (200, String::new(), Some("no release's digest".into())),
            (200, "#{STAITH_RELEASE}#".into(), Some("no release's digest".into())),
            (200, this.hex(), Some("no release's digest".into())),
            (200, format!("{this}0"), Some("no release's digest".into())),
            (200, this.to_string()[..70].to_owned(), Some("no release's digest".into())),
            (200, format!("sha256:é{}", this.hex()), Some("no release's digest".into())),
            (302, this.to_string(), Some("status 302".into())),
            (404, this.to_string(), Some("status 404".into())),
        ] {
            let doubt = check(false, true).doubt(&this, &file(status, &body));
            let expected = found.map(|found| Doubt::File { path: "/release.txt".into(), found });
            assert_eq!(doubt, expected, "{status} {body}");
        }
    }

    #[test]
    fn whatever_is_asked_for_has_to_name_the_release() {
        let this = Digest::of(b"this");
        let named = Testimony { header: Some(this.to_string()), ..Testimony::default() };
        let both = Testimony { header: named.header.clone(), ..file(200, &this.to_string()) };
        let silent = Testimony::default();
        let by_header =
            |found: Option<&str>| Doubt::Header { header: "x-release".into(), found: found.map(Into::into) };
        let by_file = Doubt::File { path: "/release.txt".into(), found: "no answer".into() };
        let wrong = Testimony { header: Some("1.0".into()), ..both.clone() };
        for (check, said, doubt) in [
            (check(false, false), &silent, None),
            (check(true, false), &named, None),
            (check(true, false), &silent, Some(by_header(None))),
            (check(false, true), &named, Some(by_file.clone())),
            (check(true, true), &named, Some(by_file)),
            (check(true, true), &both, None),
            (check(true, true), &wrong, Some(by_header(Some("1.0")))),
        ] {
            assert_eq!(check.doubt(&this, said), doubt, "{check:?} {said:?}");
        }
        assert!(!check(false, false).wants_testimony() && check(false, true).wants_testimony());
    }
}
