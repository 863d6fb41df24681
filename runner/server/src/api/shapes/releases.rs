//! Shapes of what is about releases.

use serde_json::{Value, json};
use staith_model::{
    Ask, DeploymentId, Digest, RunId, SourceOfRelease,
    service::{
        DeployAsked, EnvironmentRules, LedgerHad, LedgerPart, LiftAsked, OrderAnswer, OrderSeen,
        OverrideAsked, QuarantineAsked, ReleaseAsked, ReleaseSeen, ReleaseStanding, RollbackAsked, SwapAsked,
        Trust, VoteAsked, WishAsked,
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

use super::{AT, name, value};

/// Examples of a shape, the fullest first. `None` if there is no such shape.
pub(super) fn examples(shape: &str) -> Option<Vec<Value>> {
    let digest = Digest::of(b"an example");
    Some(match shape {
        "ReleaseAsked" => {
            let asked = ReleaseAsked { run: RunId::new(AT, [1; 10]), package: name("shop") };
            vec![value(&asked), value(&ReleaseAsked { package: None, ..asked.clone() })]
        }
        "Release" => vec![value(&release(digest)?)],
        "Releases" => vec![value(&[release(digest)?])],
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
            let seen = OrderSeen {
                order: 12,
                project: name("shop")?,
                by: "ann".to_owned(),
                asked: AT,
                answer: Some(OrderAnswer::Done),
            };
            vec![value(&seen), value(&OrderSeen { answer: None, ..seen.clone() })]
        }
        "OrderAnswer" => vec![value(&OrderAnswer::Done)],
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
            committed_at: None,
            trust: None,
        },
        state: ReleaseStanding::Made,
        digest: Some(digest),
        environments: name("production").into_iter().collect(),
        why: None,
        by: "ann".to_owned(),
        created: AT,
    })
}
