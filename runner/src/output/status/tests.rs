use super::*;

/// 2026-03-01 12:00 UTC.
const NOON: u64 = 1_772_366_400_000;

/// A digest in full begins with its algorithm and the digits that people read.
fn full(short: &str) -> String {
    format!("sha256:{short}{}", "0".repeat(64 - short.len()))
}

fn release(short: &str, package: &str) -> ReleaseStatus {
    ReleaseStatus { digest: full(short), short: short.into(), package: package.into() }
}

fn production() -> EnvironmentStatus {
    EnvironmentStatus {
        project: "shop".into(),
        environment: "production".into(),
        unreadable: None,
        url: Some("http://127.0.0.1:8080".into()),
        keeper_pid: Some(4_242_000),
        not_running: None,
        release: Some(release("9c1d2e3f4a5b", "shop@1.4.0")),
        since: Some(NOON - 7_500_000),
        pools: vec![
            PoolStatus {
                name: "blue".into(),
                phase: "serving".into(),
                serves: true,
                release: Some(full("9c1d2e3f4a5b")),
                release_short: Some("9c1d2e3f4a5b".into()),
                port: Some(41001),
                pid: Some(4_242_424),
                in_flight: Some(3),
                restarts: 0,
                last_exit: None,
                log: Some("/srv/blue.log".into()),
                is_ill: false,
            },
            PoolStatus {
                name: "green".into(),
                phase: "restarting".into(),
                serves: false,
                release: Some(full("77aa01bc23de")),
                release_short: Some("77aa01bc23de".into()),
                port: None,
                pid: None,
                in_flight: None,
                restarts: 12,
                last_exit: Some("exit code 3\nand more".into()),
                log: Some("/srv/green.log".into()),
                is_ill: true,
            },
        ],
        previous: Some(release("77aa01bc23de", "shop@1.3.9")),
        other_releases: vec![release("0123456789ab", "shop@1.3.8"), release("1123456789ab", "shop@1.3.7")],
        last_deployment: Some(DeploymentStatus {
            id: "01jm0000000000000000000000".into(),
            state: "rolled back".into(),
            under_way: false,
            succeeded: false,
            at: NOON - 61_000,
            reason: Some("GET /healthz answered\x1b[2J 500\nthe log's last lines:\nand so on".into()),
        }),
    }
}

fn empty() -> EnvironmentStatus {
    EnvironmentStatus {
        project: "shop".into(),
        environment: "staging".into(),
        not_running: Some("`staith run --release staging` starts it".into()),
        ..EnvironmentStatus::default()
    }
}

fn broken() -> EnvironmentStatus {
    EnvironmentStatus {
        project: "shop".into(),
        environment: "test".into(),
        unreadable: Some("/srv/state.json can't be understood: it is empty".into()),
        ..EnvironmentStatus::default()
    }
}

fn seen(environments: &[EnvironmentStatus], json: bool, width: Option<usize>) -> String {
    let mut bytes = Vec::new();
    show(&mut Sink::new(&mut bytes), environments, json, View { look: Look::BARE, width, now: NOON });
    String::from_utf8(bytes).unwrap()
}

#[test]
fn people_see_aligned_tables() {
    let shown = seen(&[production(), empty(), broken()], false, None);
    super::super::tests::golden("status", &shown);
    assert!(shown.lines().all(|line| line == line.trim_end()), "{shown}");
    assert_eq!(seen(&[], false, None), "nothing has been released on this machine\n");
}

#[test]
fn a_reason_is_one_line_that_fits() {
    let mut environment = production();
    let reason = "the application wrote this and that ".repeat(20) + "\nand more";
    environment.last_deployment.as_mut().unwrap().reason = Some(reason);
    let shown = seen(&[environment, broken()], false, Some(79));
    assert!(shown.lines().all(|line| console::measure_text_width(line) <= 79), "{shown}");
    assert!(!shown.contains("and more"), "{shown}");
    assert_eq!(shown.matches("the application wrote").count(), 2, "{shown}");
}

#[test]
fn a_deployment_under_way_has_not_failed() {
    let mut environment = production();
    let last = environment.last_deployment.as_mut().unwrap();
    (last.under_way, last.state, last.reason) = (true, "under way".into(), None);
    let shown = seen(&[environment], false, None);
    assert!(shown.contains("deployment  . under way, "), "{shown}");
}

#[test]
fn programs_see_one_array_with_digests_in_full() {
    let json = seen(&[production(), broken()], true, Some(20));
    assert_eq!(json.lines().count(), 1);
    let seen: serde_json::Value = serde_json::from_str(&json).unwrap();
    let [production, broken] = [&seen[0], &seen[1]];
    assert_eq!(production["keeper_pid"], 4_242_000);
    let release = serde_json::json!({
        "digest": full("9c1d2e3f4a5b"), "short": "9c1d2e3f4a5b", "package": "shop@1.4.0"
    });
    assert_eq!(production["release"], release);
    assert_eq!(production["pools"][0]["release"], full("9c1d2e3f4a5b"));
    assert_eq!(production["pools"][1]["last_exit"], "exit code 3\nand more");
    assert!(production.get("unreadable").is_none());
    assert!(broken["unreadable"].as_str().unwrap().contains("it is empty"));
}

#[test]
fn programs_see_an_empty_array_where_nothing_was_released() {
    assert_eq!(seen(&[], true, None), "[]\n");
}
