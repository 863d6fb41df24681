//! Promises about what happened at repositories.

use staith_model::{
    ArrivalId, Digest,
    service::{ArrivalState, Happening},
};
use staith_server::store::{Approval, Finding, NewArrival, Observed, Seen, Store, StoreError};

use crate::bench::{A, B, Bench, C, NOW, ada, name, push, request, seen};

fn is(state: ArrivalState) -> Finding {
    Finding::Is(state, "so it is".to_owned(), Some("look at it".to_owned()))
}

async fn state(store: &dyn Store, id: &ArrivalId) -> ArrivalState {
    store.arrival(id).await.unwrap().unwrap().state
}

async fn waiting(store: &dyn Store, now: u64) -> Vec<ArrivalId> {
    store.waiting(now, 100).await.unwrap().into_iter().map(|arrival| arrival.id).collect()
}

pub(crate) async fn what_is_told_again_is_the_same(bench: Bench) {
    bench.project("shop").await;
    bench.project("blog").await;
    let first = bench.tell("shop", "d1", push("main", B), NOW).await;
    let again = bench.tell("shop", "d1", push("main", C), NOW + 5).await;
    assert_eq!(first, again, "what they call it counts");
    let others = [
        bench.tell("shop", "d2", push("topic", B), NOW).await,
        bench.tell("blog", "d1", push("main", B), NOW).await,
    ];
    let by_hook = NewArrival { source: "hook", ..bench.told("shop", "d1", push("topic", C)) };
    let by_hook = bench.store().arrive(vec![by_hook], NOW).await.unwrap().remove(0);
    let bench = bench.reopened();
    let kept = bench.store().arrival(&first).await.unwrap().unwrap();
    assert_eq!((kept.happening, kept.received, kept.source.as_str()), (push("main", B), NOW, "github"));
    assert_eq!((kept.state, kept.tries, kept.run), (ArrivalState::Waiting, 0, None));
    let mut all = vec![first.clone(), by_hook, others[0].clone(), others[1].clone()];
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
    // It keeps the state that it has.
    bench.store().settle(&first, is(ArrivalState::Refused), NOW).await.unwrap();
    assert_eq!(bench.tell("shop", "d1", push("main", B), NOW + 9).await, first);
    assert_eq!(state(bench.store(), &first).await, ArrivalState::Refused);
}

pub(crate) async fn a_list_is_written_down_whole_or_not_at_all(bench: Bench) {
    bench.project("shop").await;
    let list = vec![bench.told("shop", "d/0", push("a", B)), bench.told("gone", "d/1", push("b", B))];
    let refused = bench.store().arrive(list, NOW).await;
    assert!(matches!(refused, Err(StoreError::Unknown { .. })), "{refused:?}");
    assert!(waiting(bench.store(), NOW).await.is_empty());
    let list = vec![bench.told("shop", "d/0", push("a", B)), bench.told("shop", "d/1", push("b", B))];
    let ids = bench.store().arrive(list, NOW).await.unwrap();
    assert_eq!(waiting(bench.store(), NOW).await, ids, "in the order in which they are told");
}

pub(crate) async fn what_is_known_already_starts_nothing(bench: Bench) {
    bench.project("shop").await;
    let known = bench.tell("shop", "d1", push("main", A), NOW).await;
    let kept = bench.store().arrival(&known).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.why.is_some()), (ArrivalState::Ignored, true));
    let news = bench.tell("shop", "d2", push("main", B), NOW).await;
    let back = bench.tell("shop", "d3", push("main", A), NOW).await;
    assert_eq!(waiting(bench.store(), NOW).await, [news, back], "it went back, which is news");
    let gone =
        bench.tell("shop", "d4", Happening::Gone { reference: "refs/heads/main".to_owned() }, NOW).await;
    let new = bench.tell("shop", "d5", push("main", A), NOW).await;
    for id in [gone, new] {
        assert_eq!(state(bench.store(), &id).await, ArrivalState::Waiting);
    }
}

/// What a comparison finds.
async fn observe(bench: &Bench, now: Vec<Seen>, at: u64) -> Vec<Happening> {
    fn id(now: u64) -> ArrivalId {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut bytes = [1; 10];
        bytes[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        ArrivalId::new(now, bytes)
    }
    let observed = Observed { project: name("shop"), began: at, now, ids: id };
    let mut found = Vec::new();
    for id in bench.store().observed(observed, at).await.unwrap() {
        found.push(bench.store().arrival(&id).await.unwrap().unwrap().happening);
    }
    found
}

pub(crate) async fn what_nobody_told_is_found_once(bench: Bench) {
    bench.project("shop").await;
    let main = |commit: &str| seen("refs/heads/main", commit);
    assert_eq!(observe(&bench, vec![main(A)], NOW + 1).await, []);
    let moved =
        Happening::Push { branch: "main".to_owned(), before: Some(A.to_owned()), after: B.to_owned() };
    let tag = Happening::Tag { tag: "v1".to_owned(), commit: A.to_owned() };
    let now = vec![main(B), seen("refs/tags/v1", A), seen("refs/notes/x", A)];
    assert_eq!(observe(&bench, now.clone(), NOW + 2).await, [moved, tag]);
    let bench = bench.reopened();
    assert_eq!(observe(&bench, now, NOW + 3).await, []);
    // A hook tells; then there is nothing to find, whatever order they tell it in.
    bench.tell("shop", "d1", push("main", C), NOW + 4).await;
    bench.tell("shop", "d2", push("main", A), NOW + 5).await;
    assert_eq!(observe(&bench, vec![main(C)], NOW + 6).await, []);
    // What is gone is forgotten, and new when it is back.
    assert_eq!(observe(&bench, vec![], NOW + 7).await, []);
    let back = Happening::Push { branch: "main".to_owned(), before: None, after: C.to_owned() };
    assert_eq!(observe(&bench, vec![main(C)], NOW + 8).await, [back]);
    let unknown =
        Observed { project: name("blog"), began: NOW, now: vec![], ids: |now| ArrivalId::new(now, [0; 10]) };
    let unknown = bench.store().observed(unknown, NOW).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
}

pub(crate) async fn one_project_keeps_no_other_waiting(bench: Bench) {
    bench.project("busy").await;
    bench.project("quiet").await;
    for number in 0..10 {
        bench.tell("busy", &format!("d{number}"), push(&format!("b{number}"), B), NOW + number).await;
    }
    bench.tell("quiet", "d", push("main", B), NOW + 50).await;
    let some = bench.store().waiting(NOW + 60, 3).await.unwrap();
    let whose: Vec<(&str, u64)> =
        some.iter().map(|arrival| (arrival.project.as_str(), arrival.received - NOW)).collect();
    assert_eq!(whose, [("busy", 0), ("busy", 1), ("busy", 2), ("quiet", 50)]);
}

pub(crate) async fn what_happened_to_a_branch_later_waits_for_what_was_before(bench: Bench) {
    bench.project("shop").await;
    let first = bench.tell("shop", "d1", push("main", B), NOW).await;
    let later = bench.tell("shop", "d2", push("main", C), NOW + 1).await;
    let other = bench.tell("shop", "d3", push("topic", B), NOW + 2).await;
    let store = bench.store();
    assert_eq!(waiting(store, NOW + 2).await, [first.clone(), later.clone(), other.clone()]);
    store.settle(&first, Finding::Again(NOW + 100, "away".to_owned()), NOW + 3).await.unwrap();
    assert_eq!(waiting(store, NOW + 99).await, std::slice::from_ref(&other));
    let bench = bench.reopened();
    let store = bench.store();
    assert_eq!(waiting(store, NOW + 100).await, [first.clone(), later.clone(), other.clone()]);
    let tried = store.arrival(&first).await.unwrap().unwrap();
    assert_eq!((tried.tries, tried.why.as_deref()), (1, Some("away")));
    store.settle(&first, is(ArrivalState::Done), NOW + 101).await.unwrap();
    assert_eq!(waiting(store, NOW + 101).await, [later, other]);
}

pub(crate) async fn what_has_ended_stays_as_it_is(bench: Bench) {
    bench.project("shop").await;
    let store = bench.store();
    for (place, end) in
        [ArrivalState::Done, ArrivalState::Ignored, ArrivalState::Refused].into_iter().enumerate()
    {
        let id = bench.tell("shop", &format!("d{place}"), push(&format!("b{place}"), B), NOW).await;
        store.settle(&id, is(end), NOW).await.unwrap();
        let kept = store.arrival(&id).await.unwrap().unwrap();
        assert_eq!((kept.state, kept.remedy.as_deref()), (end, Some("look at it")));
        for other in [ArrivalState::Done, ArrivalState::Held, ArrivalState::Waiting] {
            let late = store.settle(&id, is(other), NOW + 1).await;
            assert!(matches!(late, Err(StoreError::Conflict(_))), "{end:?} {other:?}: {late:?}");
        }
        assert_eq!(state(store, &id).await, end);
    }
    let unknown = store.settle(&ArrivalId::new(0, [7; 10]), is(ArrivalState::Done), NOW).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
}

pub(crate) async fn only_what_was_agreed_to_is_free(bench: Bench) {
    bench.project("shop").await;
    bench.project("blog").await;
    let agreed = |project: &str, number, head: &str, pipeline: &[u8]| Approval {
        project: name(project),
        number,
        head: head.to_owned(),
        pipeline: Digest::of(pipeline),
    };
    let held = bench.tell("shop", "d1", request(7, B), NOW).await;
    bench.store().settle(&held, is(ArrivalState::Held), NOW).await.unwrap();
    assert!(waiting(bench.store(), NOW).await.is_empty());
    let exact = agreed("shop", 7, B, b"mine");
    for other in [agreed("blog", 7, B, b"mine"), agreed("shop", 8, B, b"mine"), agreed("shop", 7, C, b"mine")]
    {
        assert_eq!(bench.store().approve(other, &ada(), NOW).await.unwrap(), 0);
        assert_eq!(state(bench.store(), &held).await, ArrivalState::Held);
        assert!(!bench.store().is_approved(&exact).await.unwrap());
    }
    assert_eq!(bench.store().approve(exact.clone(), &ada(), NOW + 1).await.unwrap(), 1);
    let bench = bench.reopened();
    let store = bench.store();
    assert!(store.is_approved(&exact).await.unwrap());
    assert!(!store.is_approved(&agreed("shop", 7, B, b"another")).await.unwrap());
    assert_eq!(waiting(store, NOW + 1).await, std::slice::from_ref(&held), "it is looked into again");
    store.settle(&held, is(ArrivalState::Held), NOW + 2).await.unwrap();
    // The request goes on: what was held of it before can't be agreed to any more.
    let newer = bench.tell("shop", "d2", request(7, C), NOW + 3).await;
    assert_eq!(state(store, &held).await, ArrivalState::Ignored);
    assert_eq!(state(store, &newer).await, ArrivalState::Waiting);
    assert_eq!(store.approve(exact, &ada(), NOW + 4).await.unwrap(), 0);
    assert_eq!(state(store, &held).await, ArrivalState::Ignored);
    let unknown = store.approve(agreed("gone", 7, B, b"mine"), &ada(), NOW).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
}

pub(crate) async fn pages_go_from_the_newest_to_the_oldest(bench: Bench) {
    bench.project("shop").await;
    bench.project("blog").await;
    let mut told = Vec::new();
    for number in 0..5 {
        told.push(bench.tell("shop", &format!("d{number}"), push(&format!("b{number}"), B), NOW).await);
        bench.tell("blog", &format!("d{number}"), push(&format!("b{number}"), B), NOW).await;
    }
    told.reverse();
    let store = bench.store();
    let (mut all, mut before) = (Vec::new(), None::<ArrivalId>);
    loop {
        let page = store.arrivals_of(&name("shop"), before.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id.clone());
        all.extend(page.into_iter().map(|arrival| arrival.id));
    }
    assert_eq!(all, told);
}
