//! Checks, backups and what is restored from them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::{fs, path::PathBuf};

use house::House;
use staith_model::Digest;
use staith_server::{
    store::{Actor, Sqlite},
    upkeep::{Checked, UpkeepError, back_up, check, restore},
};

/// A server with a stream of an attempt that is longer on the disk than what was acknowledged.
async fn with_a_stream() -> (House, PathBuf) {
    let house = House::new().await;
    let runner = "01arz3ndektsv4rrffq69g5fa1";
    house.sql(&format!(
        "INSERT INTO runners (id, name, public_key, pool, labels_json, ephemeral, version, state, enrolled, seen)
         VALUES ('{runner}', 'host', 'k', 'default', '[]', 0, '1', 'active', 1, 1)"
    ));
    let attempt = house.an_attempt_of(runner);
    let digest = Digest::of(b"acknowledged");
    house.sql(&format!(
        "INSERT INTO streams (attempt, name, length, digest) VALUES ('{attempt}', 'log.build', 12, '{digest}');
         INSERT INTO streams (attempt, name, length) VALUES ('{attempt}', 'events', 5);"
    ));
    let place = house.site.data.join("streams/01arz3ndektsv4rrffq69g5fav").join(&attempt);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("log.build"), "acknowledged and more").unwrap();
    fs::write(place.join("events"), "12345").unwrap();
    (house, place)
}

fn checked(house: &House) -> Checked {
    check(&house.site.data.join("staith.db"), &house.site.data).unwrap()
}

fn places(checked: &Checked, lost: bool) -> Vec<&str> {
    checked.findings.iter().filter(|found| found.lost == lost).map(|found| found.place.as_str()).collect()
}

#[tokio::test]
async fn what_is_damaged_is_named_and_the_rest_works() {
    let (house, place) = with_a_stream().await;
    assert_eq!(checked(&house).findings, []);
    house.sql("UPDATE tokens SET grants_json = '{\"no\": \"grants\"}'; UPDATE runners SET labels_json = '[\"No Label\"]'");
    let found = checked(&house);
    assert_eq!(places(&found, true), Vec::<&str>::new(), "{found:?}");
    assert_eq!(places(&found, false).len(), 2, "{found:?}");
    assert!(
        house.site.store.tokens().await.unwrap().is_empty()
            && house.site.store.runners().await.unwrap().is_empty()
    );
    fs::write(place.join("log.build"), "acknowledgeD and more").unwrap();
    fs::write(place.join("events"), "1234").unwrap();
    house.sql("PRAGMA foreign_keys = 0; UPDATE attempts SET runner = 'gone'; UPDATE audit SET who = 'x' WHERE seq = 1");
    let found = checked(&house);
    let lost = places(&found, true).join("\n");
    for expected in ["attempts row", "/events", "/log.build", "audit 1"] {
        assert!(lost.contains(expected), "{expected}: {lost}");
    }
}

#[tokio::test]
async fn a_backup_of_a_live_server_is_restored_a_generation_later() {
    let (house, place) = with_a_stream().await;
    let scratch = tempfile::tempdir().unwrap();
    let (to, back) = (scratch.path().join("backup"), scratch.path().join("restored"));
    let manifest = back_up(&house.site.data.join("staith.db"), &house.site.data, &to, 1).unwrap();
    assert_eq!(manifest.generation, 1);
    assert!(!to.join("admin.token").exists() && !to.join("secrets.key").exists());
    // What comes later is not in it.
    house
        .token(
            "later",
            vec![staith_server::api::Grant {
                role: staith_server::api::Role::Viewer,
                project: None,
                environment: None,
            }],
        )
        .await;
    fs::write(place.join("events"), "123456789").unwrap();
    restore(&to, &back, Actor::server(), 2).await.unwrap();
    assert_eq!(check(&back.join("staith.db"), &back).unwrap().findings, []);
    let store = Sqlite::open(&back.join("staith.db")).unwrap();
    assert_eq!(staith_server::store::Access::tokens(&store).await.unwrap().len(), 1);
    let events = back.join("streams/01arz3ndektsv4rrffq69g5fav/01arz3ndektsv4rrffq69g5fax/events");
    assert_eq!(fs::read(events).unwrap(), b"12345");
    drop(store);
    let again = back_up(&back.join("staith.db"), &back, &scratch.path().join("again"), 3).unwrap();
    assert_eq!(again.generation, 2);
    let third = scratch.path().join("third");
    restore(&to, &third, Actor::server(), 4).await.unwrap();
    let third = back_up(&third.join("staith.db"), &third, &scratch.path().join("of-the-third"), 5).unwrap();
    assert_eq!(third.generation, 3, "the generation before was given to the first that was restored from it");
    assert!(matches!(restore(&to, &back, Actor::server(), 4).await, Err(UpkeepError::NotEmpty(_))));
    assert!(matches!(
        back_up(&house.site.data.join("staith.db"), &house.site.data, &to, 5),
        Err(UpkeepError::NotEmpty(_))
    ));
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused() {
    let (house, place) = with_a_stream().await;
    let scratch = tempfile::tempdir().unwrap();
    let refused = |name: &str, spoil: fn(&std::path::Path)| {
        let to = scratch.path().join(name);
        back_up(&house.site.data.join("staith.db"), &house.site.data, &to, 1).unwrap();
        spoil(&to);
        let back = scratch.path().join(format!("{name}-restored"));
        async move {
            let refused = restore(&to, &back, Actor::server(), 2).await;
            assert!(matches!(refused, Err(UpkeepError::NotWhole { .. })), "{refused:?}");
            assert!(!back.join("staith.db").exists(), "a server that is started there finds nothing");
        }
    };
    refused("no-manifest", |to| fs::remove_file(to.join("manifest.json")).unwrap()).await;
    refused("outside", |to| {
        let text = fs::read_to_string(to.join("manifest.json")).unwrap();
        fs::write(to.join("manifest.json"), text.replace("streams/", "../streams/")).unwrap();
    })
    .await;
    refused("altered", |to| {
        let path = to.join("streams/01arz3ndektsv4rrffq69g5fav/01arz3ndektsv4rrffq69g5fax/events");
        fs::write(path, "12346").unwrap();
    })
    .await;
    fs::write(place.join("log.build"), "short").unwrap();
    let short =
        back_up(&house.site.data.join("staith.db"), &house.site.data, &scratch.path().join("short"), 1);
    assert!(matches!(short, Err(UpkeepError::NotWhole { .. })), "{short:?}");
}
