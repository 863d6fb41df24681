//! A backend: its members, who of them serve, and the choice of one for a request.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use staith_model::Name;
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

use super::{
    super::{
        check::{Check, Checked},
        route::{Claim, Destination, News, Nobody},
        upstream::Upstream,
    },
    protocol::{MemberStatus, Status},
    saved::{Saved, SavedMember},
};

/// What requests and orders share. Its lock is held for a moment only, never while anything is waited for.
#[derive(Debug)]
pub(super) struct Backend {
    table: Mutex<Table>,
    /// Counts up whenever choosing may come to something else.
    news: watch::Sender<u64>,
    served: AtomicU64,
    check: Arc<Check>,
}

#[derive(Debug, Default)]
struct Table {
    members: BTreeMap<Name, Member>,
    /// Programs that requests were taken from and that still have some.
    leaving: Vec<Leaving>,
    /// Until when requests are held, whoever could serve them.
    paused: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    address: String,
    weight: u32,
    admitted: bool,
    checked: Checked,
    /// Its turn: what smooth weighted round robin keeps for each member.
    turn: i64,
}

#[derive(Debug)]
struct Leaving {
    name: Name,
    address: String,
    upstream: Arc<Upstream>,
}

/// A member on its way in: found up, and not given anything yet.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) address: String,
    pub(super) checked: Checked,
}

impl Backend {
    /// A backend as it was saved. Its members are checked from now on. Must be called within a tokio runtime.
    pub(super) fn restore(saved: &Saved, check: Check) -> Self {
        let (check, news) = (Arc::new(check), watch::Sender::new(0));
        let member = |(name, saved): (&Name, &SavedMember)| {
            let SavedMember { address, weight, admitted } = saved.clone();
            let checked = Checked::start(&address, &check, &news);
            (name.clone(), Member { address, weight, admitted, checked, turn: 0 })
        };
        let members = saved.members.iter().map(member).collect();
        let table = Mutex::new(Table { members, ..Table::default() });
        Self { table, news, served: AtomicU64::new(0), check }
    }

    /// Begins to check somebody who is to come in.
    pub(super) fn prepare(&self, address: &str) -> Coming {
        Coming { address: address.to_owned(), checked: Checked::start(address, &self.check, &self.news) }
    }

    /// Whether a member gets requests at this address already.
    pub(super) fn admits(&self, name: &Name, address: &str) -> bool {
        let table = self.table();
        table.members.get(name).is_some_and(|member| member.admitted && member.address == address)
    }

    /// Whether a member that gets requests is up, and what its last check said.
    pub(super) fn health(&self, name: &Name) -> Option<(bool, String)> {
        let table = self.table();
        let member = table.members.get(name)?;
        Some((member.checked.up() == Some(true), member.checked.said()))
    }

    /// Makes this who gets requests from now on: when it returns, no request is sent to anybody else any more. Those that
    /// come bring their proof of being up with them.
    pub(super) fn publish(&self, saved: &Saved, mut coming: BTreeMap<Name, Coming>) {
        let mut table = self.table();
        let mut before = std::mem::take(&mut table.members);
        for (name, SavedMember { address, weight, admitted }) in saved.members.clone() {
            let known = before.remove(&name);
            let new = coming.remove(&name).filter(|coming| admitted && coming.address == address);
            let (checked, turn) = match (known, new) {
                (Some(known), None) if known.address == address => {
                    if known.admitted && !admitted {
                        table.leave(&name, &known);
                    }
                    (known.checked, known.turn)
                }
                (known, new) => {
                    if let Some(known) = known {
                        table.leave(&name, &known);
                    }
                    let checked = new.map(|new| new.checked);
                    (checked.unwrap_or_else(|| Checked::start(&address, &self.check, &self.news)), 0)
                }
            };
            table.members.insert(name, Member { address, weight, admitted, checked, turn });
        }
        for (name, gone) in before {
            table.leave(&name, &gone);
        }
        drop(table);
        self.tell_news();
    }

    /// Requests of those that went, by member. One that has come back is not waited for.
    pub(super) fn left(&self) -> BTreeMap<Name, u64> {
        let table = self.table();
        table.requests_left(|leaving| {
            let back = |member: &Member| member.admitted && member.address == leaving.address;
            !table.members.get(&leaving.name).is_some_and(back)
        })
    }

    /// Holds requests that begin from now on, for as long as this at most.
    pub(super) fn pause(&self, at_most: Duration) {
        self.table().paused = Some(Instant::now() + at_most);
        self.tell_news();
    }

    /// Lets requests go on.
    pub(super) fn resume(&self) {
        self.table().paused = None;
        self.tell_news();
    }

    /// Everything about it that can be told.
    pub(super) fn status(&self, epoch: u64) -> Status {
        let table = self.table();
        let mut left = table.requests_left(|_| true);
        let members = table.members.iter().map(|(name, member)| {
            let status = MemberStatus {
                address: member.address.clone(),
                weight: member.weight,
                admitted: member.admitted,
                up: member.checked.up(),
                check: member.checked.said(),
                in_flight: in_use(member, &table.leaving) + left.remove(name).unwrap_or(0),
            };
            (name.clone(), status)
        });
        Status {
            epoch,
            members: members.collect(),
            served: self.served.load(Ordering::Relaxed),
            paused: table.is_paused(),
            leaving: left,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_news(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Requests on a member's present program, unless they are counted among those that leave.
fn in_use(member: &Member, leaving: &[Leaving]) -> u64 {
    let upstream = member.checked.upstream();
    let is_leaving = leaving.iter().any(|leaving| Arc::ptr_eq(&leaving.upstream, upstream));
    if is_leaving { 0 } else { upstream.in_flight() }
}

impl Table {
    fn leave(&mut self, name: &Name, member: &Member) {
        let upstream = Arc::clone(member.checked.upstream());
        upstream.close_idle();
        self.leaving
            .retain(|leaving| leaving.upstream.in_flight() > 0 && !Arc::ptr_eq(&leaving.upstream, &upstream));
        if upstream.in_flight() > 0 {
            self.leaving.push(Leaving { name: name.clone(), address: member.address.clone(), upstream });
        }
    }

    fn requests_left(&self, wanted: impl Fn(&Leaving) -> bool) -> BTreeMap<Name, u64> {
        let mut left = BTreeMap::new();
        for leaving in self.leaving.iter().filter(|leaving| wanted(leaving)) {
            let requests = leaving.upstream.in_flight();
            if requests > 0 {
                *left.entry(leaving.name.clone()).or_default() += requests;
            } else {
                // A program that finishes its connections before it ends would wait for them.
                leaving.upstream.close_idle();
            }
        }
        left
    }

    fn is_paused(&self) -> bool {
        self.paused.is_some_and(|until| Instant::now() < until)
    }

    /// Smooth weighted round robin: exact shares, and no bursts on one member.
    fn next(&mut self) -> Option<&Member> {
        let mut total = 0;
        let mut best: Option<&mut Member> = None;
        let serve = |member: &&mut Member| {
            member.admitted && member.weight > 0 && member.checked.upstream().is_accepting()
        };
        for member in self.members.values_mut().filter(serve) {
            let weight = i64::from(member.weight);
            (member.turn, total) = (member.turn + weight, total + weight);
            if best.as_ref().is_none_or(|best| member.turn > best.turn) {
                best = Some(member);
            }
        }
        let best = best?;
        best.turn -= total;
        Some(best)
    }
}

impl Destination for Backend {
    fn choose(&self) -> Result<Claim, Nobody> {
        // Counted while the table is locked: whoever has changed it knows of every request on a member that went.
        let mut table = self.table();
        if table.is_paused() {
            return Err(Nobody::Now);
        }
        if let Some(member) = table.next() {
            return Ok(Claim::on(member.checked.upstream()));
        }
        let anybody = table.members.values().any(|member| member.admitted);
        Err(if anybody { Nobody::Now } else { Nobody::Released })
    }

    fn news(&self) -> News<'_> {
        let mut news = self.news.subscribe();
        let paused = self.table().paused;
        Box::pin(async move {
            let over = async {
                match paused.filter(|until| *until > Instant::now()) {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = news.changed() => {}
                () = over => {}
            }
        })
    }

    fn count_served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        name.parse().unwrap()
    }

    async fn listening() -> (tokio::net::TcpListener, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    fn saved(members: &[(&str, &str, u32, bool)]) -> Saved {
        let member = |(of, address, weight, admitted): &(&str, &str, u32, bool)| {
            (name(of), SavedMember { address: (*address).into(), weight: *weight, admitted: *admitted })
        };
        Saved { epoch: 1, members: members.iter().map(member).collect() }
    }

    async fn up(backend: &Backend, member: &str) {
        loop {
            let news = backend.news();
            if backend.health(&name(member)).is_some_and(|(up, _)| up) {
                return;
            }
            news.await;
        }
    }

    #[tokio::test]
    async fn shares_are_those_of_the_weights_and_who_is_not_up_has_none() {
        let ((one, a), (_two, b)) = (listening().await, listening().await);
        let members = saved(&[("a", &a, 3, true), ("b", &b, 1, true), ("c", &b, 9, false)]);
        let check = Check { interval: Duration::from_millis(20), rise: 1, fall: 1, ..Check::default() };
        let backend = Backend::restore(&members, check);
        up(&backend, "a").await;
        up(&backend, "b").await;
        let mut claims = vec![];
        for _ in 0..40 {
            claims.push(backend.choose().unwrap());
        }
        let in_flight = |member: &str| backend.status(1).members[&name(member)].in_flight;
        assert_eq!((in_flight("a"), in_flight("b"), in_flight("c")), (30, 10, 0));
        drop((claims, one));
        while backend.health(&name("a")).unwrap().0 {
            tokio::task::yield_now().await;
        }
        let claim = backend.choose().unwrap();
        assert_eq!(in_flight("b"), 1);
        drop(claim);
    }

    #[tokio::test]
    async fn who_goes_gets_nothing_new_and_is_counted_until_done() {
        let ((_one, a), (_two, b)) = (listening().await, listening().await);
        let backend = Backend::restore(&saved(&[("a", &a, 1, true), ("b", &b, 1, false)]), Check::default());
        up(&backend, "a").await;
        up(&backend, "b").await;
        let old = backend.choose().unwrap();
        backend.publish(&saved(&[("a", &a, 1, false), ("b", &b, 1, true)]), BTreeMap::new());
        assert_eq!(backend.left(), BTreeMap::from([(name("a"), 1)]));
        let _new = backend.choose().unwrap();
        assert_eq!(backend.status(1).members[&name("b")].in_flight, 1);
        drop(old);
        assert_eq!(backend.left(), BTreeMap::new());
    }

    #[tokio::test]
    async fn who_comes_back_is_not_waited_for() {
        let ((_one, a), (_two, b)) = (listening().await, listening().await);
        let (before, after) = (
            saved(&[("a", &a, 1, true), ("b", &b, 1, false)]),
            saved(&[("a", &a, 1, false), ("b", &b, 1, true)]),
        );
        let backend = Backend::restore(&before, Check::default());
        up(&backend, "a").await;
        up(&backend, "b").await;
        let _old = backend.choose().unwrap();
        backend.publish(&after, BTreeMap::new());
        let _new = backend.choose().unwrap();
        let coming = BTreeMap::from([(name("a"), backend.prepare(&a))]);
        backend.publish(&before, coming);
        assert_eq!(backend.left(), BTreeMap::from([(name("b"), 1)]));
        assert_eq!(backend.status(1).members[&name("a")].in_flight, 1);
    }

    #[tokio::test]
    async fn a_pause_holds_and_ends_by_itself() {
        let (_one, a) = listening().await;
        let backend = Backend::restore(&saved(&[("a", &a, 1, true)]), Check::default());
        up(&backend, "a").await;
        assert!(backend.choose().is_ok());
        backend.pause(Duration::from_millis(5));
        while backend.choose().is_err() {
            backend.news().await;
        }
        backend.pause(Duration::from_secs(3600));
        assert_eq!(backend.choose().err(), Some(Nobody::Now));
        let news = backend.news();
        backend.resume();
        news.await;
        assert!(backend.choose().is_ok());
        let nobody = Backend::restore(&saved(&[("a", &a, 1, false)]), Check::default());
        assert_eq!(nobody.choose().err(), Some(Nobody::Released));
    }
}
