//! `[on]`: what starts runs.

use staith_model::{RelPath, TriggerKind};
use toml::de::DeValue;

use super::{
    Verdict, cron,
    keys::{CRON, Keys, NAME_FILTERS, PATH_FILTERS, REQUIRED, Shape, ZONE, key},
    patterns::{self, Filter},
    problems::quoted,
    suggest::listed,
    values,
    walk::Table,
};
use crate::plan::Occasion;

pub(super) const KEYS: Keys = Keys {
    known: &[
        key("push", Shape::Table(&PUSH_KEYS), "not", "Commits that reach a branch start a run."),
        key(
            "pull-request",
            Shape::Table(&PULL_REQUEST_KEYS),
            "not",
            "A request to merge, and new commits in it, start a run of what the merge would be.",
        ),
        key("tag", Shape::Table(&TAG_KEYS), "not", "A new tag starts a run."),
        key("schedule", Shape::Table(&SCHEDULE_KEYS), "not", "A clock starts runs."),
    ],
    elsewhere: &[
        ("pull_request", "pull-request"),
        ("merge_request", "pull-request"),
        ("merge-request", "pull-request"),
        ("pr", "pull-request"),
        ("commit", "push"),
        ("tags", "tag"),
        ("release", "tag"),
        ("cron", "schedule"),
        ("schedules", "schedule"),
    ],
};

const FILTER_WORDS: &[(&str, &str)] = &[
    ("branch", "branches"),
    ("branches-ignore", "branches"),
    ("path", "paths"),
    ("paths-ignore", "paths"),
    ("files", "paths"),
    ("changes", "paths"),
    ("tag", "tags"),
    ("include", "branches"),
    ("exclude", "branches"),
];

pub(super) const PUSH_KEYS: Keys = Keys {
    known: &[
        key(
            "branches",
            NAME_FILTERS,
            "all",
            "Branches that start a run: names and globs; `!` before one makes an exception.",
        ),
        key(
            "paths",
            PATH_FILTERS,
            "all",
            "Paths of which one must have changed: globs as in `inputs`; `!` before one makes an exception.",
        ),
    ],
    elsewhere: FILTER_WORDS,
};

pub(super) const PULL_REQUEST_KEYS: Keys = Keys {
    known: &[
        key(
            "branches",
            NAME_FILTERS,
            "all",
            "Branches that the request asks to merge to, as in `[on.push]`.",
        ),
        key("paths", PATH_FILTERS, "all", "As in `[on.push]`."),
    ],
    elsewhere: FILTER_WORDS,
};

pub(super) const TAG_KEYS: Keys = Keys {
    known: &[key(
        "tags",
        NAME_FILTERS,
        "all",
        "Tags that start a run: names and globs; `!` before one makes an exception.",
    )],
    elsewhere: FILTER_WORDS,
};

pub(super) const SCHEDULE_KEYS: Keys = Keys {
    known: &[
        key(
            "cron",
            Shape::Either(&[Shape::Text(&CRON), Shape::List { of: &Shape::Text(&CRON), filled: true }]),
            REQUIRED,
            "When: minute, hour, day of the month, month, day of the week; a text, or a list of them.",
        ),
        key(
            "zone",
            Shape::Text(&ZONE),
            "`\"UTC\"`",
            "The time zone whose clocks show it, such as `\"Europe/Berlin\"`.",
        ),
        key("branches", NAME_FILTERS, "all", "Branches that are run on schedule, as in `[on.push]`."),
        key(
            "always",
            Shape::Truth,
            "`false`",
            "Whether it runs though nothing has changed since the last run.",
        ),
    ],
    elsewhere: &[
        ("at", "cron"),
        ("time", "cron"),
        ("when", "cron"),
        ("timezone", "zone"),
        ("time-zone", "zone"),
        ("time_zone", "zone"),
        ("tz", "zone"),
        ("branch", "branches"),
        ("force", "always"),
    ],
};

/// What starts runs of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Triggers {
    push: Option<Filters>,
    pull_request: Option<Filters>,
    tag: Option<Filters>,
    schedule: Option<Schedule>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filters {
    /// Of a tag, over tags.
    names: Option<Filter>,
    paths: Option<Filter>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Schedule {
    cron: Vec<String>,
    zone: Option<String>,
    filters: Filters,
    always: bool,
}

/// `[on]`; none where the file does not have it.
pub(super) fn read(file: &Table<'_>) -> Option<Triggers> {
    let entry = file.entry("on")?;
    let on = Table::below("`on`".into(), entry.value, &KEYS, file.problems())?;
    Some(Triggers {
        push: filters(&on, "push", &PUSH_KEYS),
        pull_request: filters(&on, "pull-request", &PULL_REQUEST_KEYS),
        tag: filters(&on, "tag", &TAG_KEYS),
        schedule: schedule(&on),
    })
}

fn filters(on: &Table<'_>, key: &str, keys: &'static Keys) -> Option<Filters> {
    let table = Table::below(format!("`on.{key}`"), on.entry(key)?.value, keys, on.problems())?;
    let names = if key == "tag" { "tags" } else { "branches" };
    Some(Filters { names: names_of(&table, names), paths: filter(&table, "paths", patterns::path_filter) })
}

fn names_of(table: &Table<'_>, key: &str) -> Option<Filter> {
    filter(table, key, patterns::name_filter)
}

fn filter(
    table: &Table<'_>,
    key: &str,
    understand: fn(&str) -> values::Understood<String>,
) -> Option<Filter> {
    table.filled_list(key, understand).map(|items| Filter::of(values::texts(items)))
}

fn schedule(on: &Table<'_>) -> Option<Schedule> {
    let entry = on.entry("schedule")?;
    let table = Table::below("`on.schedule`".into(), entry.value, &SCHEDULE_KEYS, on.problems())?;
    Some(Schedule {
        cron: times(&table),
        zone: table.text("zone", zone).map(|zone| zone.value),
        filters: Filters { names: names_of(&table, "branches"), paths: None },
        always: table.truth("always").unwrap_or(false),
    })
}

fn times(table: &Table<'_>) -> Vec<String> {
    let Some(entry) = table.entry("cron") else {
        table.missing("cron", "cron = \"0 3 * * *\"");
        return Vec::new();
    };
    let texts = match entry.value.get_ref() {
        DeValue::Array(_) => table.filled_list("cron", values::plain).unwrap_or_default(),
        _ => table.text("cron", values::plain).into_iter().collect(),
    };
    for text in &texts {
        if let Err(flaw) = cron::check(&text.value) {
            table.complain_inside("cron", text.place.clone(), flaw);
        }
    }
    values::texts(texts)
}

/// A zone that this program has a table of.
fn zone(text: &str) -> values::Understood<String> {
    match jiff::tz::TimeZone::get(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => values::complaint(
            "is no time zone",
            format!("{} is not known", quoted(text)),
            "write a name of the IANA database, such as `Europe/Berlin` or `America/New_York`, or `UTC`",
        ),
    }
}

impl Triggers {
    /// When a clock starts runs.
    pub(super) fn schedules(&self) -> &[String] {
        self.schedule.as_ref().map_or(&[], |schedule| &schedule.cron)
    }

    /// The time zone whose clocks are meant.
    pub(super) fn zone(&self) -> &str {
        self.schedule.as_ref().and_then(|schedule| schedule.zone.as_deref()).unwrap_or("UTC")
    }

    /// Whether a clock starts runs though nothing has changed.
    pub(super) fn runs_unchanged(&self) -> bool {
        self.schedule.as_ref().is_some_and(|schedule| schedule.always)
    }

    pub(super) fn verdict(&self, occasion: &Occasion) -> Verdict {
        let trigger = &occasion.trigger;
        let changed = occasion.changed.as_deref();
        let branch = ("branch", trigger.branch.as_deref());
        match (trigger.kind, &self.schedule) {
            (TriggerKind::Local, _) => Verdict::starts("a person started it"),
            (TriggerKind::Push, _) => self.filtered(trigger.kind, self.push.as_ref(), branch, changed),
            (TriggerKind::PullRequest, _) => {
                let target = ("target branch", trigger.target.as_deref());
                self.filtered(trigger.kind, self.pull_request.as_ref(), target, changed)
            }
            (TriggerKind::Tag, _) => {
                self.filtered(trigger.kind, self.tag.as_ref(), ("tag", trigger.tag.as_deref()), changed)
            }
            (TriggerKind::Schedule, Some(schedule))
                if !schedule.always && changed.is_some_and(<[_]>::is_empty) =>
            {
                Verdict::not(
                    "nothing has changed since the last run, and `[on.schedule]` does not say `always`",
                )
            }
            (TriggerKind::Schedule, schedule) => {
                let filters = schedule.as_ref().map(|schedule| &schedule.filters);
                self.filtered(trigger.kind, filters, branch, changed)
            }
        }
    }

    fn filtered(
        &self,
        kind: TriggerKind,
        filters: Option<&Filters>,
        (what, name): (&str, Option<&str>),
        changed: Option<&[RelPath]>,
    ) -> Verdict {
        let kind = kind.as_str();
        let Some(filters) = filters else { return self.not_listed(kind) };
        match (&filters.names, name) {
            (Some(filter), Some(name)) if !filter.passes_name(name) => {
                return Verdict::not(format!(
                    "{what} `{name}` does not pass {} of `[on.{kind}]`",
                    listed(filter.items())
                ));
            }
            (Some(_), None) => {
                return Verdict::not(format!(
                    "it is not known which {what} it is of, and `[on.{kind}]` asks"
                ));
            }
            _ => {}
        }
        if let (Some(filter), Some(changed)) = (&filters.paths, changed)
            && !filter.passes_path(changed)
        {
            return Verdict::not(format!(
                "no path changed that passes {} of `[on.{kind}]`",
                listed(filter.items())
            ));
        }
        Verdict::starts(match name {
            Some(name) => format!("{what} `{name}` passes `[on.{kind}]`"),
            None => format!("`[on.{kind}]` takes all"),
        })
    }

    fn not_listed(&self, kind: &str) -> Verdict {
        let there = [
            (self.push.is_some(), TriggerKind::Push),
            (self.pull_request.is_some(), TriggerKind::PullRequest),
            (self.tag.is_some(), TriggerKind::Tag),
            (self.schedule.is_some(), TriggerKind::Schedule),
        ];
        let there: Vec<_> =
            there.iter().filter(|(is_there, _)| *is_there).map(|(_, kind)| kind.as_str()).collect();
        if there.is_empty() {
            return Verdict::not(format!("`[on]` has no `{kind}`, nor anything else"));
        }
        Verdict::not(format!("`[on]` has no `{kind}`; it has {}", listed(there)))
    }
}
