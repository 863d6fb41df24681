//! Why a tunnel does not do what is asked, as problems.

use staith_model::service::TargetOf;

use super::{
    relay::Refusal,
    tunnel::{End, Not},
};
use crate::api::Problem;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoTurn => {
                Self::new(409, "no-turn", "the server does not know that this runner has begun")
                    .with_why("the server was started since")
                    .with_remedy("begin again: ask for a turn")
            }
            Refusal::TurnOver => Self::new(
                409,
                "turn-over",
                "another runner of this machine has begun since",
            )
            .with_why("of the runners with one key, the one that began last counts")
            .with_remedy(
                "end one of the two; where the machine was copied, register the copy with a code of its own",
            ),
            Refusal::Unknown => Self::new(404, "no-tunnel", "there is no such tunnel")
                .with_why("it ended some time ago, or the server was started since")
                .with_remedy("begin another one"),
            Refusal::TooMany => {
                Self::new(429, "many-tunnels", "the machine is spoken to by too many at once")
                    .with_remedy("ask again when one of them has ended")
            }
            Refusal::Not(Not::Ended(End::Finished)) => {
                Self::new(410, "tunnel-finished", "the program on the machine has ended")
            }
            Refusal::Not(Not::Ended(End::Left)) => {
                Self::new(410, "tunnel-left", "the deployer wants no more of it")
            }
            Refusal::Not(Not::Ended(End::Broken(why))) => Self::new(410, "tunnel-ended", why),
            Refusal::Not(Not::Gap(gap)) => {
                Self::new(409, "tunnel-gap", "the offset does not follow what is known").with_next(gap.next)
            }
        }
    }
}

/// Nobody was registered as the machine.
pub(super) fn unregistered(target: &TargetOf) -> Problem {
    Problem::new(409, "target-unregistered", format!("no host is registered as {target}")).with_remedy(
        format!("`staith server runner-code --target {target}` prints what is to be said on the machine"),
    )
}

/// Somebody said that it is to get nothing.
pub(super) fn draining(target: &TargetOf) -> Problem {
    Problem::new(409, "target-draining", format!("the runner of {target} was told to take nothing new"))
        .with_remedy("`staith server runners resume` lets it take deployments again")
}

/// Its runner is not there.
pub(super) fn away(target: &TargetOf, seen: &str) -> Problem {
    Problem::new(409, "target-away", format!("the runner of {target} is not there; it was last heard of {seen}"))
        .with_remedy(
            "see on the machine that it runs (`systemctl status staith-runner`, or `staith runner start`) and that it reaches the server",
        )
}
