//! `strategy`: in which order machines change.

use staith_model::{Amount, Analysis, CanaryStep, Comparison, Metric, Name, Rollout, Watch};
use toml::{Spanned, de::DeValue};

use super::{
    super::{
        amounts,
        keys::{DURATION, Key, Keys, NAME, NAMES, REQUIRED, SHARE, Shape, TEXT, URL, key},
        problems::{Problem, quoted},
        suggest::listed,
        values::{self, Complaint, Understood, complaint},
        walk::Table,
    },
    count, seconds,
};

const DEFAULT_UNAVAILABLE: Amount = Amount::Percent(25);
const DEFAULT_INTERVAL_SECONDS: u64 = 60;
const MOST_MACHINES: u64 = 100_000;
const LARGEST_LIMIT: f64 = 1e15;
const KINDS: [&str; 4] = ["all-at-once", "rolling", "canary", "blue-green"];

const AMOUNT: Shape = Shape::Either(&[Shape::Whole { least: 1, most: MOST_MACHINES }, Shape::Text(&SHARE)]);

pub(super) const SHAPE: Shape =
    Shape::Either(&[Shape::Word(&["all-at-once", "rolling"]), Shape::Table(&STRATEGY_KEYS)]);

pub(in crate::pipeline) const STRATEGY_KEYS: Keys = Keys {
    known: &[
        key(
            "all-at-once",
            Shape::Table(&ALL_AT_ONCE_KEYS),
            "one of these",
            "All machines at once, when all have the files.",
        ),
        key(
            "rolling",
            Shape::Table(&ROLLING_KEYS),
            "one of these",
            "Some machines at a time, each taken out of traffic first.",
        ),
        key(
            "canary",
            Shape::Table(&CANARY_KEYS),
            "one of these",
            "A few machines first, watched, then more.",
        ),
        key(
            "blue-green",
            Shape::Table(&BLUE_GREEN_KEYS),
            "one of these",
            "Two pools of machines: the one without traffic gets the release, then the traffic. Needs `traffic`.",
        ),
    ],
    elsewhere: &[
        ("bluegreen", "blue-green"),
        ("blue_green", "blue-green"),
        ("swap", "blue-green"),
        ("all_at_once", "all-at-once"),
        ("run-once", "all-at-once"),
        ("runOnce", "all-at-once"),
        ("batches", "rolling"),
    ],
};

const MAX_UNAVAILABLE: Key = key(
    "max-unavailable",
    AMOUNT,
    "`\"25%\"`",
    "Machines that may be out of service at once, whatever the cause: a number, or a share such as `\"25%\"`, rounded down, and at \
     least one.",
);
const BAKE: Key = key(
    "bake",
    Shape::Text(&DURATION),
    "`\"0s\"`",
    "How long all machines that changed are watched, with all their requests, before the deployment is done.",
);
const METRICS: Key = key(
    "metrics",
    Shape::List { of: &Shape::Table(&METRIC_KEYS), filled: true },
    "health alone",
    "What is measured while machines are watched. Too many bad measurements take the release back. No data is not success: the deployment \
     pauses.",
);
const INTERVAL: Key =
    key("interval", Shape::Text(&DURATION), "`\"1m\"`", "Time between two measurements of the metrics.");
const FAILURE_LIMIT: Key = key(
    "failure-limit",
    Shape::Whole { least: 0, most: 1000 },
    "`0`",
    "How many measurements may be bad each time that machines are watched; one is bad if any metric is. One more than that are needed for \
     a yes, however short `bake` is.",
);

pub(in crate::pipeline) const ALL_AT_ONCE_KEYS: Keys =
    Keys { known: &[BAKE, METRICS, INTERVAL, FAILURE_LIMIT], elsewhere: WATCH_WORDS };

const WATCH_WORDS: &[(&str, &str)] = &[
    ("analysis", "metrics"),
    ("metric", "metrics"),
    ("failure_limit", "failure-limit"),
    ("failures", "failure-limit"),
    ("watch", "bake"),
    ("soak", "bake"),
];

pub(in crate::pipeline) const ROLLING_KEYS: Keys = Keys {
    known: &[MAX_UNAVAILABLE, BAKE, METRICS, INTERVAL, FAILURE_LIMIT],
    elsewhere: &[
        ("max_unavailable", "max-unavailable"),
        ("unavailable", "max-unavailable"),
        ("batch", "max-unavailable"),
        ("batch-size", "max-unavailable"),
        ("parallel", "max-unavailable"),
        ("analysis", "metrics"),
        ("metric", "metrics"),
        ("failure_limit", "failure-limit"),
        ("failures", "failure-limit"),
        ("watch", "bake"),
        ("soak", "bake"),
    ],
};

pub(in crate::pipeline) const CANARY_KEYS: Keys = Keys {
    known: &[
        key(
            "steps",
            Shape::List { of: &Shape::Table(&STEP_KEYS), filled: true },
            REQUIRED,
            "The steps before the last, which is always all machines; each has more machines than the one before.",
        ),
        MAX_UNAVAILABLE,
        BAKE,
        METRICS,
        INTERVAL,
        FAILURE_LIMIT,
    ],
    elsewhere: &[
        ("max_unavailable", "max-unavailable"),
        ("stages", "steps"),
        ("analysis", "metrics"),
        ("metric", "metrics"),
        ("failure_limit", "failure-limit"),
        ("failures", "failure-limit"),
    ],
};

pub(in crate::pipeline) const STEP_KEYS: Keys = Keys {
    known: &[
        key(
            "targets",
            AMOUNT,
            REQUIRED,
            "Machines that run the new release from this step on: a number, or a share such as `\"10%\"`. A share is one of the requests, too: \
             machines that are more of all than that get fewer each, as far as `traffic` knows weights.",
        ),
        key("bake", Shape::Text(&DURATION), REQUIRED, "How long they are watched before the next step."),
    ],
    elsewhere: &[
        ("weight", "targets"),
        ("amount", "targets"),
        ("pause", "bake"),
        ("duration", "bake"),
        ("for", "bake"),
    ],
};

const LIMIT: Shape = Shape::Number { least: -LARGEST_LIMIT, most: LARGEST_LIMIT };

pub(in crate::pipeline) const METRIC_KEYS: Keys = Keys {
    known: &[
        key("name", Shape::Text(&NAME), REQUIRED, "What people call it."),
        key("prometheus", Shape::Text(&URL), REQUIRED, "The address of a Prometheus server."),
        key(
            "query",
            Shape::Text(&TEXT),
            REQUIRED,
            "The query; `{{release}}` in it is the first 12 digits of the release's digest. Its answer must be one number.",
        ),
        key("below", LIMIT, "this or `above`", "All is well while the number is lower."),
        key("above", LIMIT, "this or `below`", "All is well while the number is higher."),
        key("dry-run", Shape::Truth, "`false`", "It only reports."),
    ],
    elsewhere: &[
        ("url", "prometheus"),
        ("server", "prometheus"),
        ("max", "below"),
        ("min", "above"),
        ("dry_run", "dry-run"),
        ("expr", "query"),
    ],
};

pub(in crate::pipeline) const BLUE_GREEN_KEYS: Keys = Keys {
    known: &[
        key(
            "pools",
            NAMES,
            "`[\"blue\", \"green\"]`",
            "The two pools, in no order; each target is in one of them.",
        ),
        key(
            "keep-warm",
            Shape::Text(&DURATION),
            "until the next deployment",
            "How long the pool that served is kept as it is, for going back at once; then its services are stopped.",
        ),
        BAKE,
        METRICS,
        INTERVAL,
        FAILURE_LIMIT,
    ],
    elsewhere: &[
        ("keep_warm", "keep-warm"),
        ("warm", "keep-warm"),
        ("pool", "pools"),
        ("analysis", "metrics"),
        ("metric", "metrics"),
        ("failure_limit", "failure-limit"),
        ("failures", "failure-limit"),
        ("watch", "bake"),
        ("soak", "bake"),
    ],
};

/// `strategy` of an environment, and its pools, where it has any.
pub(super) fn read(table: &Table<'_>) -> (Option<Rollout>, Option<[Name; 2]>) {
    let rollout = strategy(table);
    let pools = match &rollout {
        Some(Rollout::BlueGreen { pools, .. }) => Some(pools.clone()),
        _ => None,
    };
    (rollout, pools)
}

fn strategy(table: &Table<'_>) -> Option<Rollout> {
    let Some(entry) = table.entry("strategy") else {
        return Some(Rollout::Rolling { max_unavailable: DEFAULT_UNAVAILABLE, watch: None });
    };
    match entry.value.get_ref() {
        DeValue::String(_) => table.text("strategy", word).map(|strategy| strategy.value),
        DeValue::Table(_) => {
            let title = format!("the strategy of {}", table.title());
            of_table(&Table::below(title, entry.value, &STRATEGY_KEYS, table.problems())?)
        }
        _ => {
            let help = "write `strategy = \"rolling\"`, or a table for more";
            table.wrong_kind("strategy", entry.value, "a text or a table", help.into());
            None
        }
    }
}

fn word(text: &str) -> Understood<Rollout> {
    match text {
        "all-at-once" => Ok(Rollout::AllAtOnce { watch: None }),
        "rolling" => Ok(Rollout::Rolling { max_unavailable: DEFAULT_UNAVAILABLE, watch: None }),
        "canary" => complaint(
            "says nothing about its steps",
            "how many machines go first?",
            "write `strategy = { canary = { steps = [{ targets = \"10%\", bake = \"5m\" }] } }`",
        ),
        "blue-green" => complaint(
            "says nothing about its pools",
            "which are the two pools?",
            "write `strategy = { blue-green = { pools = [\"blue\", \"green\"] } }`",
        ),
        _ => complaint(
            "has an unknown value",
            format!("{} is no strategy", quoted(text)),
            "known are `all-at-once`, `rolling`, `canary` and `blue-green`",
        ),
    }
}

fn of_table(table: &Table<'_>) -> Option<Rollout> {
    let said: Vec<&str> = KINDS.into_iter().filter(|kind| table.has(kind)).collect();
    let [kind] = said.as_slice() else {
        let message = format!("{} has to be one of {}", table.title(), listed(KINDS));
        let help = "write one of them: `strategy = { rolling = { max-unavailable = 1 } }`";
        table.problems().add(Problem::at(table.place(), message, "exactly one belongs here", help));
        return None;
    };
    let entry = table.entry(kind)?;
    let keys = match *kind {
        "all-at-once" => &ALL_AT_ONCE_KEYS,
        "rolling" => &ROLLING_KEYS,
        "canary" => &CANARY_KEYS,
        _ => &BLUE_GREEN_KEYS,
    };
    let inner = Table::below(format!("`{kind}`"), entry.value, keys, table.problems())?;
    match *kind {
        "all-at-once" => Some(Rollout::AllAtOnce { watch: watch(&inner) }),
        "rolling" => {
            let (max_unavailable, watch) = (max_unavailable(&inner), watch(&inner));
            Some(Rollout::Rolling { max_unavailable: max_unavailable?, watch })
        }
        "canary" => canary(&inner),
        _ => blue_green(&inner),
    }
}

fn max_unavailable(table: &Table<'_>) -> Option<Amount> {
    if table.has("max-unavailable") { amount(table, "max-unavailable") } else { Some(DEFAULT_UNAVAILABLE) }
}

/// A number of machines, or a share of them.
fn amount(table: &Table<'_>, key: &str) -> Option<Amount> {
    let entry = table.entry(key)?;
    if entry.value.get_ref().is_str() {
        return table.text(key, share).map(|share| share.value);
    }
    let count = table.number(key, 1, MOST_MACHINES)?;
    u32::try_from(count).ok().map(Amount::Count)
}

fn share(text: &str) -> Understood<Amount> {
    let digits = text.strip_suffix('%').filter(|digits| !digits.is_empty() && digits.len() <= 3);
    let percent = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match percent.and_then(|digits| digits.parse::<u8>().ok()) {
        Some(percent @ 1..=100) => Ok(Amount::Percent(percent)),
        _ => complaint(
            "is not a number of machines",
            format!("{} is no share of them", quoted(text)),
            "write a number without quotes, or a share from \"1%\" to \"100%\"",
        ),
    }
}

fn canary(table: &Table<'_>) -> Option<Rollout> {
    let steps = steps(table);
    let max_unavailable = max_unavailable(table);
    let bake_seconds = seconds(table, "bake", 0, 0);
    let analysis = analysis(table);
    Some(Rollout::Canary {
        steps: steps?,
        max_unavailable: max_unavailable?,
        analysis: analysis?,
        bake_seconds,
    })
}

/// How machines are watched when all have changed, where something is said of that and nothing wrong.
fn watch(table: &Table<'_>) -> Option<Watch> {
    let bake = table.text("bake", |text| amounts::seconds(text, 0)).map(|bake| bake.value);
    let analysis = analysis(table)?;
    // What can't be read was told already.
    let bake_seconds = bake.or(if table.has("bake") { None } else { Some(0) })?;
    if let (Some(entry), 0) = (table.entry("metrics"), bake_seconds) {
        table.problems().add(Problem::at(
            entry.key_place,
            "`metrics` are measured while machines are watched, and `bake` gives no time for that".to_owned(),
            "these would never be asked for",
            "add `bake = \"5m\"`, or remove them",
        ));
    }
    (bake_seconds > 0).then_some(Watch { bake_seconds, analysis })
}

/// What is measured, where something is; the outer none where it is wrong.
fn analysis(table: &Table<'_>) -> Option<Option<Analysis>> {
    let metrics = metrics(table);
    let about_metrics = ["interval", "failure-limit"].iter().find_map(|key| table.entry(key));
    if let Some(entry) = about_metrics.filter(|_| !table.has("metrics")) {
        table.problems().add(Problem::at(
            entry.key_place,
            format!("`{}` is about metrics, and there are none", entry.key),
            "this would mean nothing",
            "add `metrics`, or remove it",
        ));
    }
    let of = |metrics| Analysis {
        metrics,
        interval_seconds: seconds(table, "interval", 1, DEFAULT_INTERVAL_SECONDS),
        failure_limit: count(table, "failure-limit", 0, 1000, 0),
    };
    metrics.map(|metrics| metrics.map(of))
}

fn steps(table: &Table<'_>) -> Option<Vec<CanaryStep>> {
    if !table.has("steps") {
        table.missing("steps", "steps = [{ targets = \"10%\", bake = \"5m\" }]");
    }
    let mut steps: Vec<CanaryStep> = Vec::new();
    for (index, item) in filled(table, "steps", "{ targets = \"10%\", bake = \"5m\" }")?.iter().enumerate() {
        let step =
            Table::below(format!("step {} of the canary", index + 1), item, &STEP_KEYS, table.problems())?;
        if !step.has("targets") {
            step.missing("targets", "targets = \"10%\"");
        }
        let targets = amount(&step, "targets");
        let bake = step.required("bake", "bake = \"5m\"", |text| amounts::seconds(text, 0));
        let next = CanaryStep { targets: targets?, bake_seconds: bake?.value };
        if steps.last().is_some_and(|last| !is_more(next.targets, last.targets)) {
            table.problems().add(Problem::at(
                item.span(),
                format!("step {} of the canary has no more machines than the one before", index + 1),
                "each step goes further",
                "name more machines, or remove the step",
            ));
        }
        steps.push(next);
    }
    Some(steps)
}

/// Whether one amount is surely more than another; a number and a share can't be compared before the machines are known.
const fn is_more(one: Amount, than: Amount) -> bool {
    match (one, than) {
        (Amount::Count(one), Amount::Count(than)) => one > than,
        (Amount::Percent(one), Amount::Percent(than)) => one > than,
        _ => true,
    }
}

/// The items of a list that must not be empty.
fn filled<'t>(table: &Table<'t>, key: &str, example: &str) -> Option<&'t [Spanned<DeValue<'t>>]> {
    let items = table.items(key, "tables", example)?;
    if items.is_empty() {
        table.filled_list(key, |text| Ok(text.to_owned()));
        return None;
    }
    Some(items)
}

/// `metrics`, where there are any; the outer none where one of them is wrong.
fn metrics(table: &Table<'_>) -> Option<Option<Vec<Metric>>> {
    if !table.has("metrics") {
        return Some(None);
    }
    let example = "{ name = \"errors\", prometheus = \"http://...\", query = \"...\", below = 0.01 }";
    let items = filled(table, "metrics", example)?;
    let read = items.iter().enumerate().map(|(index, item)| {
        metric(&Table::below(
            format!("metric {} of {}", index + 1, table.title()),
            item,
            &METRIC_KEYS,
            table.problems(),
        )?)
    });
    let metrics: Vec<Option<Metric>> = read.collect();
    metrics.into_iter().collect::<Option<Vec<_>>>().map(Some)
}

fn metric(table: &Table<'_>) -> Option<Metric> {
    let name = table.required("name", "name = \"errors\"", values::name);
    let prometheus = table.required("prometheus", "prometheus = \"http://127.0.0.1:9090\"", url);
    let query = table.required("query", "query = \"sum(rate(http_requests_total[1m]))\"", filled_text);
    let (holds, key) = match (table.has("below"), table.has("above")) {
        (true, false) => (Comparison::Below, "below"),
        (false, true) => (Comparison::Above, "above"),
        _ => {
            let message = format!("{} needs one of `below` and `above`", table.title());
            let help = "write the limit: `below = 0.01`";
            table.problems().add(Problem::at(
                table.place(),
                message,
                "exactly one of them belongs here",
                help,
            ));
            return None;
        }
    };
    let limit = limit(table, key);
    Some(Metric {
        name: name?.value,
        prometheus: prometheus?.value,
        query: query?.value,
        holds,
        limit: limit?,
        dry_run: table.truth("dry-run").unwrap_or(false),
    })
}

/// A number as text that is the same for equal numbers.
fn limit(table: &Table<'_>, key: &str) -> Option<String> {
    let entry = table.entry(key)?;
    let help = "write a number without quotes, for example `0.01`";
    let number: Option<f64> = match entry.value.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => {
            table.wrong_kind(key, entry.value, "a number", help.into());
            return None;
        }
    };
    match number.filter(|number| (-LARGEST_LIMIT..=LARGEST_LIMIT).contains(number)) {
        // Zero has two signs.
        Some(number) => Some(format!("{}", number + 0.0)),
        None => {
            let complaint = Complaint {
                what: "is out of range".into(),
                label: "no measurement compares with this".into(),
                help: help.into(),
            };
            table.complain(key, entry.value.span(), complaint);
            None
        }
    }
}

fn filled_text(text: &str) -> Understood<String> {
    match text.trim().is_empty() {
        true => complaint("is empty", "this asks nothing", "write the query"),
        false => values::plain(text),
    }
}

/// The address of something on the web.
pub(super) fn url(text: &str) -> Understood<String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if rest.is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic()) && !rest.starts_with('/')
    }) {
        return Ok(text.to_owned());
    }
    complaint(
        "is not a web address",
        format!("{} is none", quoted(text)),
        "write it whole, for example \"http://127.0.0.1:9090\"",
    )
}

fn blue_green(table: &Table<'_>) -> Option<Rollout> {
    let keep_warm = table.text("keep-warm", |text| amounts::seconds(text, 0)).map(|warm| warm.value);
    let pools = match table.has("pools") {
        true => pools(table),
        false => Some(["blue".parse().ok()?, "green".parse().ok()?]),
    };
    let watch = watch(table);
    Some(Rollout::BlueGreen { pools: pools?, keep_warm_seconds: keep_warm, watch })
}

fn pools(table: &Table<'_>) -> Option<[Name; 2]> {
    let named = table.list("pools", values::name)?;
    let place = table.entry("pools")?.value.span();
    let names: Vec<Name> = named.into_iter().map(|name| name.value).collect();
    match <[Name; 2]>::try_from(names) {
        Ok(pools) if pools[0] != pools[1] => Some(pools),
        _ => {
            let complaint = Complaint {
                what: "are not two pools".into(),
                label: "traffic moves from one pool to the other, and back".into(),
                help: "name two pools: `pools = [\"blue\", \"green\"]`".into(),
            };
            table.complain("pools", place, complaint);
            None
        }
    }
}
