//! Orders to a backend: refused or carried out, one after the other, and on the disk before they count.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use staith_model::Name;
use tokio::sync::Mutex;

use super::{
    backend::{Backend, Coming},
    protocol::{Answer, Ask, Status, Wanted},
    saved::{File, Saved, SavedMember},
};

/// Weights are relative to each other; this is as fine as it gets.
pub(super) const HEAVIEST: u32 = 256;

/// The one who gives orders to a backend.
#[derive(Debug)]
pub(super) struct Orders {
    backend: Arc<Backend>,
    file: File,
    /// Members that are configured: known for ever, whoever serves.
    configured: Vec<Name>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    saved: Saved,
    attempt: String,
    coming: BTreeMap<Name, Coming>,
}

impl Orders {
    pub(super) fn new(backend: Arc<Backend>, file: File, configured: Vec<Name>, saved: Saved) -> Self {
        let state = State { saved, attempt: String::new(), coming: BTreeMap::new() };
        Self { backend, file, configured, state: Mutex::new(state) }
    }

    /// Carries out what was asked. A caller that goes away in the middle leaves it done or not done.
    pub(super) async fn obey(self: Arc<Self>, ask: Ask) -> Answer {
        match ask {
            Ask::Status => Answer::Status(self.status().await),
            Ask::Prepare(wanted) => self.prepare(&wanted).await.unwrap_or_else(|refusal| refusal),
            Ask::Commit(wanted) => self.commit(&wanted).await.unwrap_or_else(|refusal| refusal),
            Ask::Left { epoch } => self.left(epoch).await.unwrap_or_else(|refusal| refusal),
            Ask::Pause { at_most_ms } => {
                self.backend.pause(Duration::from_millis(at_most_ms));
                Answer::Done
            }
            Ask::Resume => {
                self.backend.resume();
                Answer::Done
            }
        }
    }

    async fn status(&self) -> Status {
        let epoch = self.state.lock().await.saved.epoch;
        self.backend.status(epoch)
    }

    async fn left(&self, epoch: u64) -> Result<Answer, Answer> {
        fenced(&self.state.lock().await.saved, epoch)?;
        Ok(Answer::Left(self.backend.left()))
    }

    async fn prepare(&self, wanted: &Wanted) -> Result<Answer, Answer> {
        let mut state = self.state.lock().await;
        self.bring_in(&mut state, wanted).await?;
        Ok(Answer::Waiting(self.waiting(&state, wanted)))
    }

    async fn commit(&self, wanted: &Wanted) -> Result<Answer, Answer> {
        let mut state = self.state.lock().await;
        // After a restart in between it begins again.
        let next = self.bring_in(&mut state, wanted).await?;
        let waiting = self.waiting(&state, wanted);
        if !waiting.is_empty() {
            return Ok(Answer::Waiting(waiting));
        }
        let changed = serving(&next) != serving(&state.saved);
        if next != state.saved {
            self.write(&next).await?;
            // Nothing is waited for from here on: what is on the disk and what requests go by change together.
            self.backend.publish(&next, std::mem::take(&mut state.coming));
            state.saved = next;
        }
        Ok(Answer::Committed { changed })
    }

    /// Has those checked that are to serve and do not yet; what is to be remembered once they do.
    async fn bring_in(&self, state: &mut State, wanted: &Wanted) -> Result<Saved, Answer> {
        let next = next(&state.saved, wanted, &self.configured)?;
        if wanted.epoch > state.saved.epoch {
            // Whoever comes late is refused from now on, also after a restart.
            let higher = Saved { epoch: wanted.epoch, ..state.saved.clone() };
            self.write(&higher).await?;
            state.saved = higher;
        }
        if state.attempt != wanted.attempt {
            state.attempt.clone_from(&wanted.attempt);
            state.coming.clear();
        }
        let comes = |(name, member): &(&Name, &SavedMember)| {
            member.admitted && !self.backend.admits(name, &member.address)
        };
        for (name, member) in next.members.iter().filter(comes) {
            if state.coming.get(name).is_none_or(|coming| coming.address != member.address) {
                state.coming.insert(name.clone(), self.backend.prepare(&member.address));
            }
        }
        Ok(next)
    }

    /// Who of those that are to serve is not up.
    fn waiting(&self, state: &State, wanted: &Wanted) -> BTreeMap<Name, String> {
        let health = |name: &Name| match state.coming.get(name) {
            Some(coming) => (coming.checked.up() == Some(true), coming.checked.said()),
            None => self.backend.health(name).unwrap_or_default(),
        };
        let named = wanted.to.keys().map(|name| (name, health(name)));
        named.filter(|(_, (up, _))| !up).map(|(name, (_, said))| (name.clone(), said)).collect()
    }

    async fn write(&self, saved: &Saved) -> Result<(), Answer> {
        let (file, saved) = (self.file.clone(), saved.clone());
        let written = tokio::task::spawn_blocking(move || file.write(&saved)).await;
        written.unwrap_or_else(|panicked| Err(io::Error::other(panicked))).map_err(|error| Answer::Refused {
            why: format!("the proxy can't write down who gets requests, so nothing was changed: {error}"),
        })
    }
}

fn fenced(saved: &Saved, epoch: u64) -> Result<(), Answer> {
    if epoch < saved.epoch { Err(Answer::Fenced { highest: saved.epoch }) } else { Ok(()) }
}

/// What is to be remembered once this is so. Pure.
fn next(saved: &Saved, wanted: &Wanted, configured: &[Name]) -> Result<Saved, Answer> {
    fenced(saved, wanted.epoch)?;
    let refused = |why: String| Err(Answer::Refused { why });
    if wanted.to.is_empty() {
        return refused("nobody is to get requests, and then every one would fail".into());
    }
    let mut members = saved.members.clone();
    members.values_mut().for_each(|member| member.admitted = false);
    for (name, member) in &wanted.to {
        if !(1..=HEAVIEST).contains(&member.weight) {
            return refused(format!(
                "the weight of {name} is {}, and there are 1 to {HEAVIEST}",
                member.weight
            ));
        }
        let known = saved.members.get(name).map(|known| &known.address);
        let Some(address) = member.address.as_ref().or(known).cloned() else {
            return refused(format!("the proxy has no member {name}, and was told no address of it"));
        };
        if !is_address(&address) {
            return refused(format!("the address of {name} is {address:?}, and has to be HOST:PORT"));
        }
        members.insert(name.clone(), SavedMember { address, weight: member.weight, admitted: true });
    }
    members.retain(|name, member| member.admitted || configured.contains(name) || was_admitted(saved, name));
    Ok(Saved { epoch: wanted.epoch, members })
}

/// Members that get requests.
fn serving(saved: &Saved) -> BTreeMap<&Name, &SavedMember> {
    saved.members.iter().filter(|(_, member)| member.admitted).collect()
}

/// Who goes with this order stays known until the next one.
fn was_admitted(saved: &Saved, name: &Name) -> bool {
    saved.members.get(name).is_some_and(|member| member.admitted)
}

/// Whether a text is `HOST:PORT`.
pub(super) fn is_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
    let place = text.rsplit_once(':');
    text.len() <= 300
        && text.chars().all(plain)
        && place
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::protocol::WantedMember, *};

    fn wanted(epoch: u64, to: &[(&str, u32, Option<&str>)]) -> Wanted {
        let member = |(name, weight, address): &(&str, u32, Option<&str>)| {
            let address = address.map(str::to_owned);
            (name.parse().unwrap(), WantedMember { weight: *weight, address })
        };
        Wanted { epoch, attempt: "a".into(), to: to.iter().map(member).collect() }
    }

    fn saved(epoch: u64, members: &[(&str, bool)]) -> Saved {
        let member = |(name, admitted): &(&str, bool)| {
            let member = SavedMember { address: "10.0.0.1:80".into(), weight: 1, admitted: *admitted };
            (name.parse().unwrap(), member)
        };
        Saved { epoch, members: members.iter().map(member).collect() }
    }

    #[test]
    fn what_can_not_or_must_not_be_done_is_refused() {
        let now = saved(7, &[("a", true), ("b", false)]);
        for (wanted, why) in [
            (wanted(7, &[]), "nobody"),
            (wanted(7, &[("c", 1, None)]), "no member c"),
            (wanted(7, &[("a", 0, None)]), "1 to 256"),
            (wanted(7, &[("a", 257, None)]), "1 to 256"),
            (wanted(7, &[("c", 1, Some("10.0.0.3"))]), "HOST:PORT"),
            (wanted(7, &[("c", 1, Some("a b:80"))]), "HOST:PORT"),
        ] {
            let refusal = next(&now, &wanted, &[]).unwrap_err();
            assert!(matches!(&refusal, Answer::Refused { why: said } if said.contains(why)), "{refusal:?}");
        }
        assert_eq!(next(&now, &wanted(6, &[("a", 1, None)]), &[]), Err(Answer::Fenced { highest: 7 }));
    }

    #[test]
    fn members_that_only_an_order_named_are_forgotten_with_the_order_after_the_one_that_took_them_out() {
        let configured = ["a".parse().unwrap()];
        let with = |saved: &Saved, to: &[(&str, u32, Option<&str>)]| {
            next(saved, &wanted(7, to), &configured).unwrap()
        };
        let names = |saved: &Saved| saved.members.keys().map(ToString::to_string).collect::<Vec<_>>();
        let one = with(&saved(1, &[("a", true)]), &[("b", 1, Some("b.test:80"))]);
        assert_eq!(names(&one), ["a", "b"]);
        let two = with(&one, &[("a", 1, None)]);
        assert_eq!(names(&two), ["a", "b"]);
        assert_eq!(names(&with(&two, &[("a", 2, None)])), ["a"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_accepted_leaves_exactly_these_serving_and_is_the_same_again(
            now in prop::collection::btree_map("[a-d]", any::<bool>(), 0..4),
            to in prop::collection::btree_map("[a-e]", (0u32..300, any::<bool>()), 0..4),
            epochs in (0u64..3, 0u64..3),
        ) {
            let now: Vec<(&str, bool)> = now.iter().map(|(name, admitted)| (name.as_str(), *admitted)).collect();
            let to: Vec<(&str, u32, Option<&str>)> =
                to.iter().map(|(name, (weight, told))| (name.as_str(), *weight, told.then_some("10.0.0.9:80"))).collect();
            let (now, order) = (saved(epochs.0, &now), wanted(epochs.1, &to));
            let Ok(after) = next(&now, &order, &[]) else { return Ok(()) };
            prop_assert!(after.epoch >= now.epoch);
            let serving = after.members.iter().filter(|(_, member)| member.admitted).map(|(name, _)| name);
            prop_assert!(serving.eq(order.to.keys()) && !order.to.is_empty());
            let again = next(&after, &order, &[]).unwrap();
            prop_assert_eq!(next(&again, &order, &[]).unwrap(), again);
        }
    }
}
