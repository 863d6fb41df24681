//! Rows that make no sense are left alone, whatever wrote them, and the others go on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod queue_stage;

use queue_stage::{Stage, name};
use staith_model::{
    ArrivalId,
    service::{Happening, JobSpec},
};
use staith_server::{
    store::{Claimable, NewArrival, Standing, StoreError, Told},
    upkeep,
};

/// Damages what these statements say.
fn damage(stage: &Stage, statements: &str) {
    stage.raw(|connection| {
        connection.pragma_update(None, "foreign_keys", false)?;
        connection.execute_batch(statements)
    });
}

/// The places that a check names.
fn named(stage: &Stage) -> Vec<String> {
    let data = stage.path().parent().unwrap().to_owned();
    let checked = upkeep::check(&stage.path(), &data).unwrap();
    checked.findings.into_iter().map(|finding| format!("{}: {}", finding.place, finding.what)).collect()
}

#[tokio::test]
async fn a_job_that_makes_no_sense_stops_no_other() {
    for (bad, is_named) in [
        ("UPDATE jobs SET spec_json = '[]' WHERE run = 'RUN'", true),
        ("UPDATE jobs SET labels_json = '{}' WHERE run = 'RUN'", true),
        ("DELETE FROM plans WHERE run = 'RUN'", false),
    ] {
        let stage = Stage::new();
        stage.project("shop");
        let runner = stage.runner("r", "default", &[]);
        let first = stage.add_one("shop").await;
        stage.pass(10);
        let second = stage.add_one("shop").await;
        damage(&stage, &bad.replace("RUN", first.as_str()));
        let given = stage.given(&runner, "a").await;
        let spec: JobSpec = serde_json::from_str(&given.spec_json).unwrap();
        assert_eq!(spec.run, second, "{bad}");
        let nothing = stage.claim(&runner, "b").await;
        assert!(matches!(nothing, Claimable::Nothing { .. }), "{bad}: {nothing:?}");
        let live = stage.store().all_live().await.unwrap();
        assert_eq!(live, [given.live], "nothing of what was tried is left");
        let named = named(&stage);
        assert_eq!(named.iter().any(|place| place.contains(first.as_str())), is_named, "{named:?}");
    }
}

#[tokio::test]
async fn an_attempt_that_makes_no_sense_takes_no_other_its_lease() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    stage.add_one("shop").await;
    stage.add_one("shop").await;
    let (bad, good) = (stage.given(&runner, "a").await, stage.given(&runner, "b").await);
    damage(&stage, &format!("UPDATE attempts SET runner = 'NO ID' WHERE id = '{}'", bad.live.attempt));
    assert_eq!(stage.store().all_live().await.unwrap(), [good.live]);
    assert!(named(&stage).iter().any(|place| place.contains(bad.live.attempt.as_str())));
}

#[tokio::test]
async fn a_project_an_arrival_or_a_message_that_makes_no_sense_hides_no_other() {
    let stage = Stage::new();
    for project in ["shop", "blog"] {
        stage.project(project);
    }
    let store = stage.store();
    let told = |branch: &str| NewArrival {
        id: ArrivalId::new(stage.now(), stage.chance()),
        project: name("shop"),
        source: "github",
        delivery: branch.to_owned(),
        happening: Happening::Push { branch: branch.to_owned(), before: None, after: "a".repeat(40) },
    };
    let arrived = store.arrive(vec![told("a"), told("b")], stage.now()).await.unwrap();
    for subject in ["run a", "run b"] {
        let told = Told {
            commit: "a".repeat(40),
            state: Standing::Passed,
            description: subject.to_owned(),
            event: "push".to_owned(),
            number: None,
        };
        store.post(&name("shop"), subject, &told, stage.now()).await.unwrap();
    }
    damage(
        &stage,
        &format!(
            "UPDATE projects SET settings_json = '{{\"no\": 1}}' WHERE name = 'blog';
             UPDATE arrivals SET happening_json = '[]' WHERE id = '{}';
             UPDATE outbox SET body_json = '{{}}' WHERE subject = 'run a'",
            arrived[0]
        ),
    );
    let projects = store.projects().await.unwrap();
    assert_eq!(projects.iter().map(|project| project.name.as_str()).collect::<Vec<_>>(), ["shop"]);
    let asked = store.project(&name("blog")).await;
    assert!(matches!(asked, Err(StoreError::Damaged { .. })), "{asked:?}");
    let waiting = store.waiting(stage.now(), 10).await.unwrap();
    assert_eq!(waiting.iter().map(|arrival| &arrival.id).collect::<Vec<_>>(), [&arrived[1]]);
    let letters = store.letters(stage.now(), 10).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.told.description.as_str()).collect::<Vec<_>>(), ["run b"]);
    let named = named(&stage);
    for table in ["projects blog", "arrivals ", "outbox "] {
        assert_eq!(named.iter().filter(|place| place.starts_with(table)).count(), 1, "{table}: {named:?}");
    }
}
