//! Promises about what forges are told.

use staith_server::store::{Letter, Standing, Store, Told};

use crate::bench::{Bench, C, NOW, ada, name};

fn told(state: Standing) -> Told {
    Told {
        commit: C.to_owned(),
        state,
        description: "in a line".to_owned(),
        event: "push".to_owned(),
        number: Some(1),
    }
}

async fn letters(store: &dyn Store, now: u64) -> Vec<Letter> {
    store.letters(now, 100).await.unwrap()
}

pub(crate) async fn of_a_run_only_what_is_true_now_is_told(bench: Bench) {
    bench.project("shop").await;
    let run = bench.run("shop", None, NOW).await;
    let store = bench.store();
    assert_eq!(store.collect(NOW).await.unwrap(), 1);
    assert_eq!(store.collect(NOW).await.unwrap(), 0, "nothing is new");
    let first = letters(store, NOW).await;
    assert_eq!(first.len(), 1);
    let (letter, wait) = (&first[0], Standing::Waiting);
    assert_eq!((letter.told.commit.as_str(), letter.told.state, letter.told.number), (C, wait, Some(1)));
    assert_eq!((letter.project.as_str(), letter.tries, letter.told.event.as_str()), ("shop", 0, "push"));
    store.cancel_run(run, ada(), "no more".to_owned(), NOW).await.unwrap();
    assert_eq!(store.collect(NOW + 1).await.unwrap(), 1);
    let bench = bench.reopened();
    let now = letters(bench.store(), NOW + 1).await;
    assert_eq!((now.len(), now[0].id), (1, letter.id), "the newer one takes the place of the older one");
    assert_eq!(now[0].told.state, Standing::Cancelled);
    assert!(now[0].version > letter.version);
    bench.store().heard(&now[0], NOW + 2).await.unwrap();
    assert!(letters(bench.store(), u64::MAX >> 1).await.is_empty());
}

pub(crate) async fn an_answer_to_what_is_no_longer_true_settles_nothing(bench: Bench) {
    bench.project("shop").await;
    let (store, shop) = (bench.store(), name("shop"));
    store.post(&shop, "run x", &told(Standing::Running), NOW).await.unwrap();
    let old = letters(store, NOW).await.remove(0);
    store.post(&shop, "run x", &told(Standing::Passed), NOW + 1).await.unwrap();
    store.heard(&old, NOW + 2).await.unwrap();
    store.unheard(&old, None, "gone", NOW + 2).await.unwrap();
    let new = letters(store, NOW + 2).await.remove(0);
    assert_eq!((new.told.state, new.tries), (Standing::Passed, 0));
    // Not heard: later, with one try more.
    store.unheard(&new, Some(NOW + 100), "away", NOW + 3).await.unwrap();
    assert!(letters(store, NOW + 99).await.is_empty());
    let again = letters(store, NOW + 100).await.remove(0);
    assert_eq!((again.tries, again.version), (1, new.version));
    // Something newer is told at once, whatever the older one waited for.
    store.post(&shop, "run x", &told(Standing::Failed), NOW + 101).await.unwrap();
    let newest = letters(store, NOW + 101).await.remove(0);
    assert_eq!((newest.told.state, newest.tries), (Standing::Failed, 0));
    // Never again, until there is something new.
    store.unheard(&newest, None, "refused", NOW + 102).await.unwrap();
    assert!(letters(store, u64::MAX >> 1).await.is_empty());
    store.post(&shop, "run x", &told(Standing::Passed), NOW + 103).await.unwrap();
    assert_eq!(letters(store, NOW + 103).await.len(), 1);
}

pub(crate) async fn a_dead_forge_keeps_no_other_waiting(bench: Bench) {
    bench.project("shop").await;
    bench.project("blog").await;
    let store = bench.store();
    for number in 0..10 {
        let at = NOW + number;
        store.post(&name("shop"), &format!("run {number}"), &told(Standing::Passed), at).await.unwrap();
    }
    store.post(&name("blog"), "run 0", &told(Standing::Passed), NOW + 50).await.unwrap();
    let some = store.letters(NOW + 60, 3).await.unwrap();
    let whose: Vec<(&str, u64)> =
        some.iter().map(|letter| (letter.project.as_str(), letter.made - NOW)).collect();
    assert_eq!(whose, [("shop", 0), ("shop", 1), ("shop", 2), ("blog", 50)]);
}
