//! The audit log: what is in it, and that nothing of it can be altered unseen.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use house::House;
use staith_server::store::{AuditVerdict, verify_audit};

async fn with_entries() -> House {
    let house = House::new().await;
    for name in ["ann", "bob", "eve", "joe"] {
        house
            .token(
                name,
                vec![staith_server::api::Grant {
                    role: staith_server::api::Role::Viewer,
                    project: None,
                    environment: None,
                }],
            )
            .await;
    }
    house
}

fn verdict(house: &House) -> AuditVerdict {
    verify_audit(&house.site.data.join("staith.db"), None).unwrap()
}

#[tokio::test]
async fn everything_is_in_it_a_part_at_a_time() {
    let house = with_entries().await;
    let part = house.ask("GET", "/api/v1/audit?after=1&limit=2", Some(&house.admin), None).await.is(200);
    let subjects: Vec<&str> =
        part["entries"].as_array().unwrap().iter().map(|entry| entry["subject"].as_str().unwrap()).collect();
    assert!(subjects.len() == 2 && subjects[0].ends_with(" ann") && subjects[1].ends_with(" bob"), "{part}");
    assert!(!part.to_string().contains("staith_person_"), "words are not in it");
    let whole = verdict(&house);
    assert_eq!((whole.whole, whole.broken), (5, None));
}

#[tokio::test]
async fn what_is_altered_taken_out_or_cut_off_is_found() {
    let alterations = [
        ("UPDATE audit SET who = 'person:joe' WHERE seq = 3", 2, 3),
        ("UPDATE audit SET at = at + 1 WHERE seq = 1", 0, 1),
        ("DELETE FROM audit WHERE seq = 2", 1, 3),
        ("UPDATE audit SET seq = 9 WHERE seq = 5", 4, 9),
        ("UPDATE audit SET subject = x'ff' WHERE seq = 4", 3, 4),
    ];
    for (alteration, whole, first) in alterations {
        let house = with_entries().await;
        house.sql(&format!("PRAGMA ignore_check_constraints = 1; {}", alteration.replace("x'ff'", "'x'")));
        let verdict = verdict(&house);
        assert_eq!((verdict.whole, verdict.broken.unwrap().seq), (whole, first), "{alteration}");
    }
    let house = with_entries().await;
    let head = verdict(&house).head.unwrap();
    let database = house.site.data.join("staith.db");
    assert_eq!(verify_audit(&database, Some(&head)).unwrap().broken, None);
    house.sql("DELETE FROM audit WHERE seq = 5");
    assert_eq!(verdict(&house).broken, None, "without a head that was kept, the end is what is there");
    assert_eq!(verify_audit(&database, Some(&head)).unwrap().broken.unwrap().seq, 5);
}
