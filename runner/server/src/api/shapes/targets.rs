//! Shapes of what is about machines that pull.

use serde_json::Value;
use staith_model::{
    TunnelId,
    service::{
        TargetOf, TargetTurn, TunnelEnd, TunnelNext, TunnelOffered, TunnelWanted, TunnelsAsked, TunnelsTold,
    },
};

use super::{AT, value};

/// A machine.
pub(super) fn target() -> Option<TargetOf> {
    "shop/production/web-1".parse().ok()
}

/// Examples of a shape, the fullest first. `None` if there is no such shape.
pub(super) fn examples(shape: &str) -> Option<Vec<Value>> {
    let (tunnel, folder) = (TunnelId::new(AT, [1; 10]), "/srv/shop".to_owned());
    Some(match shape {
        "TargetTurn" => vec![value(&TargetTurn { turn: AT })],
        "TunnelsAsked" => vec![value(&TunnelsAsked { turn: AT, has: vec![tunnel] })],
        "TunnelsTold" => vec![value(&TunnelsTold { tunnels: vec![TunnelOffered { tunnel, folder }] })],
        "TunnelWanted" => vec![value(&TunnelWanted { target: target()?, folder })],
        "TunnelNext" => vec![value(&TunnelNext { next: 65_536 })],
        "TunnelEnd" => {
            let why = "the program can't be started".to_owned();
            vec![value(&TunnelEnd { why: Some(why) }), value(&TunnelEnd::default())]
        }
        _ => return None,
    })
}
