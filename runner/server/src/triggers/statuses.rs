//! Forges are told how runs end. What is to be told is in the outbox until it was heard; of a run, only what it is now.
//!
//! A forge that is dead keeps nobody waiting but itself: each project has one conversation at a time, several projects at once, and
//! each message a deadline. 1. `message`: what a forge is sent, and what its answer means. Pure.

mod message;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use staith_model::{Name, causes, service::ForgeSettings};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::message::{Heard, Message};
use super::egress::Egress;
use crate::{
    site::Site,
    store::{Letter, StoreError},
};

/// Projects whose forges are spoken to at once.
const AT_ONCE: usize = 8;
/// Messages of a project that are taken together.
const TOGETHER: u32 = 16;
/// How often is looked though nobody rings.
const ANYWAY: Duration = Duration::from_secs(2);
/// Between two looks, however often somebody rings: runs that change twice meanwhile are told of once.
const AT_LEAST: Duration = Duration::from_millis(100);
/// What was not heard for so long is told no more: three days, for which forges keep what they have to say themselves.
const LONGEST_MILLIS: u64 = 3 * 24 * 60 * 60 * 1000;

pub(super) async fn run(site: &Site, stop: &CancellationToken) {
    let egress = match Egress::new(site.triggers.allowed_hosts.clone()) {
        Ok(egress) => egress,
        Err(error) => {
            tracing::error!(%error, "forges are not told of anything; it waits until the server starts again");
            return;
        }
    };
    let (mut outbox, mut jobs) = (site.bells.outbox.listen(), site.bells.jobs.listen());
    let (mut busy, mut tasks) = (BTreeSet::new(), JoinSet::<Name>::new());
    loop {
        match gather(site).await {
            Ok(letters) => begin(site, &egress, letters, &mut busy, &mut tasks),
            Err(error) => tracing::error!(%error, "what forges are to be told can't be read; it is kept"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = outbox.heard() => tokio::time::sleep(AT_LEAST).await,
            () = jobs.heard() => tokio::time::sleep(AT_LEAST).await,
            Some(ended) = tasks.join_next() => match ended {
                Ok(project) => drop(busy.remove(&project)),
                Err(error) => { tracing::error!(%error, "telling a forge ended"); tasks.abort_all(); busy.clear(); }
            },
            () = tokio::time::sleep(ANYWAY) => {}
        }
    }
}

/// Tells all forges what waits for them and whose time has come, once.
///
/// # Errors
/// The store failed.
pub async fn once(site: &Site) -> Result<(), StoreError> {
    let egress = Egress::new(site.triggers.allowed_hosts.clone())
        .map_err(|error| StoreError::Conflict(error.to_string()))?;
    let (mut busy, mut tasks) = (BTreeSet::new(), JoinSet::new());
    begin(site, &egress, gather(site).await?, &mut busy, &mut tasks);
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn gather(site: &Site) -> Result<Vec<Letter>, StoreError> {
    let now = site.clock.unix_millis();
    site.store.collect(now).await?;
    site.store.letters(now, TOGETHER).await
}

fn begin(
    site: &Site,
    egress: &Egress,
    letters: Vec<Letter>,
    busy: &mut BTreeSet<Name>,
    tasks: &mut JoinSet<Name>,
) {
    let mut by_project: BTreeMap<Name, Vec<Letter>> = BTreeMap::new();
    for letter in letters {
        by_project.entry(letter.project.clone()).or_default().push(letter);
    }
    for (project, letters) in by_project {
        if tasks.len() >= AT_ONCE || !busy.insert(project.clone()) {
            continue;
        }
        let (site, egress) = (site.clone(), egress.clone());
        tasks.spawn(async move {
            if let Err(error) = tell_all(&site, &egress, &project, &letters).await {
                tracing::error!(%error, %project, "what its forge is to be told waits, since the store failed");
            }
            project
        });
    }
}

/// Tells a project's forge, one after the other. With the first that it does not hear, the others wait as well: it is the forge.
async fn tell_all(
    site: &Site,
    egress: &Egress,
    project: &Name,
    letters: &[Letter],
) -> Result<(), StoreError> {
    let settings = site.store.project(project).await?.and_then(|known| known.settings.forge);
    let token = match &settings {
        Some(ForgeSettings { status_secret: Some(secret), url: Some(_), repository: Some(_), .. }) => {
            site.triggers.secrets.value(project, secret).await
        }
        // Nobody wants to be told.
        _ => {
            for letter in letters {
                site.store.heard(letter, site.clock.unix_millis()).await?;
            }
            return Ok(());
        }
    };
    for letter in letters {
        let heard = match (&settings, &token) {
            (Some(forge), Ok(Some(token))) => {
                match Message::of(forge, token, project, &letter.told, &site.public_url) {
                    Some(message) => send(egress, &message).await,
                    None => Heard::Never("the forge's settings are not whole".to_owned()),
                }
            }
            (_, Err(why)) => Heard::Not { why: why.clone(), after: None },
            _ => Heard::Not { why: "the secret for statuses is not on the server".to_owned(), after: None },
        };
        let now = site.clock.unix_millis();
        match heard {
            Heard::Yes => site.store.heard(letter, now).await?,
            Heard::Never(why) => {
                tracing::warn!(%project, why, "the forge won't be told of this");
                site.store.unheard(letter, None, &why, now).await?;
            }
            Heard::Not { why, after } => {
                tracing::warn!(%project, why, tries = letter.tries, "the forge did not hear; it is told again");
                let patience = after.map_or_else(|| patience(letter.tries), |after| after.max(patience(0)));
                let is_too_old = now.saturating_sub(letter.made) > LONGEST_MILLIS;
                let again =
                    (!is_too_old).then(|| now + u64::try_from(patience.as_millis()).unwrap_or(u64::MAX / 2));
                site.store.unheard(letter, again, &why, now).await?;
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn send(egress: &Egress, message: &Message) -> Heard {
    let url = match egress.address(&message.url) {
        Ok(url) => url,
        // Settings are changed by people; till then it is not tried in vain too often.
        Err(refused) => {
            return Heard::Not { why: refused.to_string(), after: Some(Duration::from_secs(300)) };
        }
    };
    let request = egress.client().post(url).header(message.header.0, message.header.1.clone());
    let request = request.header("content-type", "application/json").body(message.body.clone());
    match request.send().await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let after =
                answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            message.heard(status, after.map(Duration::from_secs), &beginning(answer).await)
        }
        Err(error) => Heard::Not { why: causes(&error.without_url()), after: None },
    }
}

/// The beginning of what a forge answers: enough to see why it refused.
async fn beginning(mut answer: reqwest::Response) -> String {
    const ENOUGH: usize = 4096;
    let mut bytes = Vec::new();
    while bytes.len() < ENOUGH {
        match answer.chunk().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            _ => break,
        }
    }
    bytes.truncate(ENOUGH);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One second, then twice as long each time, ten minutes at most; and up to half as much again by chance, so that not all messages of all
/// servers come back at once.
fn patience(tries: u32) -> Duration {
    const FIRST: u64 = 1000;
    const LONGEST: u64 = 10 * 60 * 1000;
    let mut chance = [0];
    // Without chance it is only less spread.
    let _ = getrandom::fill(&mut chance);
    let base = FIRST.saturating_mul(1 << tries.min(20)).min(LONGEST);
    Duration::from_millis(base + base * u64::from(chance[0]) / 512)
}
