//! Repositories and clocks that nobody tells of.

use staith_model::service::{ArrivalState, Happening, ProjectSettings, Schedule};
use staith_server::{
    store::Seen,
    triggers::{
        planner::{Outcome, OwnSchedule, Planned},
        polling, schedules,
    },
};

use crate::yard::{A, B, C, NOON, Yard, json, name, planned};

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
        priority: 7.try_into().unwrap(),
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
    let priority: i32 = yard.database().query_row("SELECT priority FROM runs", [], |row| row.get(0)).unwrap();
    assert_eq!(priority, 7, "as the administrator said of this clock");
}

/// A pipeline whose own clock is due at these times.
fn own(cron: &[&str], zone: &str) -> Option<OwnSchedule> {
    let cron = cron.iter().map(|text| (*text).to_owned()).collect();
    Some(OwnSchedule { branch: "main".into(), cron, time_zone: zone.into(), not: None })
}

/// The pipeline is another one from now on, and somebody pushed it.
async fn pushed(yard: &Yard, own: Option<OwnSchedule>, commit: &str) {
    *yard.script.own.lock().unwrap() = own;
    *yard.script.references.lock().unwrap() = vec![seen("refs/heads/main", commit)];
    yard.later(1);
    assert_eq!(poll(yard).await, 1);
    yard.look().await;
}

/// Reads the pipeline if that is due, and looks at the clocks; how many runs clocks have set off.
async fn own_runs(yard: &Yard) -> usize {
    schedules::read(&yard.site, &yard.project().await).await;
    look_at_clocks(yard).await;
    yard.look().await;
    yard.arrivals().await.iter().filter(|one| one.source == "schedule" && one.run.is_some()).count()
}

#[tokio::test]
async fn a_pipelines_own_schedule_is_fired_and_changes_with_the_file() {
    let yard = Yard::new().await;
    *yard.script.own.lock().unwrap() = own(&["0 3 * * *", "30 14 * * *"], "UTC");
    assert_eq!(own_runs(&yard).await, 0, "what was due before it was known is not missed");
    yard.later(2 * HOUR + HOUR / 2 - 60_000);
    assert_eq!(own_runs(&yard).await, 0);
    yard.later(60_000);
    assert_eq!((own_runs(&yard).await, own_runs(&yard).await), (1, 1), "14:30, once");
    let arrival = yard.arrivals().await.remove(0);
    let due =
        Happening::Schedule { name: "runner.toml".into(), branch: "main".into(), due: NOON + 5 * HOUR / 2 };
    assert_eq!(arrival.happening, due);
    yard.later(12 * HOUR + HOUR / 2);
    assert_eq!(own_runs(&yard).await, 2, "3:00");

    // The file says another time: what that would have been earlier is not missed, what comes is.
    pushed(&yard, own(&["0 2,4 * * *"], "UTC"), B).await;
    assert_eq!(own_runs(&yard).await, 2);
    yard.later(HOUR);
    assert_eq!(own_runs(&yard).await, 3, "4:00");
    // It says nothing any more, and a day later it does again.
    pushed(&yard, None, C).await;
    yard.later(24 * HOUR);
    assert_eq!(own_runs(&yard).await, 3);
    pushed(&yard, own(&["0 4 * * *"], "UTC"), A).await;
    assert_eq!(own_runs(&yard).await, 3, "what came due while there was none is not missed");
    yard.later(24 * HOUR);
    // It survives a restart of the server.
    let yard = yard.killed_and_started().await;
    assert_eq!(own_runs(&yard).await, 4);
}

#[tokio::test]
async fn a_pipelines_own_schedule_has_its_zone_and_its_changes_of_clocks() {
    let yard = Yard::new().await;
    *yard.script.own.lock().unwrap() = own(&["30 2 * * *"], "Europe/Berlin");
    own_runs(&yard).await;
    // 2027-03-28: from 2:00 to 3:00. It is due at 3:30, which is 1:30 of UTC.
    let spring = 1_806_192_000_000;
    yard.time.store(spring + HOUR, std::sync::atomic::Ordering::SeqCst);
    let before = own_runs(&yard).await;
    yard.later(HOUR / 2 - 60_000);
    assert_eq!(own_runs(&yard).await, before);
    yard.later(60_000);
    assert_eq!(own_runs(&yard).await, before + 1);
    // 2027-10-31: 2:30 comes twice, at 0:30 and at 1:30 of UTC.
    let autumn = 1_824_940_800_000;
    yard.time.store(autumn + HOUR / 2, std::sync::atomic::Ordering::SeqCst);
    let first = own_runs(&yard).await;
    yard.later(HOUR);
    assert_eq!(own_runs(&yard).await, first, "once");
}

#[tokio::test]
async fn a_pipelines_own_schedule_is_left_out_while_nothing_changes_unless_it_wants_to_run_always() {
    let yard = Yard::new().await;
    *yard.script.own.lock().unwrap() = own(&["0 3 * * *"], "UTC");
    own_runs(&yard).await;
    for (unless_built, runs) in [(true, 1), (true, 1), (false, 2)] {
        yard.later(24 * HOUR);
        let happening = Happening::Schedule { name: "runner.toml".into(), branch: "main".into(), due: 0 };
        let planned = Planned { unless_built, ..planned(&happening) };
        yard.script.answers.lock().unwrap().push(Ok(Outcome::Starts(Box::new(planned))));
        assert_eq!(own_runs(&yard).await, runs, "{unless_built}");
    }
}

#[tokio::test]
async fn a_pipelines_own_schedule_that_can_not_work_or_passes_no_filter_starts_nothing() {
    for bad in [
        own(&["0 25 * * *"], "UTC"),
        own(&["0 3 * * *"], "Europe/Nowhere"),
        own(&["0 3 * * *"], "UTC").map(|own| OwnSchedule { not: Some("no filter".into()), ..own }),
    ] {
        let yard = Yard::new().await;
        *yard.script.own.lock().unwrap() = bad;
        for _ in 0..3 {
            assert_eq!(own_runs(&yard).await, 0);
            yard.later(24 * HOUR);
        }
        assert_eq!(yard.count("arrivals"), 0);
    }
}

#[tokio::test]
async fn explain_shows_a_pipelines_own_schedule() {
    let yard = Yard::new().await;
    let token = yard.admin();
    let explain =
        async |asked: &str| yard.post(&token, "/api/v1/projects/shop/explain", asked.to_owned()).await;
    assert_eq!(explain(r#"{"event":"schedule"}"#).await.status(), 422, "there is none");
    *yard.script.own.lock().unwrap() = own(&["0 3 * * *"], "UTC");
    for asked in [r#"{"event":"schedule"}"#, r#"{"event":"schedule","schedule":"runner.toml"}"#] {
        let told = json(explain(asked).await).await;
        assert_eq!((&told["starts"], &told["trust"]), (&true.into(), &"protected".into()), "{told}");
    }
    let asked = yard.script.asked.lock().unwrap().pop().unwrap().happening;
    assert_eq!(asked, Happening::Schedule { name: "runner.toml".into(), branch: "main".into(), due: 0 });
    assert_eq!(yard.count("arrivals"), 0, "nothing is written down for it");
}
