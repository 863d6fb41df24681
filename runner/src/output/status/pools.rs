//! The pools of an environment as a table. Pure.

use console::measure_text_width;

use super::{
    super::{
        clean::clean_word,
        look::{Mark, Tone},
    },
    PoolStatus, View,
};

/// One column of a table: its head, whether it holds numbers, and its cells.
type Column = (&'static str, bool, Vec<String>);

/// The pools, one a row; what is wrong with one stands below it.
pub(super) fn table(pools: &[PoolStatus], view: View) -> Vec<String> {
    let look = view.look;
    let column = |head, is_number, cell: fn(&PoolStatus) -> String| -> Column {
        (head, is_number, pools.iter().map(cell).collect())
    };
    let columns = [
        column("pool", false, |pool| clean_word(&pool.name)),
        column("phase", false, |pool| clean_word(&pool.phase)),
        column("release", false, |pool| pool.release_short.as_deref().map_or("-".to_owned(), clean_word)),
        column("port", true, |pool| known(pool.port)),
        column("pid", true, |pool| known(pool.pid)),
        column("in flight", true, |pool| known(pool.in_flight)),
        column("restarts", true, |pool| pool.restarts.to_string()),
    ];
    let line = |row: Option<usize>| {
        let cells: Vec<String> = columns.iter().map(|column| cell(column, row)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut rows = vec![format!("    {}", look.tint(Tone::Quiet, &line(None)))];
    for (place, pool) in pools.iter().enumerate() {
        let mark = if pool.serves { look.mark(Mark::Passed) } else { " ".to_owned() };
        let tone = if pool.serves { Tone::Plain } else { Tone::Quiet };
        rows.push(format!("  {mark} {}", look.tint(tone, &line(Some(place)))));
        if pool.is_ill {
            rows.extend(illness(pool, view));
        }
    }
    rows
}

/// How the process ended, and where to read why. Paths are for copying, so they are never cut.
fn illness(pool: &PoolStatus, view: View) -> impl Iterator<Item = String> {
    let fact = |label: &str, text: &str| {
        format!("      {} {text}", view.look.tint(Tone::Quiet, &format!("{label:<5}")))
    };
    let ended = pool.last_exit.as_deref().map(|exit| fact("ended", &super::first_line(exit, view)));
    let log = pool.log.as_deref().map(|log| fact("log", &clean_word(log)));
    ended.into_iter().chain(log)
}

/// The head of a column or one of its cells, as wide as the column.
fn cell((head, is_number, cells): &Column, row: Option<usize>) -> String {
    let width =
        cells.iter().map(|cell| measure_text_width(cell)).chain([head.len()]).max().unwrap_or_default();
    let text = row.map_or(*head, |row| cells[row].as_str());
    let gap = " ".repeat(width - measure_text_width(text));
    if *is_number { gap + text } else { text.to_owned() + &gap }
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}
