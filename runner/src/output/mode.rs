//! Which way of showing a run suits whoever looks.

use std::io::{self, IsTerminal as _};

use super::{Watch, json::Json, live::Live, look::Look, plain::Plain};

/// A way of showing a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputMode {
    /// A picture that is kept up to date, on a terminal.
    Live(Look),
    /// Line by line.
    Plain(Look),
    /// The same on standard error: standard output is another program's.
    Aside(Look),
    /// Events as JSON, one per line.
    Json,
}

impl OutputMode {
    /// Chooses by what was asked for, by where standard output goes, and by the environment, of which `env` gives the
    /// value of a variable.
    ///
    /// Live needs a terminal that can move its cursor, a person before it (no `CI`), and a terminal of its own (with
    /// `STAITH_LOG`, diagnostics would tear the picture apart). `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE` mean what
    /// <https://bixense.com/clicolors> says.
    pub(crate) fn choose(json: bool, stdout_is_terminal: bool, env: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
        let is_on = |name: &str| env(name).is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        let look = Look::choose(stdout_is_terminal, &env);
        if json {
            Self::Json
        } else if stdout_is_terminal && can_move(&env) && !is_on("CI") && !is_set("STAITH_LOG") {
            Self::Live(look)
        } else {
            Self::Plain(look)
        }
    }

    /// What shows a run this way on standard output.
    pub(crate) fn watch(self) -> Box<dyn Watch> {
        match self {
            Self::Live(look) => Box::new(Live::on_stdout(look)),
            Self::Plain(look) => Box::new(Plain::new(io::stdout(), look)),
            Self::Aside(look) => Box::new(Plain::new(io::stderr(), look)),
            Self::Json => Box::new(Json::new(io::stdout())),
        }
    }

    /// What suits a command whose standard output is another program's.
    pub(crate) fn aside() -> Self {
        Self::Aside(Look::choose(io::stderr().is_terminal(), |name| std::env::var(name).ok()))
    }

    /// Whether what steps write is shown by its last lines only.
    pub(crate) fn shows_last_lines_only(self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// Whether output is meant for programs.
    pub(crate) fn is_json(self) -> bool {
        self == Self::Json
    }
}

impl Look {
    /// What suits a stream, by whether it goes to a terminal and by the environment.
    pub(crate) fn choose(is_terminal: bool, env: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| env(name).filter(|value| !value.is_empty());
        let forced = value("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let wanted = is_terminal && can_move(&env) && value("CLICOLOR").is_none_or(|value| value != "0");
        let colours = value("NO_COLOR").is_none() && (forced || wanted);
        // Only a locale that says otherwise speaks against UTF-8: containers often say nothing and mean it.
        let locale = value("LC_ALL").or_else(|| value("LC_CTYPE")).or_else(|| value("LANG"));
        let utf8 = locale.is_none_or(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        // The kernel's own console has a font of 512 characters, and the spinner is not among them.
        Self { colours, unicode: utf8 && env("TERM").as_deref() != Some("linux") }
    }
}

fn can_move(env: &impl Fn(&str) -> Option<String>) -> bool {
    env("TERM").is_some_and(|term| !matches!(term.as_str(), "" | "dumb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(json: bool, terminal: bool, env: &[(&str, &str)]) -> OutputMode {
        let value =
            |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        OutputMode::choose(json, terminal, value)
    }

    type Case = (bool, &'static [(&'static str, &'static str)], OutputMode);

    #[test]
    fn the_way_suits_whoever_looks() {
        let colours = Look { colours: true, unicode: true };
        let bare = Look { colours: false, unicode: true };
        let table: &[Case] = &[
            (true, &[("TERM", "xterm")], OutputMode::Live(colours)),
            (true, &[("TERM", "xterm"), ("NO_COLOR", "1")], OutputMode::Live(bare)),
            (true, &[("TERM", "xterm"), ("NO_COLOR", "")], OutputMode::Live(colours)),
            (true, &[("TERM", "xterm"), ("CLICOLOR", "0")], OutputMode::Live(bare)),
            (true, &[("TERM", "xterm"), ("CI", "true")], OutputMode::Plain(colours)),
            (true, &[("TERM", "xterm"), ("CI", "false")], OutputMode::Live(colours)),
            (true, &[("TERM", "xterm"), ("STAITH_LOG", "debug")], OutputMode::Plain(colours)),
            (true, &[("TERM", "dumb")], OutputMode::Plain(bare)),
            (true, &[], OutputMode::Plain(bare)),
            (false, &[("TERM", "xterm")], OutputMode::Plain(bare)),
            (false, &[("CLICOLOR_FORCE", "1")], OutputMode::Plain(colours)),
            (false, &[("CLICOLOR_FORCE", "0")], OutputMode::Plain(bare)),
            (false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], OutputMode::Plain(bare)),
        ];
        for (terminal, env, mode) in table {
            assert_eq!(choose(false, *terminal, env), *mode, "{terminal} {env:?}");
            assert_eq!(choose(true, *terminal, env), OutputMode::Json);
        }
    }

    #[test]
    fn marks_are_ascii_where_the_locale_or_the_console_says_so() {
        let ascii = |env| match choose(false, true, env) {
            OutputMode::Live(look) => !look.unicode,
            other => panic!("{other:?}"),
        };
        assert!(ascii(&[("TERM", "xterm"), ("LC_ALL", "C")]));
        assert!(ascii(&[("TERM", "xterm"), ("LANG", "de_DE.ISO-8859-1")]));
        assert!(ascii(&[("TERM", "linux"), ("LANG", "C.UTF-8")]));
        assert!(!ascii(&[("TERM", "xterm"), ("LC_ALL", ""), ("LANG", "en_GB.utf8")]));
    }
}
