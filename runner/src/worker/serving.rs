//! The runner of a machine that pulls: it asks which tunnels there are to be, and has the program run for each.

use std::{collections::BTreeMap, time::Duration};

use staith_model::{
    Exit, Secret, TunnelId,
    service::{TargetOf, TargetTurn, TunnelOffered, TunnelsAsked, TunnelsTold},
};
use staith_releaser::fleet::way::Child;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    rooms::Rooms,
    session::{NoSession, Sessions},
    start::{News, drained},
};
use crate::{
    client::{Ask, Client, Patience, Refused},
    output::Problem,
    tunnel::{End, Stops, serve},
};

/// How long an answer may wait for another tunnel, and a little more.
const WAIT: Duration = Duration::from_secs(11);
/// How much longer it may take.
const ANSWERING: Duration = Duration::from_secs(5);
/// How long programs get to be told that it is over.
const TO_END: Duration = Duration::from_secs(5);

/// A machine's runner.
pub(super) struct Serving<'a> {
    pub(super) rooms: Rooms,
    pub(super) target: TargetOf,
    pub(super) client: Client,
    pub(super) sessions: Sessions,
    /// What is started for each tunnel.
    pub(super) program: Child,
    pub(super) told: &'a (dyn Fn(&News) + Sync),
}

/// How tunnels ended: why, where something went wrong.
type Ends = JoinSet<(TunnelId, Option<String>)>;

/// The tunnels that there are.
struct Tunnels {
    token: watch::Sender<Secret>,
    turn: Option<u64>,
    running: BTreeMap<TunnelId, CancellationToken>,
    leaving: CancellationToken,
    is_away: bool,
}

impl Serving<'_> {
    /// Serves until `stop` fires, or until it is drained.
    ///
    /// # Errors
    /// The server does not know this host any more, or another runner of this machine has begun.
    pub(super) async fn work(mut self, stop: &CancellationToken) -> Result<(), Problem> {
        let mut tunnels = Tunnels {
            token: watch::channel(Secret::new("")).0,
            turn: None,
            running: BTreeMap::new(),
            leaving: CancellationToken::new(),
            is_away: false,
        };
        let mut ends = Ends::new();
        let worked = self.turns(&mut tunnels, &mut ends, stop).await;
        tunnels.leaving.cancel();
        let ended = async { while ends.join_next().await.is_some() {} };
        let _ = timeout(TO_END, ended).await;
        worked
    }

    async fn turns(
        &mut self,
        tunnels: &mut Tunnels,
        ends: &mut Ends,
        stop: &CancellationToken,
    ) -> Result<(), Problem> {
        let (mut patience, mut is_draining) = (Patience::default(), false);
        loop {
            if !is_draining && self.rooms.is_draining() {
                is_draining = true;
                (self.told)(&News::Draining);
            }
            if is_draining && tunnels.running.is_empty() {
                return Ok(());
            }
            let rooms = self.rooms.clone();
            let answered = tokio::select! {
                answered = self.ask(tunnels) => answered,
                Some(ended) = ends.join_next() => {
                    self.hear(tunnels, ended);
                    continue;
                }
                () = stop.cancelled() => return Ok(()),
                () = drained(&rooms, is_draining) => continue,
            };
            match answered {
                Ok(told) => {
                    if std::mem::take(&mut tunnels.is_away) {
                        (self.told)(&News::Back);
                    }
                    patience.worked();
                    self.take(tunnels, ends, told, is_draining);
                }
                Err(NoSession::Here(problem)) => return Err(problem),
                Err(NoSession::Unproven(refused)) => return Err(unproven(refused)),
                Err(NoSession::Refused(refused)) if refused.is("no-turn") => tunnels.turn = None,
                Err(NoSession::Refused(refused)) if refused.is("turn-over") => return Err(replaced(refused)),
                Err(NoSession::Refused(refused)) => {
                    if !std::mem::replace(&mut tunnels.is_away, true) {
                        (self.told)(&News::Away { why: refused.to_string() });
                    }
                    tokio::select! {
                        () = sleep(patience.failed()) => {}
                        () = stop.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    /// Asks which tunnels there are to be; begins before, where that is to be done. Cancel-safe: the same is asked again.
    async fn ask(&mut self, tunnels: &mut Tunnels) -> Result<TunnelsTold, NoSession> {
        let token = self.sessions.token(&self.client).await?;
        tunnels.token.send_replace(token.clone());
        let turn = match tunnels.turn {
            Some(turn) => turn,
            None => {
                // What runs is of a turn that is over.
                tunnels.running.values().for_each(CancellationToken::cancel);
                let begun = Ask::post("/api/v1/target/turn", &serde_json::json!({})).with(&token);
                let begun: TargetTurn = self.heard(self.client.value(&begun).await)?;
                *tunnels.turn.insert(begun.turn)
            }
        };
        let asked = TunnelsAsked { turn, has: tunnels.running.keys().cloned().collect() };
        let ask = Ask::post("/api/v1/target/tunnels", &asked).with(&token).waiting(WAIT).within(ANSWERING);
        self.heard(self.client.value(&ask).await)
    }

    fn heard<T>(&mut self, answered: Result<T, Refused>) -> Result<T, NoSession> {
        if answered.as_ref().is_err_and(|refused| refused.status() == Some(401)) {
            self.sessions.forget();
        }
        answered.map_err(NoSession::Refused)
    }

    /// Has the program run for each tunnel that is new, and end for each that is no more.
    fn take(&self, tunnels: &mut Tunnels, ends: &mut Ends, told: TunnelsTold, is_draining: bool) {
        for (tunnel, stop) in &tunnels.running {
            if !told.tunnels.iter().any(|wanted| wanted.tunnel == *tunnel) {
                stop.cancel();
            }
        }
        let Some(turn) = tunnels.turn else { return };
        for TunnelOffered { tunnel, folder } in told.tunnels {
            if is_draining || tunnels.running.contains_key(&tunnel) {
                continue;
            }
            (self.told)(&News::Begun { tunnel: tunnel.clone(), folder: folder.clone() });
            let end = End::of_machine(self.client.clone(), tunnels.token.subscribe(), &tunnel, turn);
            let stops = Stops { unwanted: CancellationToken::new(), leaving: tunnels.leaving.clone() };
            tunnels.running.insert(tunnel.clone(), stops.unwanted.clone());
            let (program, target) = (self.program.clone(), self.target.target.to_string());
            ends.spawn(async move {
                let why = serve(&end, &program, &target, &folder, &stops).await;
                (tunnel, why)
            });
        }
    }

    fn hear(&self, tunnels: &mut Tunnels, ended: Result<(TunnelId, Option<String>), tokio::task::JoinError>) {
        match ended {
            Ok((tunnel, why)) => {
                tunnels.running.remove(&tunnel);
                (self.told)(&News::Over { tunnel, why });
            }
            Err(panicked) => tracing::error!(%panicked, "a tunnel's task ended"),
        }
    }
}

fn unproven(refused: Refused) -> Problem {
    Problem::from(refused).with_remedy(
        "if the machine is to be deployed to, register it again, with a new code: `staith runner register`",
    )
}

/// Of two with one key, one must end for good: each would end what the other has.
fn replaced(refused: Refused) -> Problem {
    Problem { exit: Exit::NeedsDecision, ..Problem::from(refused) }
}

#[cfg(test)]
mod tests;
