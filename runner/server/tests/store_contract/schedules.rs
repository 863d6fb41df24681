//! Promises about clocks.

use staith_model::service::{ArrivalState, Happening};
use staith_server::store::StoreError;

use crate::bench::{A, B, Bench, NOW, name};

pub(crate) async fn a_clock_is_looked_at_and_what_came_due_is_there(bench: Bench) {
    bench.project("shop").await;
    let (shop, nightly) = (name("shop"), name("nightly"));
    let due = |bench: &Bench, project: &str, due: u64| {
        let happening = Happening::Schedule { name: "nightly".to_owned(), branch: "main".to_owned(), due };
        bench.told(project, &format!("nightly {due}"), happening)
    };
    let store = bench.store();
    assert_eq!(store.looked(&shop, &nightly).await.unwrap(), None);
    store.look(&shop, &nightly, None, NOW).await.unwrap();
    assert_eq!(store.looked(&shop, &nightly).await.unwrap(), Some(NOW));
    store.look(&shop, &nightly, Some(due(&bench, "shop", NOW + 5)), NOW + 10).await.unwrap();
    // After a crash the same comes due again: it is the same arrival.
    store.look(&shop, &nightly, Some(due(&bench, "shop", NOW + 5)), NOW + 20).await.unwrap();
    let refused = store.look(&shop, &nightly, Some(due(&bench, "blog", NOW + 6)), NOW + 30).await;
    assert!(matches!(refused, Err(StoreError::Unknown { .. })), "{refused:?}");

    let bench = bench.reopened();
    let store = bench.store();
    assert_eq!(store.looked(&shop, &nightly).await.unwrap(), Some(NOW + 20), "both happen, or none");
    let arrivals = store.arrivals_of(&shop, None, 10).await.unwrap();
    assert_eq!((arrivals.len(), arrivals[0].state), (1, ArrivalState::Waiting));

    assert_eq!(store.built(&shop, &nightly).await.unwrap(), None);
    for commit in [A, B] {
        store.builds(&shop, &nightly, commit).await.unwrap();
        assert_eq!(store.built(&shop, &nightly).await.unwrap().as_deref(), Some(commit));
    }
    store.look(&shop, &nightly, None, NOW + 40).await.unwrap();
    assert_eq!(
        store.built(&shop, &nightly).await.unwrap().as_deref(),
        Some(B),
        "looking changes nothing of it"
    );
    assert_eq!(store.built(&shop, &name("weekly")).await.unwrap(), None);
    for _ in 0..2 {
        store.forget(&shop, &nightly).await.unwrap();
        assert_eq!(store.looked(&shop, &nightly).await.unwrap(), None);
        assert_eq!(store.built(&shop, &nightly).await.unwrap(), None);
    }
}
