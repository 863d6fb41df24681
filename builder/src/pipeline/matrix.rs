//! `matrix`: one step of the file, several of the plan.

use std::{collections::BTreeMap, ops::Range};

use staith_model::{Name, Placement};
use toml::de::DeValue;

use super::{
    keys::{Keys, Shape, TEXT, TextKind, key},
    problems::{Problem, quoted},
    steps::MOST_STEPS,
    suggest::{closest, listed},
    values::{Complaint, Understood, complaint},
    walk::{Entry, Table},
};

pub(super) const DIMENSION: TextKind = TextKind { what: "dimension", pattern: Some("^[a-z][a-z0-9_-]*$") };
const COMBINATIONS: Shape = Shape::List {
    of: &Shape::Named { names: &DIMENSION, of: &Shape::Text(&TEXT), filled: true, most: None },
    filled: true,
};
pub(super) const KEYS: Keys = Keys {
    known: &[
        key(
            "exclude",
            COMBINATIONS,
            "none",
            "Combinations that are left out: each a table of some dimensions and their values.",
        ),
        key(
            "include",
            COMBINATIONS,
            "none",
            "Combinations beside those of the lists: each a table of all dimensions and their values.",
        ),
    ],
    elsewhere: &[],
};
pub(super) const SHAPE: Shape = Shape::NamedBut {
    names: &DIMENSION,
    of: &Shape::List { of: &Shape::Text(&TEXT), filled: true },
    own: &KEYS,
};

/// A name with the values that it goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dimension {
    pub(super) name: String,
    pub(super) values: Vec<String>,
}

/// One step of a plan that a step with a matrix stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Its name in the plan: the step's and the values, `test-3.12`.
    pub name: Name,
    /// A value for each dimension.
    pub values: BTreeMap<String, String>,
    /// Which runners may take it, where that hangs on its values; else it is as the step says.
    pub runner: Option<Placement>,
}

/// A step's matrix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Matrix {
    pub(super) dimensions: Vec<Dimension>,
    pub(super) variants: Vec<Variant>,
    pub(super) place: Range<usize>,
}

/// The environment variable in which a step finds the value of a dimension.
pub(crate) fn variable(dimension: &str) -> String {
    format!("MATRIX_{}", dimension.to_ascii_uppercase().replace('-', "_"))
}

/// `matrix` of the step `step`; without variants where something is wrong with it.
pub(super) fn read(table: &Table<'_>, step: &str) -> Matrix {
    let Some(entry) = table.entry("matrix") else { return Matrix::default() };
    let Some(matrix) = Table::of_names(format!("step `{step}`"), entry.value, table.problems()) else {
        let help = "write `matrix = { python = [\"3.11\", \"3.12\"] }`";
        table.wrong_kind("matrix", entry.value, "a table", help.into());
        return Matrix::default();
    };
    let own = |entry: &Entry<'_>| KEYS.names().any(|key| key == entry.key);
    let entries = matrix.entries();
    let dimensions: Option<Vec<Dimension>> =
        entries.iter().filter(|entry| !own(entry)).map(|entry| dimension(&matrix, entry)).collect();
    let place = entry.key_place;
    let dimensions = dimensions.filter(|dimensions| has_room(table, dimensions, &place));
    let Some(dimensions) = dimensions.filter(|dimensions| distinct_variables(table, dimensions, &place))
    else {
        return Matrix { place, ..Matrix::default() };
    };
    let combinations = combinations(&matrix, &dimensions);
    let variants =
        combinations.and_then(|combinations| variants(table, step, &dimensions, combinations, &place));
    Matrix { variants: variants.unwrap_or_default(), dimensions, place }
}

fn dimension(matrix: &Table<'_>, entry: &Entry<'_>) -> Option<Dimension> {
    let starts_well = entry.key.starts_with(|c: char| c.is_ascii_lowercase());
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if !(starts_well && entry.key.chars().all(fits)) {
        let complaint = Complaint {
            what: "has a bad name in it".into(),
            label: format!("{} can't be the name of a dimension", quoted(entry.key)),
            help: "use lower-case letters, digits, `-` and `_`, first a letter".into(),
        };
        matrix.complain("matrix", entry.key_place.clone(), complaint);
        return None;
    }
    let values = matrix.filled_list(entry.key, value)?;
    for (index, value) in values.iter().enumerate() {
        if values[..index].iter().any(|other| other.value == value.value) {
            let message = format!("`{}` names `{}` twice", entry.key, value.value);
            matrix.problems().add(Problem::at(value.place.clone(), message, "here again", "name it once"));
            return None;
        }
    }
    let values = values.into_iter().map(|value| value.value).collect();
    Some(Dimension { name: entry.key.to_owned(), values })
}

fn value(text: &str) -> Understood<String> {
    if text.chars().any(char::is_control) {
        return complaint(
            "holds a control character",
            "this can't be shown",
            "write a value that people can read",
        );
    }
    if slug(text).is_empty() {
        return complaint(
            "has a value without a letter or a digit",
            "the step could not be named after it",
            "write a value with a letter or a digit in it",
        );
    }
    Ok(text.to_owned())
}

/// A value as a part of a step's name.
fn slug(value: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    let dashed: String = value.chars().map(|c| if fits(c) { c.to_ascii_lowercase() } else { '-' }).collect();
    dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// Whether there are no more combinations than a plan may have steps; else none is even made.
fn has_room(table: &Table<'_>, dimensions: &[Dimension], place: &Range<usize>) -> bool {
    let product =
        dimensions.iter().try_fold(1usize, |product, dimension| product.checked_mul(dimension.values.len()));
    let fits = product.is_some_and(|product| product <= MOST_STEPS);
    if !fits {
        let complaint = Complaint {
            what: format!("has more than {MOST_STEPS} combinations"),
            label: "a plan has no room for so many steps".into(),
            help: "test fewer values together; a list in a script needs no step for each".into(),
        };
        table.complain("matrix", place.clone(), complaint);
    }
    fits
}

fn distinct_variables(table: &Table<'_>, dimensions: &[Dimension], place: &Range<usize>) -> bool {
    for (index, dimension) in dimensions.iter().enumerate() {
        let same = |other: &&Dimension| variable(&other.name) == variable(&dimension.name);
        if let Some(other) = dimensions[..index].iter().find(same) {
            let complaint = Complaint {
                what: format!("has `{}` and `{}`", other.name, dimension.name),
                label: format!("both would be `{}` in the environment", variable(&dimension.name)),
                help: "give one of them another name".into(),
            };
            table.complain("matrix", place.clone(), complaint);
            return false;
        }
    }
    true
}

type Combination = BTreeMap<String, String>;

/// All combinations, the last dimension changing first; then those that are included.
fn combinations(matrix: &Table<'_>, dimensions: &[Dimension]) -> Option<Vec<Combination>> {
    let excluded = tables(matrix, "exclude", |table, entry| known_value(table, dimensions, entry))?;
    let included = tables(matrix, "include", |table, entry| known_dimension(table, dimensions, entry))?;
    let mut combinations = if dimensions.is_empty() { Vec::new() } else { vec![Combination::new()] };
    for dimension in dimensions {
        let with = |combination: &Combination, value: &String| {
            let mut combination = combination.clone();
            combination.insert(dimension.name.clone(), value.clone());
            combination
        };
        combinations = combinations
            .iter()
            .flat_map(|combination| dimension.values.iter().map(move |value| with(combination, value)))
            .collect();
    }
    let is_excluded = |combination: &Combination| {
        excluded.iter().any(|(some, _)| some.iter().all(|(name, value)| combination.get(name) == Some(value)))
    };
    combinations.retain(|combination| !is_excluded(combination));
    for (combination, place) in included {
        complete(matrix, dimensions, &combination, &place)?;
        combinations.push(combination);
    }
    Some(combinations)
}

/// A list of tables; none where something in it is wrong.
fn tables(
    matrix: &Table<'_>,
    key: &str,
    understand: impl Fn(&Table<'_>, &Entry<'_>) -> Option<(String, String)>,
) -> Option<Vec<(Combination, Range<usize>)>> {
    let Some(entry) = matrix.entry(key) else { return Some(Vec::new()) };
    let help = format!("write a list of tables: `{key} = [{{ python = \"3.11\" }}]`");
    let Some(items) = entry.value.get_ref().as_array() else {
        matrix.wrong_kind(key, entry.value, "a list of tables", help);
        return None;
    };
    let mut tables = Vec::new();
    for item in items.iter() {
        let DeValue::Table(_) = item.get_ref() else {
            matrix.wrong_kind(key, item, "a table", help);
            return None;
        };
        let table = Table::of_names(format!("`{key}`"), item, matrix.problems())?;
        let pairs: Option<Combination> =
            table.entries().iter().map(|entry| understand(&table, entry)).collect();
        let pairs = pairs?;
        if pairs.is_empty() {
            let complaint =
                Complaint { what: "has an empty table".into(), label: "this names nothing".into(), help };
            matrix.complain(key, item.span(), complaint);
            return None;
        }
        tables.push((pairs, item.span()));
    }
    Some(tables)
}

fn known_dimension(
    table: &Table<'_>,
    dimensions: &[Dimension],
    entry: &Entry<'_>,
) -> Option<(String, String)> {
    let names = || dimensions.iter().map(|dimension| dimension.name.as_str());
    if !names().any(|name| name == entry.key) {
        let help = match closest(entry.key, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the dimensions are {}", listed(names())),
        };
        let message = format!("{} is no dimension of the matrix", quoted(entry.key));
        table.problems().add(Problem::at(entry.key_place.clone(), message, "no list has this name", help));
        return None;
    }
    let value = table.understand(entry.key, entry.value, value)?;
    Some((entry.key.to_owned(), value.value))
}

/// As [`known_dimension`], where the value has to be one of the list, too.
fn known_value(table: &Table<'_>, dimensions: &[Dimension], entry: &Entry<'_>) -> Option<(String, String)> {
    let (name, value) = known_dimension(table, dimensions, entry)?;
    let values = || {
        dimensions.iter().filter(|dimension| dimension.name == name).flat_map(|dimension| &dimension.values)
    };
    if values().any(|known| *known == value) {
        return Some((name, value));
    }
    let help = format!("`{name}` goes through {}", listed(values()));
    let message = format!("`{name}` is never {}", quoted(&value));
    table.problems().add(Problem::at(entry.value.span(), message, "this takes nothing away", help));
    None
}

fn complete(
    matrix: &Table<'_>,
    dimensions: &[Dimension],
    given: &Combination,
    place: &Range<usize>,
) -> Option<()> {
    let missing: Vec<_> = dimensions
        .iter()
        .map(|dimension| dimension.name.as_str())
        .filter(|name| !given.contains_key(*name))
        .collect();
    if missing.is_empty() {
        return Some(());
    }
    let complaint = Complaint {
        what: format!("lacks {}", listed(&missing)),
        label: "every dimension needs a value here".into(),
        help: "name all dimensions of the matrix, each with one value".into(),
    };
    matrix.complain("include", place.clone(), complaint);
    None
}

fn variants(
    table: &Table<'_>,
    step: &str,
    dimensions: &[Dimension],
    combinations: Vec<Combination>,
    place: &Range<usize>,
) -> Option<Vec<Variant>> {
    let complain = |what: String, label: &str, help: String| {
        table.complain("matrix", place.clone(), Complaint { what, label: label.into(), help });
        None
    };
    if combinations.is_empty() {
        return complain(
            "has no combination".into(),
            "the step would never run",
            "name values: `matrix = { python = [\"3.12\"] }`".into(),
        );
    }
    let mut variants: Vec<Variant> = Vec::new();
    for values in combinations {
        let parts =
            dimensions.iter().filter_map(|dimension| values.get(&dimension.name)).map(|value| slug(value));
        let name = [step.to_owned()].into_iter().chain(parts).collect::<Vec<_>>().join("-");
        let Ok(parsed) = name.parse::<Name>() else {
            let what = format!("makes {}, which is no name", quoted(&name));
            return complain(
                what,
                "steps are named after their values",
                "use shorter values; 63 characters are the most".into(),
            );
        };
        if let Some(other) = variants.iter().find(|other| other.name == parsed) {
            let what = format!("makes two steps `{name}`");
            let help = format!(
                "two combinations look alike in a name: {} and {}",
                shown(&other.values),
                shown(&values)
            );
            return complain(what, "each combination needs a name of its own", help);
        }
        variants.push(Variant { name: parsed, values, runner: None });
    }
    Some(variants)
}

fn shown(values: &Combination) -> String {
    let pairs: Vec<_> = values.iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
    format!("`{}`", pairs.join(", "))
}
