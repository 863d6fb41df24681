use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use proptest::prelude::*;
use staith_model::{Amount, ReleaseSetting, Service};

use super::*;

fn json(text: &str) -> Result<Vec<Target>, InventoryError> {
    read(text.as_bytes(), Form::Json, "./hosts")
}

fn names(targets: &[Target]) -> Vec<&str> {
    targets.iter().map(|target| target.name.as_str()).collect()
}

fn environment(inventory: Option<Inventory>, targets: Vec<Target>, rollout: Rollout) -> FleetEnvironment {
    let setting = ReleaseSetting {
        folder: "/srv/shop".into(),
        service: Service::Files,
        health: None,
        port: None,
        min_healthy_seconds: 0,
        variables: BTreeMap::new(),
        role_variables: BTreeMap::new(),
        secrets: BTreeMap::new(),
        rendered: vec![],
        schema: None,
        hooks: vec![],
    };
    FleetEnvironment {
        name: "production".parse().unwrap(),
        targets,
        inventory,
        setting,
        rollout,
        traffic: None,
        drain_seconds: 0,
        keep_releases: 1,
    }
}

fn rolling(inventory: Inventory, targets: &str) -> FleetEnvironment {
    let rollout = Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None };
    environment(Some(inventory), json(targets).unwrap(), rollout)
}

async fn resolved(environment: &FleetEnvironment, folder: &Path) -> Result<Vec<Target>, InventoryError> {
    resolve(environment, &"shop".parse().unwrap(), folder, &CancellationToken::new()).await
}

fn script(folder: &Path, text: &str) -> Inventory {
    let path = folder.join("hosts");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Inventory::Command(vec!["./hosts".into()])
}

#[test]
fn a_list_holds_texts_and_objects() {
    let targets = json(
        r#"["web1", "deploy@10.0.0.2:2222", {"host": "web3", "name": "Web 3 (EU)", "user": "u", "port": "23", "pool": "blue",
            "tags": ["eu"], "roles": ["web"], "variables": {"N": 3, "T": true, "S": "x"}, "serves-at": "10.0.0.3:8080"},
            {"pull": true, "name": "nat"}]"#,
    )
    .unwrap();
    assert_eq!(names(&targets), ["web1", "10.0.0.2", "web-3--eu", "nat"]);
    let third = &targets[2];
    let ssh = Access::Ssh {
        host: "web3".into(),
        user: Some("u".into()),
        port: Some(23),
        host_key: None,
        superuser: false,
    };
    assert_eq!(third.access, ssh);
    assert_eq!(
        third.variables,
        [("N", "3"), ("S", "x"), ("T", "true")].map(|(a, b)| (a.into(), b.into())).into()
    );
    assert_eq!(json(r#"{"targets": ["web1"]}"#).unwrap().len(), 1);
    let toml = "targets = [\"web1\", { host = \"web2\", roles = [\"web\"] }]";
    assert_eq!(names(&read(toml.as_bytes(), Form::of_file("Hosts.TOML"), "x").unwrap()), ["web1", "web2"]);
}

#[test]
fn inventories_of_others_are_understood() {
    let ansible = r#"{"web": {"hosts": ["a", "b"]}, "eu": {"children": ["web", "eu"]}, "all": {"hosts": ["c"]},
        "_meta": {"hostvars": {"b": {"ansible_host": "10.0.0.2", "ansible_port": 2222, "ansible_user": "d", "db_password": "hunter2"}}}}"#;
    let targets = json(ansible).unwrap();
    assert_eq!(names(&targets), ["a", "b", "c"]);
    let roles: Vec<_> = targets[0].roles.iter().map(Name::as_str).collect();
    assert_eq!((roles, targets[2].roles.len()), (vec!["eu", "web"], 0));
    let ssh = Access::Ssh {
        host: "10.0.0.2".into(),
        user: Some("d".into()),
        port: Some(2222),
        host_key: None,
        superuser: false,
    };
    assert_eq!(targets[1].access, ssh);
    assert!(!format!("{targets:?}").contains("hunter2"));
    let terraform =
        r#"{"ips": {"sensitive": false, "type": ["list", "string"], "value": ["10.0.0.1", "10.0.0.2"]}}"#;
    assert_eq!(names(&json(terraform).unwrap()), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn every_error_says_entry_and_why() {
    for (text, entry, why) in [
        (r#"["web1", 7]"#, "entry 2", "a number"),
        (r#"[{"host": "-oProxyCommand=x"}]"#, "entry 1 (`-oProxyCommand=x`)", "can't be a host"),
        (r#"[{"hst": "a"}]"#, "entry 1", "`hst`"),
        (r#"[{"host": "a", "port": 0}]"#, "entry 1 (`a`)", "1 to 65535"),
        (r#"[{"local": true, "name": "a"}]"#, "entry 1 (`a`)", "runner.toml"),
        (r#"[{"host": "a", "pull": true}]"#, "entry 1 (`a`)", "one way"),
        (r#"[{"host": "a", "roles": ["W B"]}]"#, "entry 1 (`a`)", "not a name"),
        (r#"[{"host": "a", "variables": {"STAITH_X": "1"}}]"#, "entry 1 (`a`)", "STAITH_X"),
        (r#"[{"host": "a", "variables": {"X": {}}}]"#, "entry 1 (`a`)", "an object"),
        (r#"[{"host": "a", "host-key": "x"}]"#, "entry 1 (`a`)", "host's key"),
    ] {
        let told = json(text).unwrap_err().to_string();
        assert!(told.contains("./hosts") && told.contains(entry) && told.contains(why), "{told}");
    }
    for text in ["", "7", "{}", r#"{"a": 1}"#, r#"{"a": {"sensitive": true, "value": 1}}"#, "[\"a\"] x"] {
        assert!(matches!(json(text), Err(InventoryError::NotUnderstood { .. })), "{text}");
    }
}

#[test]
fn names_are_unique_and_do_not_depend_on_the_order() {
    let one =
        json(r#"[{"host": "10.0.0.1", "name": "web"}, {"host": "10.0.0.2", "name": "web"}, "db"]"#).unwrap();
    let all = together(&[], one.clone(), "x").unwrap();
    assert_eq!(names(&all), ["web-10.0.0.1", "web-10.0.0.2", "db"]);
    let mut turned = one.clone();
    turned.reverse();
    let turned = together(&[], turned, "x").unwrap();
    assert!(all.iter().all(|target| turned.contains(target)));
    // A name in the file is the file's.
    let named = json(r#"[{"host": "w", "name": "web"}]"#).unwrap();
    assert_eq!(names(&together(&named, one[..1].to_vec(), "x").unwrap()), ["web", "web-10.0.0.1"]);
    let twice = json(r#"["Web1", {"host": "web1", "name": "other"}]"#).unwrap();
    assert!(together(&[], twice, "x").unwrap_err().to_string().contains("same machine as `web1`"));
    assert_eq!(read::safe_name(&"x".repeat(300)).unwrap().as_str().len(), 63);
}

#[test]
fn machines_fit_to_the_strategy() {
    let pools = ["blue", "green"].map(|pool| pool.parse().unwrap());
    let swap = Rollout::BlueGreen { pools, keep_warm_seconds: None, watch: None };
    let check = |text: &str| refuse_pools(&json(text).unwrap(), &swap, "x");
    assert!(check(r#"[{"host": "a", "pool": "blue"}, {"host": "b", "pool": "green"}]"#).is_ok());
    for wrong in [r#"["a"]"#, r#"[{"host": "a", "pool": "red"}]"#, r#"[{"host": "a", "pool": "blue"}]"#] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
    let pooled = json(r#"[{"host": "a", "pool": "blue"}]"#).unwrap();
    assert!(refuse_pools(&pooled, &Rollout::AllAtOnce { watch: None }, "x").is_err());
}

#[tokio::test]
async fn a_program_is_asked_in_the_projects_folder_with_a_clean_environment() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("list"), "10.0.0.1").unwrap();
    let leaks = "test -z \"$CARGO_MANIFEST_DIR\" || exit 9";
    let says = "printf '[\"%s\", \"%s-%s\"]' $(cat list) $STAITH_PROJECT $STAITH_ENVIRONMENT";
    let environment = rolling(script(dir.path(), &format!("{leaks}\n{says}")), r#"["first"]"#);
    let targets = resolved(&environment, dir.path()).await.unwrap();
    assert_eq!(names(&targets), ["first", "10.0.0.1", "shop-production"]);
}

#[tokio::test]
async fn what_a_program_does_wrong_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let failing = rolling(script(dir.path(), "printf 'no \\033[31mlogin\\n' >&2; exit 3"), "[]");
    let told = resolved(&failing, dir.path()).await.unwrap_err().to_string();
    assert!(told.contains("exit code 3, and said: no [31mlogin"), "{told}");
    let silent = rolling(script(dir.path(), "echo []"), "[]");
    assert!(matches!(resolved(&silent, dir.path()).await, Err(InventoryError::Nobody { .. })));
    let flooding = rolling(script(dir.path(), "exec yes"), "[]");
    assert!(matches!(resolved(&flooding, dir.path()).await, Err(InventoryError::TooMuch { .. })));
    let absent = rolling(Inventory::Command(vec!["./absent".into()]), "[]");
    assert!(matches!(resolved(&absent, dir.path()).await, Err(InventoryError::NotStarted { .. })));
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_with_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    // The child keeps the pipe open and is in the same group.
    let inventory = script(dir.path(), "sleep 600 & echo $! > child; wait");
    let Inventory::Command(command) = inventory else { unreachable!() };
    let cancel = CancellationToken::new();
    let waits = fetch::output_within(&command, dir.path(), &[], &cancel, Duration::from_secs(2));
    assert!(matches!(waits.await, Err(InventoryError::TimedOut { seconds: 2, .. })));
    let child = fs::read_to_string(dir.path().join("child")).unwrap();
    let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    // Killed, and reaped or about to be.
    while !state().is_empty() && !state().contains(") Z ") {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    let cancelled = fetch::output_within(&command, dir.path(), &[], &cancel, Duration::from_secs(60)).await;
    assert!(matches!(cancelled, Err(InventoryError::Cancelled)));
}

#[tokio::test]
async fn a_file_lies_below_the_projects_folder() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("hosts.json"), r#"["web1"]"#).unwrap();
    fs::write(other.path().join("hosts.json"), r#"["web1"]"#).unwrap();
    std::os::unix::fs::symlink(other.path().join("hosts.json"), dir.path().join("link.json")).unwrap();
    let file = |name: &str| rolling(Inventory::File(name.into()), "[]");
    assert_eq!(names(&resolved(&file("hosts.json"), dir.path()).await.unwrap()), ["web1"]);
    for name in ["link.json", "absent.json", "."] {
        let refused = resolved(&file(name), dir.path()).await;
        assert!(matches!(refused, Err(InventoryError::Unreadable { .. })), "{name}: {refused:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_text_gives_a_target_that_is_not_safe(text in "[\\[\\]{}\":,a-z0-9 @.\u{1b}-]{0,60}") {
        let _ = read(text.as_bytes(), Form::Toml, "x");
        match json(&text) {
            Ok(targets) => {
                let all = together(&[], targets, "x");
                for target in all.iter().flatten() {
                    let Access::Ssh { host, .. } = &target.access else { continue };
                    prop_assert!(!host.starts_with('-'));
                }
            }
            Err(error) => prop_assert!(!error.to_string().contains('\u{1b}'), "{error}"),
        }
    }

    #[test]
    fn any_item_is_taken_or_refused_with_its_entry(text in "(?s).{0,40}") {
        let list = serde_json::to_string(&[&text]).unwrap();
        if let Err(error) = json(&list) {
            prop_assert!(error.to_string().contains("entry 1"), "{error}");
            prop_assert!(!error.to_string().chars().any(char::is_control), "{error}");
        }
    }
}
