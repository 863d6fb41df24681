//! What came out: each result beside the table, and the sandboxes beside each other.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use super::row::{Column, Host, NOT_RUN, Row, Tried};

/// What came out in one sandbox, by the row's place in the table.
pub type Results = BTreeMap<usize, String>;

/// All results of a machine.
pub struct Verdict<'a> {
    pub rows: &'a [Row],
    pub results: Vec<(Column, Results)>,
    pub outside: Option<Results>,
}

impl Verdict<'_> {
    /// Everything that is not as the table says, in words.
    pub fn flaws(&self) -> Vec<String> {
        let mut flaws = Vec::new();
        for (place, row) in self.rows.iter().enumerate() {
            match row.tried {
                Tried::Elsewhere(file, test) => flaws.extend(missing_test(row, file, test)),
                Tried::Not(_) => {}
                Tried::Python(_) | Tried::Scenario(_) => {
                    flaws.extend(
                        self.results
                            .iter()
                            .filter_map(|(column, results)| weaker(place, row, *column, results)),
                    );
                    flaws.extend(self.unnamed_differences(place, row));
                    flaws.extend(self.harmless_outside(place, row));
                }
            }
        }
        flaws
    }

    /// Sandboxes that answer otherwise than the first, where the table does not say that they do.
    fn unnamed_differences(&self, place: usize, row: &Row) -> Vec<String> {
        let first = self.results.iter().find(|(column, _)| column.kind == Host && column.by_root);
        let Some(met_first) = first.and_then(|(_, results)| results.get(&place)) else { return Vec::new() };
        let otherwise = |(column, results): &(Column, Results)| {
            let met = results.get(&place)?;
            let named = row
                .differences
                .iter()
                .any(|difference| (difference.of)(*column) && difference.refusals.contains(&met.as_str()));
            (met != met_first && met != NOT_RUN && !named).then(|| {
                format!(
                    "row {}, {}: {met} in {}, {met_first} in Host, and the table names no such difference",
                    row.number,
                    row.what,
                    column.name()
                )
            })
        };
        self.results.iter().filter_map(otherwise).collect()
    }

    /// An attempt that is refused where there is no wall shows nothing.
    fn harmless_outside(&self, place: usize, row: &Row) -> Option<String> {
        let met = self.outside.as_ref()?.get(&place)?;
        row.refusals.contains(&met.as_str()).then(|| {
            format!("row {}, {}: {met} outside as well, so nothing is shown inside", row.number, row.what)
        })
    }

    /// For people: a line for each row, the sandboxes side by side.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let columns: Vec<String> = self.results.iter().map(|(column, _)| column.name()).collect();
        let _ = writeln!(text, "{:>3}  {:<42} {} | outside", "row", "what is tried", columns.join(" | "));
        for (place, row) in self.rows.iter().enumerate() {
            let met = match row.tried {
                Tried::Elsewhere(file, test) => format!("{file}, {test}"),
                Tried::Not(why) => format!("NOT RUN: {why}"),
                Tried::Python(_) | Tried::Scenario(_) => self.met(place, row),
            };
            let _ = writeln!(text, "{:>3}  {:<42} {met}", row.number, row.what);
        }
        let (run, not) = self.counts();
        let _ = writeln!(text, "{run} results in {} sandboxes; {not} rows were not run here", columns.len());
        text
    }

    fn met(&self, place: usize, row: &Row) -> String {
        if let Some(why) = (row.needs)() {
            return format!("NOT RUN: {why}");
        }
        let mut met: Vec<&str> = self
            .results
            .iter()
            .map(|(_, results)| results.get(&place).map_or("nothing came", |met| short(met)))
            .collect();
        // One word where all say the same.
        if met.windows(2).all(|two| two[0] == two[1]) {
            met.truncate(1);
        }
        let outside = self.outside.as_ref().and_then(|results| results.get(&place));
        format!("{} | {}", met.join(" | "), outside.map_or("-", |met| short(met)))
    }

    fn counts(&self) -> (usize, usize) {
        let not = |row: &&Row| matches!(row.tried, Tried::Not(_)) || (row.needs)().is_some();
        (self.results.iter().map(|(_, results)| results.len()).sum(), self.rows.iter().filter(not).count())
    }
}

fn short(met: &str) -> &str {
    met.char_indices().nth(48).map_or(met, |(end, _)| &met[..end])
}

fn weaker(place: usize, row: &Row, column: Column, results: &Results) -> Option<String> {
    if (row.needs)().is_some() {
        return None;
    }
    let met = results.get(&place).map_or("nothing came", String::as_str);
    let refusals = row.refusals_in(column);
    (met != NOT_RUN && !refusals.contains(&met)).then(|| {
        format!("row {}, {}: {met} in {}, expected one of {refusals:?}", row.number, row.what, column.name())
    })
}

fn missing_test(row: &Row, file: &str, test: &str) -> Option<String> {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(house.join(file)).unwrap_or_default();
    (!text.contains(&format!("fn {test}(")))
        .then(|| format!("row {}, {}: no test `{test}` in {file}", row.number, row.what))
}
