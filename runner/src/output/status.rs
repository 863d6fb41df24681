//! What serves where, for `staith status`.

use std::io::{self, IsTerminal, Write};

use console::measure_text_width;
use serde::Serialize;

use super::{
    clean::clean_word,
    human,
    look::{Look, Mark, Tone},
    sink::Sink,
};

/// An environment as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EnvironmentStatus {
    /// Whose it is.
    pub(crate) project: String,
    /// Its name.
    pub(crate) environment: String,
    /// Where it answers.
    pub(crate) url: Option<String>,
    /// The process that supervises its pools and is its proxy, while it runs.
    pub(crate) keeper_pid: Option<u32>,
    /// How to bring the keeper back, when it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_running: Option<String>,
    /// What serves.
    pub(crate) release: Option<ReleaseStatus>,
    /// Since when it serves, in milliseconds since 1970.
    pub(crate) since: Option<u64>,
    /// Its pools.
    pub(crate) pools: Vec<PoolStatus>,
    /// Releases on disk that don't serve; going back to one of them moves no bytes.
    pub(crate) other_releases: Vec<ReleaseStatus>,
    /// The last deployment.
    pub(crate) last_deployment: Option<DeploymentStatus>,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReleaseStatus {
    /// Its short digest.
    pub(crate) digest: String,
    /// `name@version` of its package.
    pub(crate) package: String,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PoolStatus {
    /// Its name.
    pub(crate) name: String,
    /// Where its process is, in one word.
    pub(crate) phase: String,
    /// Whether it has the traffic.
    pub(crate) serves: bool,
    /// Short digest of the release in it.
    pub(crate) release: Option<String>,
    /// Where its process listens.
    pub(crate) port: Option<u16>,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// Requests it is answering.
    pub(crate) in_flight: Option<u64>,
    /// How often its process had to be started again.
    pub(crate) restarts: u64,
}

/// A deployment that is over, or under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DeploymentStatus {
    /// Its id.
    pub(crate) id: String,
    /// Where it is, in words.
    pub(crate) state: String,
    /// Whether the release it brought serves.
    pub(crate) succeeded: bool,
    /// When it got there, in milliseconds since 1970.
    pub(crate) at: u64,
    /// Why, if the state does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Shows environments on standard output: as tables for people, or as one JSON array. `now` is in milliseconds since 1970.
pub(crate) fn status(environments: &[EnvironmentStatus], json: bool, now: u64) {
    let look = Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok());
    show(&mut Sink::new(io::stdout()), environments, json, look, now);
}

fn show(out: &mut Sink<impl Write>, environments: &[EnvironmentStatus], json: bool, look: Look, now: u64) {
    if json {
        out.line(&serde_json::to_string(environments).unwrap_or_default());
        return;
    }
    if environments.is_empty() {
        out.line("nothing has been deployed from here");
    }
    for (place, environment) in environments.iter().enumerate() {
        if place > 0 {
            out.line("");
        }
        rows(environment, look, now).iter().for_each(|row| out.line(row));
    }
}

fn rows(environment: &EnvironmentStatus, look: Look, now: u64) -> Vec<String> {
    let name = format!("{} {}", clean_word(&environment.project), clean_word(&environment.environment));
    let name = look.tint(Tone::Strong, &name);
    let mut facts: Vec<(&str, String)> = Vec::new();
    facts.extend(environment.url.as_deref().map(|url| ("url", clean_word(url))));
    if let Some(remedy) = &environment.not_running {
        let fact = format!("{}{}{}", look.tint(Tone::Odd, "not running"), look.dot(), clean_word(remedy));
        facts.push(("keeper", fact));
    }
    let release = environment.release.as_ref().map_or("nothing serves".to_owned(), |it| release(it, look));
    facts.push(("release", release));
    facts.extend(environment.since.map(|since| ("since", moment(since, now))));
    let others: Vec<String> =
        environment.other_releases.iter().map(|other| release_line(other, look)).collect();
    facts.extend(
        others.into_iter().enumerate().map(|(place, text)| (if place == 0 { "kept" } else { "" }, text)),
    );
    facts.extend(environment.last_deployment.iter().map(|last| ("last deploy", deployment(last, look, now))));
    let mut rows = vec![name];
    rows.extend(
        facts
            .into_iter()
            .map(|(label, fact)| format!("  {} {fact}", look.tint(Tone::Quiet, &format!("{label:<11}")))),
    );
    if !environment.pools.is_empty() {
        rows.push(String::new());
        rows.extend(pools(&environment.pools, look));
    }
    rows
}

fn release(release: &ReleaseStatus, look: Look) -> String {
    look.tint(Tone::Good, &clean_word(&release.package)) + look.dot() + &clean_word(&release.digest)
}

fn release_line(release: &ReleaseStatus, look: Look) -> String {
    clean_word(&release.package) + look.dot() + &clean_word(&release.digest)
}

fn deployment(last: &DeploymentStatus, look: Look, now: u64) -> String {
    let (mark, tone) = if last.succeeded { (Mark::Passed, Tone::Good) } else { (Mark::Failed, Tone::Odd) };
    let state = look.tint(tone, &clean_word(&last.state));
    let reason = last.reason.as_deref().map(|reason| format!(": {}", clean_word(reason))).unwrap_or_default();
    let dot = look.dot();
    format!("{} {state}{reason}{dot}{}{dot}{}", look.mark(mark), moment(last.at, now), clean_word(&last.id))
}

/// A moment by the calendar (UTC, as logs have it) and as its distance from now.
fn moment(at: u64, now: u64) -> String {
    let calendar = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    let calendar =
        calendar.map_or("at no known time".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
    format!("{calendar} ({} ago)", human::millis(now.saturating_sub(at)))
}

/// One column of a table: its head, whether it holds numbers, and its cells.
type Column = (&'static str, bool, Vec<String>);

fn pools(pools: &[PoolStatus], look: Look) -> Vec<String> {
    let column = |head, is_number, cell: fn(&PoolStatus) -> String| -> Column {
        (head, is_number, pools.iter().map(cell).collect())
    };
    let columns = [
        column("pool", false, |pool| clean_word(&pool.name)),
        column("phase", false, |pool| clean_word(&pool.phase)),
        column("release", false, |pool| pool.release.as_deref().map_or("-".to_owned(), clean_word)),
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
    }
    rows
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-01 12:00 UTC.
    const NOON: u64 = 1_772_366_400_000;

    fn production() -> EnvironmentStatus {
        let release =
            |digest: &str, package: &str| ReleaseStatus { digest: digest.into(), package: package.into() };
        EnvironmentStatus {
            project: "shop".into(),
            environment: "production".into(),
            url: Some("http://127.0.0.1:8080".into()),
            keeper_pid: Some(4_242_000),
            not_running: None,
            release: Some(release("9c1d2e3f4a5b", "shop@1.4.0")),
            since: Some(NOON - 7_500_000),
            pools: vec![
                PoolStatus {
                    name: "blue".into(),
                    phase: "serving".into(),
                    serves: true,
                    release: Some("9c1d2e3f4a5b".into()),
                    port: Some(41001),
                    pid: Some(4_242_424),
                    in_flight: Some(3),
                    restarts: 0,
                },
                PoolStatus {
                    name: "green".into(),
                    phase: "parked".into(),
                    serves: false,
                    release: None,
                    port: None,
                    pid: None,
                    in_flight: None,
                    restarts: 12,
                },
            ],
            other_releases: vec![
                release("77aa01bc23de", "shop@1.3.9"),
                release("0123456789ab", "shop@1.3.8"),
            ],
            last_deployment: Some(DeploymentStatus {
                id: "01jm0000000000000000000000".into(),
                state: "rolled back".into(),
                succeeded: false,
                at: NOON - 61_000,
                reason: Some("GET /healthz\nanswered 500\x1b[2J".into()),
            }),
        }
    }

    fn shown(environments: &[EnvironmentStatus], json: bool) -> String {
        let mut bytes = Vec::new();
        show(&mut Sink::new(&mut bytes), environments, json, Look::BARE, NOON);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn people_see_aligned_tables() {
        super::super::tests::golden("status", &shown(&[production(), empty()], false));
        assert_eq!(shown(&[], false), "nothing has been deployed from here\n");
    }

    #[test]
    fn programs_see_one_array() {
        let json = shown(&[production()], true);
        assert_eq!(json.lines().count(), 1);
        assert!(
            json.starts_with(r#"[{"project":"shop","environment":"production","url":"http://127.0.0.1:8080","keeper_pid":4242000,"release":{"#),
            "{json}"
        );
        assert_eq!(shown(&[], true), "[]\n");
    }

    fn empty() -> EnvironmentStatus {
        EnvironmentStatus {
            project: "shop".into(),
            environment: "staging".into(),
            url: None,
            keeper_pid: None,
            not_running: Some("`staith run --release staging` starts it".into()),
            release: None,
            since: None,
            pools: Vec::new(),
            other_releases: Vec::new(),
            last_deployment: None,
        }
    }
}
