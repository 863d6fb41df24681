//! Walks the tables of a `runner.toml`: typed getters that complain at the place of what is wrong and go on.

use std::{fmt::Display, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    flaw::Flaw,
    keys::Keys,
    problems::{Problem, Problems, quoted},
    suggest::{closest, listed},
    values::{Complaint, Understood},
};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Range<usize>,
}

/// Some checks look at each pair of two lists' items.
const MOST_ITEMS: usize = 1000;
const NO_KEYS: Keys = Keys { known: &[], elsewhere: &[] };

/// One table of the file, with what is needed to complain about it.
pub(super) struct Table<'t> {
    /// What people call it, "step `build`"; empty for the file itself.
    title: String,
    place: Range<usize>,
    entries: &'t DeTable<'t>,
    keys: &'static Keys,
    problems: &'t Problems,
}

/// One key with its value.
pub(super) struct Entry<'t> {
    pub(super) key: &'t str,
    pub(super) key_place: Range<usize>,
    pub(super) value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Table<'t> {
    /// The whole file.
    pub(super) fn file(entries: &'t DeTable<'t>, keys: &'static Keys, problems: &'t Problems) -> Self {
        let table = Self { title: String::new(), place: 0..0, entries, keys, problems };
        table.refuse_unknown_keys();
        table
    }

    /// A table below another; complains when the value is no table, and about keys that the table can't have.
    pub(super) fn below(
        title: String,
        value: &'t Spanned<DeValue<'t>>,
        keys: &'static Keys,
        problems: &'t Problems,
    ) -> Option<Self> {
        let place = value.span();
        let Some(entries) = value.get_ref().as_table() else {
            let message = format!("{title} is {}, not a table", kind(value.get_ref()));
            problems.add(Problem::at(place, message, "a table belongs here", keys_of(keys)));
            return None;
        };
        let table = Self { title, place, entries, keys, problems };
        table.refuse_unknown_keys();
        Some(table)
    }

    /// A table below another whose keys are names of a person's own, or not known yet.
    pub(super) fn of_names(
        title: String,
        value: &'t Spanned<DeValue<'t>>,
        problems: &'t Problems,
    ) -> Option<Self> {
        let entries = value.get_ref().as_table()?;
        Some(Self { title, place: value.span(), entries, keys: &NO_KEYS, problems })
    }

    pub(super) fn entries(&self) -> Vec<Entry<'t>> {
        in_file_order(self.entries)
    }

    /// What people call the table.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    pub(super) fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    pub(super) fn problems(&self) -> &'t Problems {
        self.problems
    }

    pub(super) fn entry(&self, key: &str) -> Option<Entry<'t>> {
        self.entries.get_key_value(key).map(|(key, value)| Entry {
            key: key.get_ref(),
            key_place: key.span(),
            value,
        })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A text that `understand` makes sense of.
    pub(super) fn text<T>(&self, key: &str, understand: impl Fn(&str) -> Understood<T>) -> Option<Placed<T>> {
        let entry = self.entry(key)?;
        self.understand(key, entry.value, understand)
    }

    /// As [`text`](Self::text), for a key that must be there.
    pub(super) fn required<T>(
        &self,
        key: &str,
        example: &str,
        understand: impl Fn(&str) -> Understood<T>,
    ) -> Option<Placed<T>> {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.text(key, understand)
    }

    /// A list of texts; none where the key is absent or any of its texts is wrong.
    pub(super) fn list<T>(
        &self,
        key: &str,
        understand: impl Fn(&str) -> Understood<T>,
    ) -> Option<Vec<Placed<T>>> {
        let items = self.items(key, "texts", "\"...\"")?;
        let understood: Vec<_> = items.iter().map(|item| self.understand(key, item, &understand)).collect();
        understood.into_iter().collect()
    }

    /// The items of a list that is not too long to be looked at.
    pub(super) fn items(
        &self,
        key: &str,
        of: &str,
        example: impl Display,
    ) -> Option<&'t [Spanned<DeValue<'t>>]> {
        let entry = self.entry(key)?;
        let Some(items) = entry.value.get_ref().as_array() else {
            let help = match entry.value.get_ref() {
                DeValue::String(text) if of == "texts" => format!("write `{key} = [\"{text}\"]`"),
                DeValue::Integer(number) if of == "numbers" => format!("write `{key} = [{number}]`"),
                _ => format!("write a list of {of}: `{key} = [{example}]`"),
            };
            self.wrong_kind(key, entry.value, "a list", help);
            return None;
        };
        if items.len() > MOST_ITEMS {
            let complaint = Complaint {
                what: format!("has {} items; {MOST_ITEMS} is the most", items.len()),
                label: "nobody oversees such a list".into(),
                help: "name folders or use wildcards".into(),
            };
            self.complain(key, entry.value.span(), complaint);
            return None;
        }
        Some(items)
    }

    /// As [`list`](Self::list), for a list that must not be empty; the default where the key is absent is another matter.
    pub(super) fn filled_list<T>(
        &self,
        key: &str,
        understand: impl Fn(&str) -> Understood<T>,
    ) -> Option<Vec<Placed<T>>> {
        let list = self.list(key, understand)?;
        self.is_filled(key, &list).then_some(list)
    }

    fn is_filled<T>(&self, key: &str, list: &[T]) -> bool {
        if let Some(entry) = self.entry(key).filter(|_| list.is_empty()) {
            let complaint = Complaint {
                what: "is empty".into(),
                label: "an empty list asks for nothing".into(),
                help: format!("name something in it, or leave `{key}` out"),
            };
            self.complain(key, entry.value.span(), complaint);
        }
        !list.is_empty()
    }

    /// `true` or `false`.
    pub(super) fn truth(&self, key: &str) -> Option<bool> {
        let entry = self.entry(key)?;
        if let DeValue::Boolean(truth) = entry.value.get_ref() {
            return Some(*truth);
        }
        let help = format!("write `{key} = true` or `{key} = false`, without quotes");
        self.wrong_kind(key, entry.value, "a truth value", help);
        None
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&self, key: &str, least: u64, most: u64) -> Option<u64> {
        self.number_at(key, self.entry(key)?.value, least, most)
    }

    /// A list of such numbers that is not empty; none where the key is absent or any of them is wrong.
    pub(super) fn filled_numbers(&self, key: &str, least: u64, most: u64) -> Option<Vec<u64>> {
        let items = self.items(key, "numbers", least)?;
        let numbers: Vec<_> = items.iter().map(|item| self.number_at(key, item, least, most)).collect();
        self.is_filled(key, &numbers).then_some(numbers)?.into_iter().collect()
    }

    fn number_at(&self, key: &str, value: &Spanned<DeValue<'_>>, least: u64, most: u64) -> Option<u64> {
        let help = format!("write a whole number from {least} to {most}, without quotes");
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_kind(key, value, "a whole number", help);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let fitting = number.filter(|number| (least..=most).contains(number));
        if fitting.is_none() {
            let complaint = Complaint {
                what: "is out of range".into(),
                label: format!("{integer} is outside {least} to {most}"),
                help,
            };
            self.complain(key, value.span(), complaint);
        }
        fitting
    }

    /// One text that is already at hand, for example an item of a list.
    pub(super) fn understand<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        understand: impl Fn(&str) -> Understood<T>,
    ) -> Option<Placed<T>> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_kind(key, value, "a text", text_help(value.get_ref(), &understand));
            return None;
        };
        match understand(text) {
            Ok(understood) => Some(Placed { value: understood, place: value.span() }),
            Err(complaint) => {
                self.complain(key, value.span(), complaint);
                None
            }
        }
    }

    pub(super) fn wrong_kind(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str, help: String) {
        let found = kind(value.get_ref());
        let complaint = Complaint {
            what: format!("is {found}, not {wanted}"),
            label: format!("{wanted} belongs here"),
            help,
        };
        self.complain(key, value.span(), complaint);
    }

    pub(super) fn complain(&self, key: &str, place: Range<usize>, complaint: Complaint) {
        let message = format!("`{key}`{} {}", self.of(), complaint.what);
        self.problems.add(Problem::at(place, message, complaint.label, complaint.help));
    }

    /// Complains about a part of the text that is written at `place`.
    pub(super) fn complain_inside(&self, key: &str, place: Range<usize>, flaw: Flaw) {
        let message = format!("`{key}`{} {}", self.of(), flaw.what);
        self.problems.add(Problem::at(place, message, flaw.label, flaw.help).inside(flaw.place));
    }

    /// Complains that a key is not there, unless a misspelt one is: one mistake is told once.
    pub(super) fn missing(&self, key: &str, example: &str) {
        if self.unknown_keys().any(|entry| self.meant_by(entry.key) == Some(key)) {
            return;
        }
        let (message, label) = if self.title.is_empty() {
            (format!("`{key}` is missing"), "it belongs at the top of the file".to_owned())
        } else {
            (format!("`{key}` is missing from {}", self.title), format!("`{key}` belongs in this table"))
        };
        self.problems.add(Problem::at(self.place(), message, label, format!("add `{example}`")));
    }

    fn of(&self) -> String {
        if self.title.is_empty() { String::new() } else { format!(" of {}", self.title) }
    }

    fn unknown_keys(&self) -> impl Iterator<Item = Entry<'t>> {
        in_file_order(self.entries)
            .into_iter()
            .filter(|entry| !self.keys.names().any(|known| known == entry.key))
    }

    fn meant_by(&self, unknown: &str) -> Option<&'static str> {
        let elsewhere = self.keys.elsewhere.iter().find(|(word, _)| *word == unknown).map(|(_, key)| *key);
        elsewhere.or_else(|| closest(unknown, self.keys.names()))
    }

    fn refuse_unknown_keys(&self) {
        for Entry { key, key_place, value } in self.unknown_keys() {
            let known = keys_of(self.keys);
            let help = match self.meant_by(key) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if value.get_ref().is_table() && self.title.starts_with("step ") => {
                    format!(
                        "a name with a dot is written in quotes: `[steps.\"{}.{key}\"]`; {known}",
                        self.name()
                    )
                }
                None => known,
            };
            let message = if self.title.is_empty() {
                format!("unknown key {}", quoted(key))
            } else {
                format!("unknown key {} in {}", quoted(key), self.title)
            };
            self.problems.add(Problem::at(key_place, message, "nothing is known by this name", help));
        }
    }

    /// The name inside the title.
    fn name(&self) -> &str {
        self.title.split('`').nth(1).unwrap_or_default()
    }
}

/// The entries of a table as a person wrote them, top to bottom.
pub(super) fn in_file_order<'t>(entries: &'t DeTable<'t>) -> Vec<Entry<'t>> {
    let mut list: Vec<_> = entries
        .iter()
        .map(|(key, value)| Entry { key: key.get_ref(), key_place: key.span(), value })
        .collect();
    list.sort_by_key(|entry| entry.key_place.start);
    list
}

fn keys_of(keys: &Keys) -> String {
    if keys.known.is_empty() {
        "this table holds names of your own".into()
    } else {
        format!("its keys are {}", listed(keys.names()))
    }
}

/// What to write instead of a number or the like: the same in quotes, if that would do; or else what the text must be.
fn text_help<T>(value: &DeValue<'_>, understand: impl Fn(&str) -> Understood<T>) -> String {
    let text = match value {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        _ => return "write one text in quotes".to_owned(),
    };
    match understand(&text) {
        Ok(_) => format!("put it in quotes: \"{text}\""),
        Err(complaint) => complaint.help,
    }
}

/// What people call a value's kind.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
