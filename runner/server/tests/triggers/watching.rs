//! Repositories and clocks that nobody tells of.

use staith_model::service::{ArrivalState, Happening, ProjectSettings, Schedule};
use staith_server::{
    store::Seen,
    triggers::{polling, schedules},
};

use crate::yard::{A, B, C, NOON, Yard, name};

fn seen(reference: &str, commit: &str) -> Seen {
    Seen { reference: reference.into(), commit: commit.into() }
}

async fn poll(yard: &Yard) -> usize {
    polling::poll(&yard.site, &yard.project().await).await.unwrap().len()
}

#[tokio::test]
async fn what_happened_while_the_server_was_down_is_found_once() {
    let yard = Yard::new().await;
    assert_eq!(poll(&yard).await, 0, "what was there already is nothing that happened");
    let yard = {
        let script = std::sync::Arc::clone(&yard.script);
        let yard = yard.killed_and_started().await;
        *script.references.lock().unwrap() =
            vec![seen("refs/heads/main", B), seen("refs/heads/topic", C), seen("refs/tags/v1", A)];
        yard
    };
    assert_eq!(poll(&yard).await, 3);
    assert_eq!(poll(&yard).await, 0);
    yard.look().await;
    let mut found: Vec<_> = yard.arrivals().await.into_iter().map(|arrival| arrival.happening).collect();
    found.sort_by_key(|happening| format!("{happening:?}"));
    assert_eq!(
        found,
        [
            Happening::Push { branch: "main".into(), before: Some(A.into()), after: B.into() },
            Happening::Push { branch: "topic".into(), before: None, after: C.into() },
            Happening::Tag { tag: "v1".into(), commit: A.into() },
        ]
    );
    assert_eq!(yard.count("runs"), 3);
    // What is gone is forgotten, and new when it comes back.
    let (all, some) = (yard.script.references.lock().unwrap().clone(), vec![seen("refs/heads/main", B)]);
    *yard.script.references.lock().unwrap() = some;
    assert_eq!(poll(&yard).await, 0);
    *yard.script.references.lock().unwrap() = all;
    assert_eq!(poll(&yard).await, 2);
}

#[tokio::test]
async fn what_two_sources_tell_is_one_run() {
    let yard = Yard::new().await;
    let token = yard.admin();
    let push = |old: &str, new: &str| format!("{old} {new} refs/heads/main\n");
    // The hook first, then the comparison.
    yard.post(&token, "/api/v1/projects/shop/pushes", push(A, B)).await;
    *yard.script.references.lock().unwrap() = vec![seen("refs/heads/main", B)];
    assert_eq!(poll(&yard).await, 0);
    // The comparison first, then the hook.
    yard.later(1000);
    *yard.script.references.lock().unwrap() = vec![seen("refs/heads/main", C)];
    assert_eq!(poll(&yard).await, 1);
    yard.post(&token, "/api/v1/projects/shop/pushes", push(B, C)).await;
    yard.look().await;
    assert_eq!(yard.count("runs"), 2);
    assert_eq!(yard.arrivals().await.iter().filter(|one| one.state == ArrivalState::Ignored).count(), 1);
    // Events in another order than they happened in: the last word is the repository's.
    yard.later(1000);
    yard.post(&token, "/api/v1/projects/shop/pushes", push(B, A)).await;
    yard.post(&token, "/api/v1/projects/shop/pushes", push(C, B)).await;
    *yard.script.references.lock().unwrap() = vec![seen("refs/heads/main", A)];
    assert_eq!(poll(&yard).await, 0, "it was told already, though something else was told after it");
}

const HOUR: u64 = 60 * 60 * 1000;

fn scheduled(only_if_changed: bool) -> ProjectSettings {
    let schedule = Schedule {
        name: name("nightly"),
        cron: "0 3 * * *".into(),
        time_zone: "Europe/Berlin".into(),
        branch: "main".into(),
        only_if_changed,
    };
    ProjectSettings { schedules: vec![schedule], ..ProjectSettings::default() }
}

async fn look_at_clocks(yard: &Yard) {
    schedules::look(&yard.site, &yard.project().await).await.unwrap();
}

#[tokio::test]
async fn a_schedule_comes_due_in_its_zone_and_once_after_any_downtime() {
    let yard = Yard::with(scheduled(false)).await;
    look_at_clocks(&yard).await;
    assert_eq!(yard.count("arrivals"), 0, "what was due before there was a schedule is not missed");
    // Noon of UTC and 13 hours and 59 minutes: a minute too early.
    yard.later(14 * HOUR - 60_000);
    look_at_clocks(&yard).await;
    assert_eq!(yard.count("arrivals"), 0);
    yard.later(60_000);
    look_at_clocks(&yard).await;
    look_at_clocks(&yard).await;
    assert_eq!(yard.count("arrivals"), 1);
    // The clock is put back, and goes on.
    yard.time.fetch_sub(2 * HOUR, std::sync::atomic::Ordering::SeqCst);
    look_at_clocks(&yard).await;
    yard.later(3 * HOUR);
    look_at_clocks(&yard).await;
    assert_eq!(yard.count("arrivals"), 1);
    // A week in which the server was down.
    yard.later(7 * 24 * HOUR);
    let yard = yard.killed_and_started().await;
    look_at_clocks(&yard).await;
    look_at_clocks(&yard).await;
    assert_eq!(yard.count("arrivals"), 2);
    let Happening::Schedule { due, .. } = yard.arrivals().await[0].happening else { panic!("a schedule") };
    assert_eq!((due - NOON) % (24 * HOUR), 14 * HOUR, "the last time that it was due");
}

#[tokio::test]
async fn a_schedule_is_left_out_while_nothing_changes_if_that_is_wanted() {
    let yard = Yard::with(scheduled(true)).await;
    look_at_clocks(&yard).await;
    for day in 0..3 {
        yard.later(24 * HOUR);
        look_at_clocks(&yard).await;
        yard.look().await;
        assert_eq!((yard.count("arrivals"), yard.count("runs")), (day + 1, 1), "the commit is the same");
    }
    assert!(yard.arrivals().await[0].why.as_ref().unwrap().contains("nothing has changed"));
}
