//! Shapes of bodies, by examples: values of the very types that the handlers read and write, so that a field that is renamed or taken
//! away changes the description. What is in all examples of a shape is required. An empty object stands for any; one whose only key is
//! [`ANY`] has keys of one's own, all with values of that kind.

mod projects;
mod releases;
mod targets;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value, json};
use staith_model::{
    AttemptId, Blame, Digest, Name, RunId, RunnerId, StepResults, TokenId,
    service::{
        AttemptOutcome, AttemptState, AttemptView, CancelAsked, ClaimAsked, CloseAsked, EnrolAsked, Enrolled,
        EnrolmentAsked, EnrolmentMade, FinishAsked, JobState, JobView, RenewAsked, Renewed, RunPage,
        RunStanding, RunSummary, RunView, RunnerPage, RunnerSeen, RunnerState, SentLayer, ServerStatus,
        Session, SessionAsked, StepCame, StepGiven, StreamState, Trust, Wanted,
    },
};

use super::{Grant, Role};
use crate::{
    audit::AuditPage,
    secrets::{
        GivenSecret, ReleaseSecrets, Resealed, Rotated, RotationAsked, SecretAsked, SecretAt, SecretPage,
    },
    store::{AuditEntry, ReleaseSecretsAsked, SecretPlace, SecretSeen, SecretsOf, TokenSeen},
    streams::Listed as StreamListing,
    tokens::{TokenAsked, TokenMade, TokenPage},
};

const AT: u64 = 1_795_000_000_000;
/// Stands for keys that are one's own.
const ANY: &str = "*";

fn name(text: &str) -> Option<Name> {
    text.parse().ok()
}

fn names(text: &str) -> BTreeSet<Name> {
    name(text).into_iter().collect()
}

fn grants() -> Vec<Grant> {
    vec![
        Grant { role: Role::Developer, project: name("shop"), environment: None },
        Grant { role: Role::Releaser, project: name("shop"), environment: name("production") },
        Grant { role: Role::Viewer, project: None, environment: None },
    ]
}

/// Examples of a shape, the fullest first. `None` if there is no such shape.
pub fn examples(shape: &str) -> Option<Vec<Value>> {
    let runner = RunnerId::new(AT, [1; 10]);
    let all = match shape {
        "AuditPage" => {
            let entry = AuditEntry {
                seq: 1,
                at: AT,
                who: "person:ann".to_owned(),
                origin: Some("192.0.2.1".to_owned()),
                what: "runner-changed".to_owned(),
                subject: format!("runner {runner} host"),
                before: Some("\"active\"".to_owned()),
                after: Some("\"draining\"".to_owned()),
                previous: String::new(),
                hash: "sha256:…".to_owned(),
            };
            let least = AuditEntry { origin: None, before: None, after: None, ..entry.clone() };
            let entries = vec![entry, least];
            vec![
                value(&AuditPage { entries, next: Some(2) }),
                value(&AuditPage { entries: Vec::new(), next: None }),
            ]
        }
        "EnrolmentAsked" => vec![
            value(&EnrolmentAsked {
                pool: name("default")?,
                labels: names("linux"),
                ephemeral: false,
                valid_millis: Some(600_000),
                target: targets::target(),
            }),
            json!({ "pool": "default" }),
        ],
        "EnrolmentMade" => {
            vec![value(&EnrolmentMade { code: "staith_enrol_…".to_owned(), valid_millis: 600_000 })]
        }
        "ServerStatus" => vec![value(&ServerStatus {
            version: "0.1.0".to_owned(),
            url: "https://ci.example.org".to_owned(),
            runners_active: 1,
            runs_open: 1,
            jobs_queued: 1,
            jobs_waiting: 0,
            jobs_running: 0,
            arrivals_waiting: 0,
            outbox_waiting: 0,
        })],
        "RunnerPage" => {
            let seen = RunnerSeen {
                id: runner,
                name: name("host-1")?,
                pool: name("default")?,
                labels: names("linux"),
                ephemeral: false,
                version: "0.1.0".to_owned(),
                state: RunnerState::Active,
                enrolled: AT,
                seen: AT,
                target: targets::target(),
            };
            let least = RunnerSeen { target: None, ..seen.clone() };
            let last = RunnerPage { runners: Vec::new(), next: None };
            vec![value(&RunnerPage { next: Some(seen.id.clone()), runners: vec![seen, least] }), value(&last)]
        }
        "EnrolAsked" => vec![value(&EnrolAsked {
            code: "staith_enrol_…".to_owned(),
            name: name("host-1")?,
            public_key: "…".to_owned(),
            proof: "…".to_owned(),
            labels: names("fast"),
            version: "0.1.0".to_owned(),
        })],
        "Enrolled" => {
            let enrolled = Enrolled {
                runner,
                labels: names("linux"),
                pool: name("default")?,
                ephemeral: false,
                target: targets::target(),
            };
            vec![value(&enrolled), value(&Enrolled { target: None, ..enrolled.clone() })]
        }
        "SessionAsked" => vec![value(&SessionAsked {
            nonce: runner.to_string(),
            proof: "…".to_owned(),
            version: "0.1.0".to_owned(),
        })],
        "Session" => {
            vec![value(&Session { token: "staith_session_…".to_owned(), valid_millis: 600_000 })]
        }
        "SecretPage" => {
            let place = SecretPlace { project: name("shop")?, environment: None, name: name("npm-token")? };
            let released = SecretPlace { environment: name("production"), ..place.clone() };
            let seen = |place| SecretSeen { place, protected: true, changed: AT, version: 1 };
            let secrets = vec![seen(released), seen(place)];
            let next = Some(SecretAt::from("production/npm-token".to_owned()));
            vec![value(&SecretPage { secrets, next }), value(&SecretPage { secrets: Vec::new(), next: None })]
        }
        "SecretAsked" => vec![
            value(&SecretAsked { value: "…".to_owned(), protected: true, environment: name("production") }),
            json!({ "value": "…" }),
        ],
        "RotationAsked" => vec![
            value(&RotationAsked { value: "…".to_owned(), environment: name("production") }),
            json!({ "value": "…" }),
        ],
        "Rotated" => vec![value(&Rotated { version: 2 })],
        "Resealed" => vec![value(&Resealed { secrets: 7 })],
        "SecretsGiven" => vec![json!({ "secrets": { ANY: "…" } })],
        "Description" => vec![json!({})],
        "ReleaseSecretsAsked" => release_secrets_asked()?,
        "ReleaseSecrets" => {
            let given = GivenSecret { version: "2.1760000000000".to_owned(), value: "…".to_owned() };
            let mut all = value(&ReleaseSecrets {
                given: std::collections::BTreeMap::new(),
                same: name("api-key").into_iter().collect(),
                withheld: name("signing-key").into_iter().collect(),
            });
            all["given"] = json!({ ANY: value(&given) });
            vec![all]
        }
        _ => {
            return examples_of_tokens(shape)
                .or_else(|| projects::examples(shape))
                .or_else(|| examples_of_jobs(shape))
                .or_else(|| releases::examples(shape))
                .or_else(|| targets::examples(shape));
        }
    };
    Some(all)
}

/// The same, of what runners and jobs are about.
fn examples_of_jobs(shape: &str) -> Option<Vec<Value>> {
    let (run, attempt) = (RunId::new(AT, [3; 10]), AttemptId::new(AT, [4; 10]));
    let digest = Digest::of(b"");
    let all = match shape {
        "ClaimAsked" => vec![value(&ClaimAsked { nonce: attempt.to_string(), wait_millis: 0 })],
        // A job's plan is what `staith plan --json` shows.
        "Claimed" => {
            let whole = json!({
                "attempt": attempt, "number": 1, "fence": 1, "lease_millis": 15_000, "token": "…",
                "job": { "run": run, "number": 7, "project": "shop", "name": "run", "plan": {}, "plan_digest": digest,
                    "trust": Trust::Branch, "secrets": ["npm-token"], "timeout_millis": 3_600_000 },
            });
            let mut part = whole.clone();
            part["job"]["part"] = json!({ "steps": ["build"], "packs": false });
            vec![part, whole]
        }
        "RenewAsked" => vec![value(&RenewAsked { fence: 1 })],
        "Renewed" => [Wanted::Cancel { why: "cancelled by ann".to_owned() }, Wanted::GoOn]
            .map(|wanted| value(&Renewed { lease_millis: 15_000, wanted }))
            .into(),
        "FinishAsked" => {
            let outcome = AttemptOutcome::Passed;
            vec![value(&FinishAsked { fence: 1, outcome, streams: vec!["events".to_owned()] })]
        }
        "ContentsAsked" => vec![json!({ "ids": ["0123456789abcdef0123456789abcdef01234567"] })],
        "StepCame" => vec![value(&came(true)), value(&came(false))],
        "StepGiven" => {
            let full = StepGiven { fence: 1, key: Some(digest), came: came(true) };
            vec![value(&full), value(&StepGiven { key: None, came: came(false), ..full })]
        }
        "CloseAsked" => vec![value(&CloseAsked { fence: 1, length: 0, digest })],
        "StreamState" => {
            let closed = StreamState { next: 0, closed: Some(digest) };
            vec![value(&closed), value(&StreamState { closed: None, ..closed })]
        }
        "RunStreams" => {
            let listed = StreamListing {
                attempt,
                job: name("run")?,
                number: 1,
                live: false,
                name: "log.build".to_owned(),
                length: 12,
                digest: Some(digest),
                cut: false,
                divergent: false,
            };
            vec![value(&[listed.clone(), StreamListing { digest: None, ..listed }])]
        }
        "CancelAsked" => {
            vec![value(&CancelAsked { why: Some("a newer one is there".to_owned()) }), json!({})]
        }
        "RunView" => {
            let [full, least] = summaries(&run)?;
            let [job, waiting] = jobs(attempt)?;
            vec![
                value(&RunView { run: full, jobs: vec![job, waiting] }),
                value(&RunView { run: least, jobs: Vec::new() }),
            ]
        }
        "RunPage" => {
            let [summary, least] = summaries(&run)?;
            vec![
                value(&RunPage { runs: vec![summary, least], next: Some(run) }),
                value(&RunPage { runs: Vec::new(), next: None }),
            ]
        }
        _ => return None,
    };
    Some(all)
}

fn summaries(run: &RunId) -> Option<[RunSummary; 2]> {
    let full = RunSummary {
        id: run.clone(),
        project: name("shop")?,
        number: 7,
        state: RunStanding::Failed,
        why: Some("the job run failed".to_owned()),
        commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        plan_digest: Digest::of(b""),
        trust: Trust::Branch,
        asked_by: "person:ann".to_owned(),
        concurrency: Some("main".to_owned()),
        priority: 0,
        created: AT,
        ended: Some(AT),
    };
    let least = RunSummary { why: None, commit: None, concurrency: None, ended: None, ..full.clone() };
    Some([full, least])
}

/// One that failed, and one that no runner has yet.
fn jobs(attempt: AttemptId) -> Option<[JobView; 2]> {
    let ended = AttemptView {
        id: attempt,
        number: 1,
        state: AttemptState::Finished,
        runner: RunnerId::new(AT, [1; 10]),
        runner_name: "host-1".to_owned(),
        outcome: Some(AttemptOutcome::failed(Blame::Project, "the step test failed")),
        why: Some("the step test failed".to_owned()),
        began: AT,
        ended: Some(AT),
        streams: vec!["events".to_owned(), "log.test".to_owned()],
    };
    let passed = AttemptView { outcome: Some(AttemptOutcome::Passed), why: None, ..ended.clone() };
    let begun = AttemptView { outcome: None, why: None, ended: None, streams: Vec::new(), ..ended.clone() };
    let failed = JobView {
        name: name("run")?,
        state: JobState::Failed,
        why: Some("the step test failed".to_owned()),
        pool: name("default")?,
        labels: names("linux"),
        unmet: names("gpu"),
        needs: names("build"),
        queued: Some(AT),
        ended: Some(AT),
        attempts: vec![ended, passed, begun],
    };
    let waiting = JobView {
        state: JobState::Queued,
        why: None,
        unmet: BTreeSet::new(),
        queued: None,
        ended: None,
        attempts: Vec::new(),
        ..failed.clone()
    };
    Some([failed, waiting])
}

/// A step that passed.
fn came(with_a_layer: bool) -> StepCame {
    let digest = Digest::of(b"");
    let layer = SentLayer { layer: digest, blob: digest, length: 12 };
    StepCame {
        layer: with_a_layer.then_some(layer),
        results: StepResults::default(),
        millis: 1_000,
        run: RunId::new(AT, [3; 10]),
        at: AT,
    }
}

/// The same, of tokens.
fn release_secrets_asked() -> Option<Vec<Value>> {
    let asked = |of, known| {
        let (project, environment) = (name("shop")?, name("production")?);
        Some(value(&ReleaseSecretsAsked { project, environment, of, names: names("db"), known }))
    };
    let known = name("db").into_iter().map(|name| (name, "2.1760000000000".to_owned())).collect();
    Some(vec![
        asked(SecretsOf::Release(Digest::of(b"release")), known)?,
        asked(SecretsOf::Making(3), std::collections::BTreeMap::new())?,
    ])
}

fn examples_of_tokens(shape: &str) -> Option<Vec<Value>> {
    let token = TokenId::new(AT, [2; 10]);
    let all = match shape {
        "TokenPage" => {
            let seen = TokenSeen {
                id: token,
                name: "ann".to_owned(),
                grants: grants(),
                created: AT,
                expires: AT + 1,
                revoked: Some(AT),
            };
            let next = Some(seen.id.clone());
            let tokens = vec![seen.clone(), TokenSeen { revoked: None, ..seen }];
            vec![value(&TokenPage { tokens, next }), value(&TokenPage { tokens: Vec::new(), next: None })]
        }
        "TokenAsked" => {
            let full = TokenAsked { name: "ann".to_owned(), grants: grants(), valid_days: Some(30) };
            vec![value(&full), value(&TokenAsked { valid_days: None, ..full })]
        }
        "TokenMade" => {
            vec![value(&TokenMade { id: token, token: "staith_person_…".to_owned(), expires: AT })]
        }
        _ => return None,
    };
    Some(all)
}

fn value<T: Serialize + ?Sized>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// The JSON Schema that all of the examples have.
pub fn schema(examples: &[Value]) -> Value {
    match examples.first() {
        Some(Value::Object(_)) => object(examples),
        Some(Value::Array(_)) => {
            let items: Vec<Value> = examples.iter().filter_map(Value::as_array).flatten().cloned().collect();
            json!({ "type": "array", "items": schema(&items) })
        }
        Some(Value::String(_)) => json!({ "type": "string" }),
        Some(Value::Bool(_)) => json!({ "type": "boolean" }),
        Some(Value::Number(_)) if examples.iter().any(Value::is_f64) => json!({ "type": "number" }),
        Some(Value::Number(_)) => json!({ "type": "integer" }),
        Some(Value::Null) | None => json!({}),
    }
}

fn object(examples: &[Value]) -> Value {
    let objects: Vec<&Map<String, Value>> = examples.iter().filter_map(Value::as_object).collect();
    let keys: BTreeSet<&String> = objects.iter().flat_map(|object| object.keys()).collect();
    if keys.is_empty() {
        return json!({ "type": "object" });
    }
    if keys.iter().all(|key| *key == ANY) {
        let values: Vec<Value> = objects.iter().flat_map(|object| object.values()).cloned().collect();
        return json!({ "type": "object", "additionalProperties": schema(&values) });
    }
    let of = |key: &String| -> Vec<Value> {
        objects
            .iter()
            .filter_map(|object| object.get(key))
            .filter(|value| !value.is_null())
            .cloned()
            .collect()
    };
    let properties: Map<String, Value> = keys.iter().map(|key| ((*key).clone(), schema(&of(key)))).collect();
    let required: Vec<&&String> =
        keys.iter().filter(|key| objects.iter().all(|object| object.contains_key(**key))).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}
