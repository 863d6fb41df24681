//! Shapes of what is about releases.

use serde_json::{Value, json};
use staith_model::{
    Ask, DeploymentId, DeploymentState, Digest, Direction, RunId, SourceOfRelease,
    service::{
        DeployAsked, DeploymentView, EnvironmentRules, EnvironmentView, Guarded, LedgerHad, LedgerPart,
        LiftAsked, OrderAnswer, OrderSeen, OverrideAsked, PastGates, QuarantineAsked, ReleaseAsked,
        ReleasePage, ReleaseSeen, ReleaseStanding, RollbackAsked, SwapAsked, Trust, VoteAsked, WishAsked,
    },
};
use staith_releaser::fleet::{
    diff::{Comparison, Difference, ReleaseDiff},
    record::{
        figures::{Figures, Measured},
        notes::{Commit, Found, ReleaseNotes, Side},
        run_book::RunBook,
        whereabouts::{Origin, Trace},
    },
};

use super::{ANY, AT, name, value};

/// Examples of a shape, the fullest first. `None` if there is no such shape.
pub(super) fn examples(shape: &str) -> Option<Vec<Value>> {
    let digest = Digest::of(b"an example");
    Some(match shape {
        "ReleaseAsked" => {
            let asked = ReleaseAsked { run: RunId::new(AT, [1; 10]), package: name("shop") };
            vec![value(&asked), value(&ReleaseAsked { package: None, ..asked.clone() })]
        }
        "Release" => releases(digest)?.iter().map(value).collect(),
        "ReleasePage" => vec![
            value(&ReleasePage { releases: releases(digest)?.into(), next: Some(7) }),
            value(&ReleasePage { releases: Vec::new(), next: None }),
        ],
        "Environments" => vec![environments(digest)?.into()],
        "Environment" => environments(digest)?,
        // What happens to machines has many kinds; `kind` says which.
        "LedgerEntries" => vec![json!([{ "position": 1, "at": AT, "event": {} }])],
        "Orders" => {
            let (project, environment) = (name("shop")?, name("production")?);
            let said = Guarded {
                overriders: Some(["ann".to_owned()].into()),
                ..Guarded::unsaid(project.clone(), environment)
            };
            let mut guarded = [said.clone(), Guarded { overriders: None, ..said }].map(|one| value(&one));
            guarded.iter_mut().for_each(|one| one["protection"] = json!({}));
            // What is to be done has many kinds; `order` says which.
            let order = json!({ "order": 1, "project": project, "by": "ann", "asked": AT, "what": {} });
            vec![json!({ "orders": [order], "guarded": guarded })]
        }
        "EnvironmentRules" => vec![
            value(&EnvironmentRules {
                needed: 2,
                after: name("qa").into_iter().collect(),
                ..Default::default()
            }),
            json!({}),
        ],
        "DeployAsked" => vec![
            value(&DeployAsked {
                release: "7".to_owned(),
                plan: Some(digest),
                reason: "the sale".to_owned(),
                repair: true,
                override_floor: Some("the data were restored".to_owned()),
            }),
            json!({ "release": "latest" }),
        ],
        "RollbackAsked" => vec![
            value(&RollbackAsked {
                to: Some("6".to_owned()),
                force: false,
                reason: "it is slow".to_owned(),
                override_floor: Some("the data were restored".to_owned()),
            }),
            json!({}),
        ],
        "VoteAsked" => vec![
            value(&VoteAsked { plan: digest, approves: true, comment: "looks right".to_owned() }),
            json!({ "plan": digest, "approves": true }),
        ],
        "OverrideAsked" => {
            let reason = "the shop is down".to_owned();
            let asked = OverrideAsked { plan: digest, reason, freeze_only: true, floor: true };
            vec![value(&asked), json!({ "plan": digest, "reason": "the shop is down" })]
        }
        "SwapAsked" => {
            let override_floor = Some("the data were restored".to_owned());
            vec![value(&SwapAsked { reason: "back to what it was".to_owned(), override_floor }), json!({})]
        }
        "WishAsked" => vec![value(&WishAsked { ask: Ask::Abort { reason: "not today".to_owned() } })],
        "LiftAsked" => vec![value(&LiftAsked { reason: "it is mended".to_owned() }), json!({})],
        "QuarantineAsked" => {
            let (target, reason) = (name("web1")?, "its disk fails".to_owned());
            vec![
                value(&QuarantineAsked { target, out: true, reason }),
                json!({ "target": "web1", "out": false }),
            ]
        }
        "OrderSeen" => {
            let seen = value(&OrderSeen {
                order: 12,
                project: name("shop")?,
                by: "ann".to_owned(),
                asked: AT,
                answer: None,
            });
            let all = answers(digest).into_iter().map(|answer| {
                let mut answered = seen.clone();
                answered["answer"] = answer;
                answered
            });
            let mut all: Vec<Value> = all.collect();
            all.push(seen);
            all
        }
        "OrderAnswer" => answers(digest),
        "LedgerPart" => vec![value(&LedgerPart {
            project: name("shop")?,
            environment: name("production")?,
            entries: Vec::new(),
        })],
        "Comparison" => {
            let (environment, before) = (name("production"), Some("info".to_owned()));
            let what = "variables.LOG_LEVEL".to_owned();
            let changed = Difference { environment, what, before, after: Some("debug".to_owned()) };
            let new = Difference { environment: None, before: None, ..changed.clone() };
            let gone = Difference { after: None, ..new.clone() };
            let diff = ReleaseDiff { from: digest, to: digest, differences: vec![changed, new, gone] };
            vec![value(&Comparison { diff, files_compared: true })]
        }
        "ReleaseNotes" => vec![value(&notes()?)],
        "RunBook" => vec![value(&RunBook {
            environment: name("production")?,
            markdown: "# Releasing shop to production\n…".to_owned(),
        })],
        "ReleaseMetrics" => {
            let measured = Measured::of(name("production")?, &[], 30, AT);
            let some = Some(60_000);
            let figures = Figures {
                lead_time_millis: some,
                change_failure_percent: Some(12.5),
                time_to_restore_millis: some,
                ..measured.figures.clone()
            };
            vec![value(&[Measured { figures, ..measured.clone() }, measured])]
        }
        "Whereabouts" => {
            let origin = Origin {
                package: name("shop")?,
                version: "1.4.0".parse().ok()?,
                run: Some(RunId::new(AT, [1; 10])),
                commit: Some("3f2a…".to_owned()),
            };
            let trace = Trace {
                environment: name("production")?,
                target: name("web1")?,
                release: digest,
                deployment: DeploymentId::new(AT, [1; 10]),
                since: Some(AT),
                origin: Some(origin.clone()),
            };
            let by_hand = Trace {
                since: None,
                origin: Some(Origin { run: None, commit: None, ..origin }),
                ..trace.clone()
            };
            let unknown = Trace { origin: None, ..trace.clone() };
            vec![value(&[trace, by_hand, unknown])]
        }
        "LedgerHad" => vec![value(&LedgerHad { position: 40 })],
        _ => return None,
    })
}

/// All that the deployer may answer. A release and a plan are what `staith release --json` shows of them.
fn answers(digest: Digest) -> Vec<Value> {
    let refused = |why: Option<String>, remedy: Option<String>| {
        value(&OrderAnswer::Refused { what: "the machines can't be asked".to_owned(), why, remedy })
    };
    let some = || Some("…".to_owned());
    let deployment = DeploymentId::new(AT, [6; 10]);
    vec![
        value(&OrderAnswer::Done),
        json!({ "outcome": "made", "release": digest, "environments": ["production"], "frozen": {} }),
        json!({ "outcome": "made", "release": digest, "environments": ["production"] }),
        json!({ "outcome": "planned", "deployment": deployment, "plan": {}, "digest": digest }),
        json!({ "outcome": "planned", "plan": {}, "digest": digest }),
        refused(some(), some()),
        refused(None, None),
    ]
}

fn notes() -> Option<ReleaseNotes> {
    let source = SourceOfRelease {
        commit: Some("3f2a…".to_owned()),
        branch: None,
        dirty: true,
        committed_at: None,
        trust: None,
    };
    let side = |version: &str| Some(Side::of(&name("shop")?, &version.parse().ok()?, &source));
    let commit = |subject: &str| Commit {
        id: "3f2a".to_owned(),
        author: "ann".to_owned(),
        subject: subject.to_owned(),
        body: "See #12.".to_owned(),
    };
    let found = Found { new: vec![commit("feat(cart): sizes"), commit("a word")], more: false, gone: 1 };
    Some(ReleaseNotes::of(&side("1.3.0")?, &side("1.4.0")?, found))
}

/// One of which all is known, and one that is not made.
fn releases(digest: Digest) -> Option<[ReleaseSeen; 2]> {
    let made = release(digest)?;
    let mut refused = ReleaseSeen { digest: None, why: None, ..made.clone() };
    refused.source =
        SourceOfRelease { commit: None, branch: None, dirty: false, committed_at: None, trust: None };
    Some([made, refused])
}

fn environments(digest: Digest) -> Option<Vec<Value>> {
    let deployment = DeploymentView {
        deployment: DeploymentId::new(AT, [6; 10]),
        release: digest,
        plan: digest,
        direction: Direction::Forward,
        state: DeploymentState::AwaitingGates,
        over: false,
        by: "ann".to_owned(),
        reason: String::new(),
        requested: AT,
        since: AT,
        gates: vec!["1 of 2 approvals".to_owned()],
        trouble: Some("web-1 does not answer".to_owned()),
        approved_by: ["ben".to_owned()].into(),
        overridden: vec![PastGates {
            by: "ann".to_owned(),
            reason: "the shop is down".to_owned(),
            freeze_only: true,
        }],
        by_default: Some("nobody said no".to_owned()),
    };
    let plain =
        DeploymentView { trouble: None, overridden: Vec::new(), by_default: None, ..deployment.clone() };
    let view = EnvironmentView {
        project: name("shop")?,
        environment: name("production")?,
        rules: EnvironmentRules::default(),
        serves: Some(digest),
        held: Some("somebody went back".to_owned()),
        quarantined: std::collections::BTreeMap::new(),
        deployments: vec![deployment, plain],
    };
    let least = EnvironmentView { serves: None, held: None, deployments: Vec::new(), ..view.clone() };
    let mut both = vec![value(&view), value(&least)];
    // As `EnvironmentRules` has them.
    both.iter_mut().for_each(|one| one["rules"] = json!({}));
    both[0]["quarantined"] = json!({ ANY: "its disk fails" });
    Some(both)
}

fn release(digest: Digest) -> Option<ReleaseSeen> {
    Some(ReleaseSeen {
        number: 7,
        run: RunId::new(AT, [1; 10]),
        package: name("shop")?,
        version: "1.4.0".parse().ok()?,
        trust: Trust::Protected,
        source: SourceOfRelease {
            commit: Some("3f2a…".to_owned()),
            branch: Some("main".to_owned()),
            dirty: false,
            committed_at: Some(AT),
            trust: Some(Trust::Protected),
        },
        state: ReleaseStanding::Made,
        digest: Some(digest),
        environments: name("production").into_iter().collect(),
        why: Some("the deployer is away".to_owned()),
        by: "ann".to_owned(),
        created: AT,
    })
}
