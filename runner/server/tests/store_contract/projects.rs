//! Promises about projects.

use staith_model::{
    Digest,
    service::{ArrivalState, ProjectSettings},
};
use staith_server::store::{Approval, Observed, SealedSecret, SecretPlace, StoreError};

use crate::bench::{A, B, Bench, NOW, ada, name, project, push, request, seen};

pub(crate) async fn a_project_is_there_from_its_beginning_to_its_end(bench: Bench) {
    let shop = bench.project("shop").await;
    bench.project("blog").await;
    let bench = bench.reopened();
    let store = bench.store();
    assert_eq!(store.project(&name("shop")).await.unwrap(), Some(shop.clone()));
    assert_eq!(store.project(&name("other")).await.unwrap(), None);
    let names: Vec<String> =
        store.projects().await.unwrap().iter().map(|project| project.name.to_string()).collect();
    assert_eq!(names, ["blog", "shop"]);
    let again = store.add_project(shop, vec![], &ada()).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    store.remove_project(&name("shop"), &ada(), NOW).await.unwrap();
    assert_eq!(store.project(&name("shop")).await.unwrap(), None);
    let unknown = store.remove_project(&name("shop"), &ada(), NOW).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
    assert_eq!(store.projects().await.unwrap().len(), 1);
    assert_eq!(bench.done().await, ["project-added", "project-added", "project-removed"]);
}

pub(crate) async fn settings_are_changed_by_who_looked_at_them(bench: Bench) {
    let before = bench.project("shop").await.settings;
    let after = ProjectSettings { poll_seconds: Some(60), ..before.clone() };
    let other = ProjectSettings { batch_pushes: true, ..before.clone() };
    let (store, shop) = (bench.store(), name("shop"));
    store.change_project(&shop, &before, &after, &ada(), NOW).await.unwrap();
    let late = store.change_project(&shop, &before, &other, &ada(), NOW).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
    let unknown = store.change_project(&name("blog"), &before, &other, &ada(), NOW).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
    let bench = bench.reopened();
    assert_eq!(bench.store().project(&shop).await.unwrap().unwrap().settings, after);
    assert_eq!(bench.done().await, ["project-added", "project-changed"]);
}

pub(crate) async fn what_has_open_runs_stays(bench: Bench) {
    bench.project("shop").await;
    let (store, shop) = (bench.store(), name("shop"));
    let (free, first, second) = (
        bench.run("shop", None, NOW).await,
        bench.run("shop", Some("main"), NOW).await,
        bench.run("shop", Some("main"), NOW).await,
    );
    let mut open = store.open_runs(&shop, "main").await.unwrap();
    open.sort();
    let mut expected = vec![first.clone(), second.clone()];
    expected.sort();
    assert_eq!(open, expected);
    let arrived = bench.tell("shop", "d", push("main", B), NOW).await;
    let refused = store.remove_project(&shop, &ada(), NOW).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert_eq!(store.arrival(&arrived).await.unwrap().unwrap().state, ArrivalState::Waiting);
    for run in [&free, &first, &second] {
        store.cancel_run(run.clone(), ada(), "no more".to_owned(), NOW).await.unwrap();
    }
    assert!(store.open_runs(&shop, "main").await.unwrap().is_empty());
    store.remove_project(&shop, &ada(), NOW).await.unwrap();
    assert_eq!(store.arrival(&arrived).await.unwrap().unwrap().state, ArrivalState::Ignored);
    assert_eq!(store.run(free).await.unwrap().run.number, 1, "what there was stays");
}

/// Nothing that was set, seen, agreed to or kept secret for the one is the other's.
pub(crate) async fn another_project_of_the_same_name_is_another_one(bench: Bench) {
    bench.project("shop").await;
    let (store, shop) = (bench.store(), name("shop"));
    let run = bench.run("shop", None, NOW).await;
    store.cancel_run(run, ada(), "no more".to_owned(), NOW).await.unwrap();
    bench.tell("shop", "d", request(7, B), NOW).await;
    let pipeline = Digest::of(b"pipeline");
    let approval = Approval { project: shop.clone(), number: 7, head: B.to_owned(), pipeline };
    store.approve(approval.clone(), &ada(), NOW).await.unwrap();
    store.look(&shop, &name("nightly"), None, NOW).await.unwrap();
    store.builds(&shop, &name("nightly"), A).await.unwrap();
    let place = SecretPlace { project: shop.clone(), environment: None, name: name("token") };
    let sealed = SealedSecret { place, sealed: b"sealed".to_vec() };
    store.set_secret(sealed, false, ada(), NOW).await.unwrap();

    store.remove_project(&shop, &ada(), NOW).await.unwrap();
    assert!(store.secrets(&shop).await.unwrap().is_empty(), "nobody is left who could name them");
    let mut other = project("shop");
    other.origin = "/srv/git/elsewhere.git".to_owned();
    other.settings.batch_pushes = true;
    store.add_project(other.clone(), vec![seen("refs/heads/trunk", B)], &ada()).await.unwrap();
    assert_eq!(store.project(&shop).await.unwrap(), Some(other));
    assert!(store.secrets(&shop).await.unwrap().is_empty());
    assert!(!store.is_approved(&approval).await.unwrap());
    assert_eq!(store.looked(&shop, &name("nightly")).await.unwrap(), None);
    assert_eq!(store.built(&shop, &name("nightly")).await.unwrap(), None);
    let now = vec![seen("refs/heads/main", A), seen("refs/heads/trunk", B)];
    let observed = Observed {
        project: shop,
        began: NOW + 1,
        now,
        ids: |now| staith_model::ArrivalId::new(now, [9; 10]),
    };
    let found = store.observed(observed, NOW + 1).await.unwrap();
    assert_eq!(found.len(), 1, "`main` is new to it, and `trunk` is not");
    let again = bench.run("shop", None, NOW).await;
    assert_eq!(store.run(again).await.unwrap().run.number, 2, "numbers are never given twice");
}
