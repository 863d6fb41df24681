use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use staith_model::{Command, Digest, Plan, Secret, ServicePlan, Source, StepPlan, Trigger, TriggerKind};

use super::*;
use crate::redact::Unmaskable;

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn text(secret: &Secret) -> String {
    secret.expose_to(str::to_owned)
}

/// What every source promises, of one in which `npm-token` is `hunter22` with a line end and `other` was never set.
async fn keeps_the_contract(source: &dyn Secrets) {
    for _ in 0..2 {
        let found = source.find(&name("npm-token")).await.unwrap().unwrap();
        assert_eq!(text(&found), "hunter22 ü\n");
        assert_eq!(format!("{found:?}"), "Secret(***)");
    }
    assert!(source.find(&name("other")).await.unwrap().is_none());
    assert!(source.how_to_set(&name("other")).to_lowercase().contains("other"));
}

fn environment(variable: &str) -> Option<OsString> {
    match variable {
        "STAITH_SECRET_NPM_TOKEN" => Some("hunter22 ü\n".into()),
        "STAITH_SECRET_EMPTY" => Some("".into()),
        "STAITH_SECRET_BYTES" => Some(std::os::unix::ffi::OsStringExt::from_vec(vec![0xff])),
        _ => None,
    }
}

#[tokio::test]
async fn all_sources_keep_the_contract() {
    keeps_the_contract(&Known([(name("npm-token"), Secret::new("hunter22 ü\n"))].into())).await;
    keeps_the_contract(&Environment::read_by(environment)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = SecretsFile::in_directory(directory.path());
    file.set(&name("npm-token"), Secret::new("hunter22 ü\n")).unwrap();
    keeps_the_contract(&file).await;
}

#[tokio::test]
async fn what_is_empty_is_not_set_and_what_is_no_text_is_an_error() {
    let source = Environment::read_by(environment);
    assert!(source.find(&name("empty")).await.unwrap().is_none());
    let refused = source.find(&name("bytes")).await.unwrap_err();
    assert!(refused.to_string().contains("STAITH_SECRET_BYTES"), "{refused}");
}

#[test]
fn names_can_be_variables() {
    assert_eq!(name("shop/db.pass-word").variable(), "STAITH_SECRET_SHOP_DB_PASS_WORD");
    for bad in ["", "/a", "-a", "a b", "a=b", "../x", "a/../b", "a//b", "a/", "ä", &"x".repeat(201)] {
        assert!(bad.parse::<SecretName>().is_err(), "{bad}");
    }
}

#[test]
fn the_file_tells_nothing_and_only_its_owner_may_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = SecretsFile::in_directory(directory.path());
    assert!(file.names().unwrap().is_empty());
    assert!(!file.remove(&name("a")).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "looking made something");
    file.set(&name("b"), Secret::new("hunter22")).unwrap();
    file.set(&name("a"), Secret::new("first")).unwrap();
    file.set(&name("a"), Secret::new("second")).unwrap();
    assert_eq!(file.names().unwrap(), ["a", "b"]);
    for left in ["secrets.age", "secrets.key"] {
        let path = directory.path().join(left);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("hunter22"));
    }
    assert!(file.remove(&name("a")).unwrap());
    assert_eq!(file.names().unwrap(), ["b"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "something was left behind");
}

#[test]
fn commands_at_once_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = SecretsFile::in_directory(directory.path());
    std::thread::scope(|scope| {
        for number in 0..16 {
            let file = &file;
            scope.spawn(move || file.set(&name(&format!("s{number}")), Secret::new("hunter22")).unwrap());
        }
    });
    assert_eq!(file.names().unwrap().len(), 16);
}

#[test]
fn a_key_that_is_gone_open_or_damaged_is_an_error_and_not_a_new_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = SecretsFile::in_directory(directory.path());
    file.set(&name("a"), Secret::new("hunter22")).unwrap();
    let key = directory.path().join("secrets.key");
    let text = fs::read_to_string(&key).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(file.names(), Err(SecretsError::KeyOpen { .. })));
    fs::remove_file(&key).unwrap();
    assert!(matches!(file.names(), Err(SecretsError::KeyMissing { .. })));
    assert!(matches!(file.set(&name("b"), Secret::new("x")), Err(SecretsError::KeyMissing { .. })));
    fs::write(&key, text.replace("KEY-1", "KEY-2")).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let bad = file.names().unwrap_err();
    assert!(matches!(bad, SecretsError::KeyBad { .. }));
    assert!(!bad.to_string().contains("KEY-2"), "{bad}");
    fs::write(&key, text).unwrap();
    assert_eq!(file.names().unwrap(), ["a"]);
    fs::write(directory.path().join("secrets.age"), "garbage").unwrap();
    assert!(matches!(file.names(), Err(SecretsError::Damaged { .. })));
}

fn plan(kind: TriggerKind) -> Plan {
    let step = |name: &str, secrets: &[(&str, &str)], services: &[&str]| StepPlan {
        secrets: secrets
            .iter()
            .map(|(variable, secret)| ((*variable).to_owned(), (*secret).to_owned()))
            .collect(),
        services: services.iter().map(|name| name.parse().unwrap()).collect(),
        ..StepPlan::new(name.parse().unwrap(), Command::Shell("true".into()), Digest::of(b""))
    };
    let service = |name: &str| ServicePlan {
        name: name.parse().unwrap(),
        image: None,
        command: None,
        env: BTreeMap::new(),
        secrets: [("DB".to_owned(), "db-pass".to_owned())].into(),
        ready: staith_model::Readiness::Port(1),
        ready_seconds: 1,
        ports: vec![1],
        limits: staith_model::Limits::default(),
    };
    Plan {
        project: "p".parse().unwrap(),
        version: "1".into(),
        source: Source { tree: String::new(), commit: None, dirty: false },
        trigger: Trigger { kind, ..Trigger::default() },
        tools: Vec::new(),
        steps: vec![step("test", &[], &["db"]), step("publish", &[("TOKEN", "npm-token")], &[])],
        left_out: Vec::new(),
        services: vec![service("db"), service("unused")],
        packages: vec![],
    }
}

fn known(names: &[&str]) -> Known {
    Known(names.iter().map(|one| (name(one), Secret::new(format!("value of {one}")))).collect())
}

#[tokio::test]
async fn a_step_gets_its_own_secrets_and_all_are_masked() {
    let all = known(&["npm-token", "db-pass", "not-asked-for"]);
    let plan = plan(TriggerKind::Push);
    let supply = Supply::gather(&plan, &[&Known::default(), &all]).await.unwrap();
    assert!(supply.variables(&plan.steps[0].secrets).is_empty());
    let given = supply.variables(&plan.steps[1].secrets);
    assert_eq!(
        given.iter().map(|(variable, secret)| (variable.as_str(), text(secret))).collect::<Vec<_>>(),
        [("TOKEN", "value of npm-token".to_owned())]
    );
    assert_eq!(supply.masker().text("value of npm-token, value of db-pass"), "***, ***");
    assert!(!format!("{supply:?}").contains("value of"));
}

#[tokio::test]
async fn what_is_nowhere_is_told_with_all_who_want_it() {
    let refused =
        Supply::gather(&plan(TriggerKind::Local), &[&Environment::read_by(|_| None)]).await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("step `publish` wants the secret `npm-token` as TOKEN"), "{said}");
    assert!(said.contains("service `db`") && !said.contains("unused"), "{said}");
    assert!(refused.remedy().contains("STAITH_SECRET_NPM_TOKEN"), "{}", refused.remedy());
}

#[tokio::test]
async fn a_pull_request_gets_nothing() {
    let all = known(&["npm-token", "db-pass"]);
    let refused = Supply::gather(&plan(TriggerKind::PullRequest), &[&all]).await.unwrap_err();
    assert!(matches!(refused, Unsupplied::Withheld(_)), "{refused}");
    assert!(refused.to_string().contains("step `publish`"), "{refused}");
    let mut harmless = plan(TriggerKind::PullRequest);
    harmless.steps.clear();
    Supply::gather(&harmless, &[&all]).await.unwrap();
}

#[tokio::test]
async fn what_can_not_be_masked_is_not_given() {
    let short = Known(
        [(name("npm-token"), Secret::new("abc")), (name("db-pass"), Secret::new("long enough"))].into(),
    );
    let refused = Supply::gather(&plan(TriggerKind::Local), &[&short]).await.unwrap_err();
    assert!(
        matches!(&refused, Unsupplied::Unmaskable(Unmaskable::TooShort { name, .. }) if name == "npm-token")
    );
}
