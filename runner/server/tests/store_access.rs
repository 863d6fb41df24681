//! What every store promises of tokens, runners and their sessions.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeSet, sync::Arc};

use staith_model::{
    Digest, RunnerId, TokenId,
    service::{EnrolmentAsked, RunnerChange, RunnerState},
};
use staith_server::{
    api::{Grant, Role, Who},
    store::{Actor, Applicant, Application, NewSession, NewToken, Sqlite, Store, StoreError},
};

const NOW: u64 = 1_795_000_000_000;

fn store() -> (tempfile::TempDir, Arc<dyn Store>) {
    let place = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&place.path().join("staith.db")).unwrap();
    (place, Arc::new(store))
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn token(word: &str, expires: u64) -> NewToken {
    let grants =
        vec![Grant { role: Role::Developer, project: Some("shop".parse().unwrap()), environment: None }];
    NewToken {
        id: TokenId::new(NOW, [word.len() as u8; 10]),
        digest: digest(word),
        name: word.to_owned(),
        grants,
        expires,
    }
}

#[tokio::test]
async fn a_token_counts_until_it_expires_or_is_revoked() {
    let (_place, store) = store();
    let (short, longer) = (token("short", NOW + 10), token("longer", NOW + 1000));
    for token in [&short, &longer] {
        store.add_token(token.clone(), Actor::server(), NOW).await.unwrap();
    }
    let who = |word: &'static str, now| {
        let store = Arc::clone(&store);
        async move { store.who_has(&digest(word), now).await.unwrap() }
    };
    let expected = Who::Person { name: "short".to_owned(), grants: short.grants.clone() };
    assert_eq!(who("short", NOW + 9).await, Some(expected));
    assert_eq!(who("short", NOW + 10).await, None, "it has expired");
    assert_eq!(who("nobody's", NOW).await, None);
    for _ in 0..2 {
        store.revoke_token(&longer.id, Actor::server(), NOW + 20).await.unwrap();
    }
    assert_eq!(who("longer", NOW + 21).await, None, "it was revoked");
    let seen = store.tokens().await.unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen.iter().find(|seen| seen.name == "longer").unwrap().revoked, Some(NOW + 20));
    let unknown = store.revoke_token(&TokenId::new(0, [9; 10]), Actor::server(), NOW).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })));
}

async fn add_code(store: &Arc<dyn Store>, code: &str, ephemeral: bool) {
    let gives = EnrolmentAsked {
        pool: "default".parse().unwrap(),
        labels: BTreeSet::from(["linux".parse().unwrap()]),
        ephemeral,
        valid_millis: None,
        target: None,
    };
    store.add_enrolment(digest(code), gives, NOW + 600_000, Actor::server(), NOW).await.unwrap();
}

fn applicant(code: &str, key: &str) -> Applicant {
    Applicant {
        code: digest(code),
        id: RunnerId::new(NOW, [key.len() as u8; 10]),
        name: "host".parse().unwrap(),
        public_key: key.to_owned(),
        labels: BTreeSet::from(["fast".parse().unwrap()]),
        version: "1".to_owned(),
        from: Some("192.0.2.1".to_owned()),
    }
}

#[tokio::test]
async fn a_code_makes_one_host_a_runner() {
    let (_place, store) = store();
    add_code(&store, "code", false).await;
    let first = store.enrol(applicant("code", "k1"), NOW + 1).await.unwrap();
    let Application::Taken(enrolled) = &first else { panic!("{first:?}") };
    let labels: Vec<&str> = enrolled.labels.iter().map(staith_model::Name::as_str).collect();
    assert_eq!(labels, ["fast", "linux"]);
    // The answer was lost; by now the code has expired, and the host has thought of another id.
    let again = Applicant { id: RunnerId::new(NOW, [77; 10]), ..applicant("code", "k1") };
    assert_eq!(store.enrol(again, NOW + 700_000).await.unwrap(), first);
    let other = store.enrol(applicant("code", "another"), NOW + 2).await.unwrap();
    assert_eq!(other, Application::UsedCode);
    assert_eq!(store.runners().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_refusal_uses_no_code_up() {
    let (_place, store) = store();
    add_code(&store, "code", false).await;
    add_code(&store, "second", false).await;
    let asked = |code: &str, key: &str, now| {
        let (store, applicant) = (Arc::clone(&store), applicant(code, key));
        async move { store.enrol(applicant, now).await.unwrap() }
    };
    assert_eq!(asked("guess", "k1", NOW).await, Application::UnknownCode);
    assert_eq!(asked("code", "k1", NOW + 600_000).await, Application::ExpiredCode);
    assert!(matches!(asked("code", "k1", NOW + 599_999).await, Application::Taken(_)));
    assert_eq!(asked("second", "k1", NOW).await, Application::KnownKey);
    assert!(matches!(asked("second", "k-2", NOW).await, Application::Taken(_)));
}

fn session(runner: &RunnerId, nonce: &str, word: &str) -> NewSession {
    NewSession {
        runner: runner.clone(),
        nonce: nonce.to_owned(),
        digest: digest(word),
        expires: NOW + 600_000,
        version: "2".to_owned(),
    }
}

#[tokio::test]
async fn sessions_have_nonces_that_are_used_once_and_end_with_the_runner() {
    let (_place, store) = store();
    add_code(&store, "code", false).await;
    store.enrol(applicant("code", "k1"), NOW).await.unwrap();
    let runner = applicant("code", "k1").id;
    assert!(store.add_session(session(&runner, "n1", "word"), NOW).await.unwrap());
    assert!(!store.add_session(session(&runner, "n1", "replayed"), NOW).await.unwrap());
    // Long after its token expired, the nonce is still known.
    assert!(!store.add_session(session(&runner, "n1", "replayed"), NOW + 24 * 3_600_000).await.unwrap());
    assert_eq!(store.who_has(&digest("word"), NOW).await.unwrap(), Some(Who::Runner(runner.clone())));
    assert_eq!(store.who_has(&digest("replayed"), NOW).await.unwrap(), None);
    let change = |change| store.change_runner(&runner, change, Actor::server(), NOW);
    assert_eq!(change(RunnerChange::Drain).await.unwrap(), RunnerState::Draining);
    assert!(store.who_has(&digest("word"), NOW).await.unwrap().is_some(), "it ends what it has");
    assert_eq!(change(RunnerChange::Revoke).await.unwrap(), RunnerState::Revoked);
    assert_eq!(store.who_has(&digest("word"), NOW).await.unwrap(), None);
    assert!(matches!(change(RunnerChange::Resume).await, Err(StoreError::Conflict(_))));
    let refused = store.add_session(session(&runner, "n2", "later"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));
}
