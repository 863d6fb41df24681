//! The page that visitors see.

use maud::{DOCTYPE, Markup, html};

use crate::entry::{Draft, Entry, MESSAGE_LIMIT, NAME_LIMIT};

/// Change this line and release again: the page changes, and no visitor sees an error while it does.
const HEADING: &str = "Welcome to the guest book";

/// What the page shows.
pub struct Page<'a> {
    /// The oldest first, as in the book.
    pub entries: &'a [Entry],
    /// What the visitor had typed, so that nobody has to type it again.
    pub draft: &'a Draft,
    /// Why the draft was not taken.
    pub problem: Option<&'a str>,
    /// The release that answers.
    pub release: &'a str,
    /// Seconds since 1970.
    pub now: u64,
}

impl Page<'_> {
    pub fn render(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { "Guest book" }
                    link rel="stylesheet" href="/style.css";
                }
                body {
                    h1 { (HEADING) }
                    (self.form())
                    (self.list())
                    footer {
                        "guestbook " (env!("CARGO_PKG_VERSION")) " · release " code { (short(self.release)) }
                    }
                }
            }
        }
    }

    fn form(&self) -> Markup {
        html! {
            form method="post" action="/" {
                @if let Some(problem) = self.problem { p.problem role="alert" { (problem) } }
                label { "Your name" input name="name" required maxlength=(NAME_LIMIT) value=(self.draft.name); }
                label {
                    "Your message"
                    textarea name="message" required rows="3" maxlength=(MESSAGE_LIMIT) { (self.draft.message) }
                }
                button { "Sign the book" }
            }
        }
    }

    fn list(&self) -> Markup {
        html! {
            @if self.entries.is_empty() { p { "Nobody has signed yet. Be the first!" } }
            @for entry in self.entries.iter().rev() {
                article {
                    // `bdi` keeps a name that is written from right to left from turning its neighbours around.
                    header { b { bdi { (entry.name) } } " " small { (ago(entry.written, self.now)) } }
                    p dir="auto" { (entry.message) }
                }
            }
        }
    }
}

/// Enough of a release's digest for people to compare.
fn short(release: &str) -> &str {
    let digits = release.strip_prefix("sha256:").unwrap_or(release);
    digits.get(..12).unwrap_or(digits)
}

fn ago(then: u64, now: u64) -> String {
    let (count, unit) = match now.saturating_sub(then) {
        0..60 => return "just now".to_owned(),
        seconds @ 60..3600 => (seconds / 60, "minute"),
        seconds @ 3600..86400 => (seconds / 3600, "hour"),
        seconds => (seconds / 86400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(entries: &[Entry], draft: &Draft, problem: Option<&str>, release: &str) -> String {
        Page { entries, draft, problem, release, now: 100 }.render().into_string()
    }

    #[test]
    fn nothing_that_a_visitor_writes_becomes_markup() {
        let attack = "\"><script>alert('&')</script>";
        let entry = Entry { name: attack.into(), message: attack.into(), written: 100 };
        let draft = Draft { name: attack.into(), message: "</textarea><i>".into() };
        let html = page(&[entry], &draft, Some(attack), attack);
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("<i>"), "{html}");
        assert_eq!(html.matches("value=\"&quot;&gt;&lt;script&gt;").count(), 1, "{html}");
    }

    #[test]
    fn the_newest_entry_comes_first() {
        let entry = |name: &str| Entry { name: name.into(), message: "Hello".into(), written: 1 };
        let html = page(&[entry("Ada"), entry("Grace")], &Draft::default(), None, "x");
        assert!(html.find("Grace") < html.find("Ada"), "{html}");
    }

    #[test]
    fn the_page_says_which_release_it_is() {
        let release = format!("sha256:0123456789ab{}", "f".repeat(52));
        let html = page(&[], &Draft::default(), None, &release);
        assert!(html.contains(concat!("guestbook ", env!("CARGO_PKG_VERSION"))), "{html}");
        assert!(html.contains("<code>0123456789ab</code>"), "{html}");
        assert_eq!(short("unreleased"), "unreleased");
    }

    #[test]
    fn time_passes() {
        let now = 1_000_000;
        for (seconds, text) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (3599, "59 minutes ago"),
            (3600, "1 hour ago"),
            (2 * 86400, "2 days ago"),
        ] {
            assert_eq!(ago(now - seconds, now), text);
        }
        assert_eq!(ago(now + 5, now), "just now", "clocks of two machines differ");
    }
}
