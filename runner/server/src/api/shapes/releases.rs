//! Shapes of what is about releases.

use serde_json::{Value, json};
use staith_model::{
    Ask, Digest, RunId, SourceOfRelease,
    service::{
        DeployAsked, EnvironmentRules, LedgerHad, LedgerPart, LiftAsked, OrderAnswer, OrderSeen,
        OverrideAsked, ReleaseAsked, ReleaseSeen, ReleaseStanding, RollbackAsked, SwapAsked, Trust,
        VoteAsked, WishAsked,
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
            }),
            json!({ "release": "latest" }),
        ],
        "RollbackAsked" => vec![
            value(&RollbackAsked { to: Some("6".to_owned()), force: false, reason: "it is slow".to_owned() }),
            json!({}),
        ],
        "VoteAsked" => vec![
            value(&VoteAsked { plan: digest, approves: true, comment: "looks right".to_owned() }),
            json!({ "plan": digest, "approves": true }),
        ],
        "OverrideAsked" => {
            let reason = "the shop is down".to_owned();
            let asked = OverrideAsked { plan: digest, reason, freeze_only: true };
            vec![value(&asked), json!({ "plan": digest, "reason": "the shop is down" })]
        }
        "SwapAsked" => vec![value(&SwapAsked { reason: "back to what it was".to_owned() }), json!({})],
        "WishAsked" => vec![value(&WishAsked { ask: Ask::Abort { reason: "not today".to_owned() } })],
        "LiftAsked" => vec![value(&LiftAsked { reason: "it is mended".to_owned() }), json!({})],
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
        "LedgerHad" => vec![value(&LedgerHad { position: 40 })],
        _ => return None,
    })
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
