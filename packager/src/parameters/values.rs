//! What somebody sets.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use staith_model::Secret;

use super::{Declarations, Mistakes, declare::fold, read};
use crate::secrecy::holds_secret;

/// A value of a parameter. It may be a secret, so it is printed in no other way than by [`Value::shown`].
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    text: Secret,
    is_secret: bool,
}

impl Value {
    pub(super) fn new(text: Secret, is_secret: bool) -> Self {
        let is_secret = is_secret || text.expose_to(holds_secret);
        Self { text, is_secret }
    }

    /// Whether nobody may see it.
    pub const fn is_secret(&self) -> bool {
        self.is_secret
    }

    /// The value for people: a mask where it is a secret.
    pub fn shown(&self) -> Cow<'static, str> {
        if self.is_secret { "***".into() } else { self.text.expose_to(str::to_owned).into() }
    }

    /// Lets `reader` see the value itself.
    pub fn expose_to<R>(&self, reader: impl FnOnce(&str) -> R) -> R {
        self.text.expose_to(reader)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.shown()).finish()
    }
}

/// Where a value comes from, and which one counts: later ones beat earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum From {
    /// Its declaration.
    Default,
    /// A file of values, as the person knows it, with the line.
    File(String, u32),
    /// Staith's secrets, or a variable of its environment.
    Secrets,
    /// The command line.
    CommandLine,
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file, line) => write!(f, "{file}:{line}"),
            Self::Secrets => f.write_str("secrets"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// One value that was set.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) text: Secret,
    pub(super) is_secret: bool,
    pub(super) from: From,
}

/// Values for parameters, by name without letter case.
#[derive(Debug, Clone, Default)]
pub struct Values {
    given: BTreeMap<String, Given>,
}

/// A text that sets nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a value is set by NAME=VALUE, and there is {0}; write for example \"Shop Name=Lantern Lane\"")]
pub struct BadSetting(&'static str);

impl Values {
    /// Takes in `SetParameters.xml`; `file` is what people call it.
    ///
    /// # Errors
    /// All that is wrong in the file. Nothing was taken in then.
    pub fn add_file(&mut self, bytes: &[u8], file: &str) -> Result<(), Mistakes> {
        for set in read::values(bytes)? {
            let from = From::File(file.to_owned(), set.line);
            self.add(Given { name: set.name, text: Secret::new(set.value), is_secret: false, from });
        }
        Ok(())
    }

    /// Takes in `NAME=VALUE`. The name ends at the first `=` that does not belong to a declared name; the value is taken as it
    /// is.
    ///
    /// # Errors
    /// There is no `=`, or no name. The text, which may be a secret, is not in the error.
    pub fn set(&mut self, setting: &str, declared: &Declarations) -> Result<(), BadSetting> {
        let ways = || setting.match_indices('=').map(|(at, _)| (&setting[..at], &setting[at + 1..]));
        let known = ways().find(|(name, _)| declared.get(name).is_some());
        let (name, value) = known.or_else(|| ways().next()).ok_or(BadSetting("no `=`"))?;
        if name.trim().is_empty() {
            return Err(BadSetting("no name before `=`"));
        }
        let from = From::CommandLine;
        self.add(Given { name: name.to_owned(), text: Secret::new(value), is_secret: false, from });
        Ok(())
    }

    /// Takes a secret in.
    pub fn set_secret(&mut self, name: &str, secret: Secret) {
        self.add(Given { name: name.to_owned(), text: secret, is_secret: true, from: From::Secrets });
    }

    /// Whether this parameter was set to something. A file that somebody is to fill in sets to nothing what it does not know.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|given| !given.text.expose_to(str::is_empty))
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.given.get(&fold(name))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Given> {
        self.given.values()
    }

    /// Of two values, the one from the stronger place stays; of two from one place, the later.
    fn add(&mut self, given: Given) {
        let folded = fold(&given.name);
        let rank = |from: &From| match from {
            From::Default => 0,
            From::File(..) => 1,
            From::Secrets => 2,
            From::CommandLine => 3,
        };
        if self.given.get(&folded).is_none_or(|there| rank(&there.from) <= rank(&given.from)) {
            self.given.insert(folded, given);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Declarations {
        let xml = r#"<parameters><parameter name="A" /><parameter name="A=B" /></parameters>"#;
        Declarations::read(xml.as_bytes()).unwrap()
    }

    #[test]
    fn the_command_line_beats_files_in_any_order() {
        let file = br#"<parameters><setParameter name="A" value="file" /></parameters>"#;
        let (mut one, mut other) = (Values::default(), Values::default());
        one.add_file(file, "x").unwrap();
        one.set("a=line", &declared()).unwrap();
        other.set("a=line", &declared()).unwrap();
        other.add_file(file, "x").unwrap();
        for values in [one, other] {
            let given = values.get("A").unwrap();
            assert_eq!(
                (given.text.expose_to(str::to_owned), &given.from),
                ("line".into(), &From::CommandLine)
            );
        }
    }

    #[test]
    fn names_may_hold_equals_signs() {
        let mut values = Values::default();
        values.set("A=B=c=d", &declared()).unwrap();
        assert_eq!(values.get("a").unwrap().text, Secret::new("B=c=d"));
        values.set("N=1", &declared()).unwrap();
        assert!(values.has("n"));
        for bad in ["", "hunter2", "=hunter2", " =hunter2"] {
            assert!(!values.set(bad, &declared()).unwrap_err().to_string().contains("hunter2"), "{bad}");
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let mut values = Values::default();
        values.set("A=hunter2", &declared()).unwrap();
        values.set_secret("B", Secret::new("hunter2"));
        let value = Value::new(Secret::new("Server=.;Password=hunter2"), false);
        assert!(value.is_secret());
        let printed = format!("{values:?} {value:?} {}", value.shown());
        assert!(!printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn a_file_that_sets_a_value_twice_is_refused() {
        let file = b"<parameters>\n<setParameter name='A' value='1'/>\n<setParameter name='a' value='2'/></parameters>";
        let refused = Values::default().add_file(file, "x").unwrap_err();
        assert_eq!((refused.0[0].line, refused.0[0].column), (3, 1));
    }
}
