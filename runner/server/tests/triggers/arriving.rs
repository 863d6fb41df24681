//! Hooks, people, and what becomes of what arrived.

use serde_json::{Value, json};
use staith_model::{
    Digest, RunnerId,
    service::{ArrivalState, Concurrency, Happening, ProjectSettings, RunGroup},
};
use staith_server::{
    store::{Finding, NewArrival, NewSession},
    triggers::planner::{Outcome, Unplanned},
};

use crate::yard::{A, B, C, Yard, json as body, name, planned};

fn push(after: &str) -> String {
    format!("{A} {after} refs/heads/main\n")
}

#[tokio::test]
async fn a_push_becomes_a_run_with_what_the_project_wants() {
    let settings =
        ProjectSettings { pool: name("big"), concurrency: Concurrency::Wait, ..ProjectSettings::default() };
    let yard = Yard::with(settings).await;
    let token = yard.token(r#"[{"role":"developer","project":"shop"}]"#);
    let told = yard.post(&token, "/api/v1/projects/shop/pushes", push(B)).await;
    assert_eq!(told.status(), 202);
    let id = body(told).await["arrivals"][0].as_str().unwrap().to_owned();
    assert_eq!(yard.look().await, 1);
    let arrival = body(yard.get(&token, &format!("/api/v1/projects/shop/arrivals/{id}")).await).await;
    assert_eq!((&arrival["state"], &arrival["run"]["number"]), (&json!("done"), &json!(1)), "{arrival}");
    let run: (String, String, String, String) = yard
        .database()
        .query_row(
            "SELECT r.trust, r.concurrency, j.pool, j.spec_json FROM runs r JOIN jobs j ON j.run = r.id",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    assert_eq!((run.0.as_str(), run.1.as_str(), run.2.as_str()), ("protected", "branch/main", "big"));
    let spec: serde_json::Value = serde_json::from_str(&run.3).unwrap();
    assert_eq!((&spec["name"], &spec["secrets"]), (&json!("run"), &json!(["token"])));
}

#[tokio::test]
async fn who_may_not_is_told_so_and_changes_nothing() {
    let yard = Yard::new().await;
    let (viewer, other) =
        (yard.token(r#"[{"role":"viewer"}]"#), yard.token(r#"[{"role":"admin","project":"blog"}]"#));
    let rows = yard.rows();
    for (token, path, text, status) in [
        ("", "/api/v1/projects/shop/pushes", push(B), 401),
        (viewer.as_str(), "/api/v1/projects/shop/pushes", push(B), 403),
        (other.as_str(), "/api/v1/projects/shop/pushes", push(B), 403),
        (viewer.as_str(), "/api/v1/projects/shop/runs", r#"{"reference":"main"}"#.into(), 403),
        (other.as_str(), "/api/v1/projects", r#"{"name":"x","origin":"/srv/x.git"}"#.into(), 403),
        (viewer.as_str(), "/api/v1/projects/shop/approvals", r#"{"number":1}"#.into(), 400),
    ] {
        assert_eq!(yard.post(token, path, text).await.status(), status, "{path}");
    }
    assert_eq!(yard.get(&other, "/api/v1/projects/shop").await.status(), 403);
    assert_eq!(body(yard.get(&other, "/api/v1/projects").await).await, json!({ "projects": [] }));
    assert_eq!(yard.rows(), rows);
}

#[tokio::test]
async fn a_push_of_nonsense_is_refused_whole() {
    let yard = Yard::new().await;
    let token = yard.admin();
    for bad in [String::new(), "nonsense".into(), format!("{}{A} x refs/heads/main\n", push(B))] {
        assert_eq!(yard.post(&token, "/api/v1/projects/shop/pushes", bad).await.status(), 422);
    }
    assert_eq!(yard.count("arrivals"), 0);
}

#[tokio::test]
async fn projects_are_added_changed_and_removed() {
    let yard = Yard::new().await;
    let token = yard.admin();
    let asked = r#"{"name":"blog","origin":"https://git.example.org/blog.git"}"#;
    assert_eq!(yard.post(&token, "/api/v1/projects", asked).await.status(), 201);
    assert_eq!(yard.post(&token, "/api/v1/projects", asked).await.status(), 409, "there is one already");
    let relative = r#"{"name":"x","origin":"../x.git"}"#;
    assert_eq!(yard.post(&token, "/api/v1/projects", relative).await.status(), 422);
    for with_a_password in [
        "https://me:hunter2@git.example.org/x.git",
        "https://hunter2@git.example.org/x.git",
        "ssh://git:hunter2@h/x",
    ] {
        let asked = json!({ "name": "x", "origin": with_a_password }).to_string();
        let refused = yard.post(&token, "/api/v1/projects", asked).await;
        assert_eq!(refused.status(), 422, "{with_a_password}");
        let said = refused.text().await.unwrap();
        assert!(said.contains("bad-origin") && !said.contains("hunter2"), "{said}");
    }
    let by_ssh = r#"{"name":"by-ssh","origin":"git@git.example.org:x.git"}"#;
    assert_eq!(
        yard.post(&token, "/api/v1/projects", by_ssh).await.status(),
        201,
        "an account of ssh is no password"
    );
    let at = format!("{}/api/v1/projects/blog", yard.base);
    let patch = |text: &'static str| {
        yard.client.patch(&at).header("authorization", format!("Bearer {token}")).body(text).send()
    };
    let changed = body(patch(r#"{"poll_seconds":60}"#).await.unwrap()).await;
    assert_eq!(changed["settings"]["poll_seconds"], 60);
    assert_eq!(
        patch(r#"{"schedules":[{"name":"n","cron":"* * *","branch":"main"}]}"#).await.unwrap().status(),
        422
    );
    let listed = body(yard.get(&token, "/api/v1/projects").await).await;
    assert_eq!(listed["projects"].as_array().unwrap().len(), 3);
    let removed =
        yard.client.delete(&at).header("authorization", format!("Bearer {token}")).send().await.unwrap();
    assert_eq!(removed.status(), 204);
    assert_eq!(yard.get(&token, "/api/v1/projects/blog").await.status(), 404);
    assert_eq!(yard.post(&token, "/api/v1/projects", asked).await.status(), 201, "the name is free again");
}

#[tokio::test]
async fn a_run_that_was_asked_for_twice_with_one_key_is_one() {
    let yard = Yard::new().await;
    let token = yard.admin();
    let ask = || {
        let request = yard.client.post(format!("{}/api/v1/projects/shop/runs", yard.base));
        request
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", "k")
            .body(r#"{"reference":"main"}"#)
            .send()
    };
    let (first, second) = (body(ask().await.unwrap()).await, body(ask().await.unwrap()).await);
    assert_eq!(first, second);
    yard.look().await;
    assert_eq!(yard.count("runs"), 1);
    let asked = yard.script.asked.lock().unwrap();
    assert!(matches!(&asked[0].happening, Happening::Asked { by, .. } if by == "person:ada"));
}

#[tokio::test]
async fn what_can_not_be_planned_is_refused_with_the_reason_or_tried_again() {
    let yard = Yard::new().await;
    let token = yard.admin();
    *yard.script.answers.lock().unwrap() = vec![
        Err(Unplanned::NotNow { what: "the repository can't be reached".into(), remedy: None }),
        Err(Unplanned::Refused {
            what: "runner.toml can't work".into(),
            why: Some("line 3: no such key".into()),
            remedy: Some("correct it".into()),
        }),
        Ok(Outcome::Not { why: "`[on]` has no `push`".into() }),
    ];
    yard.post(&token, "/api/v1/projects/shop/pushes", push(B)).await;
    yard.look().await;
    let arrival = yard.arrivals().await.remove(0);
    assert_eq!((arrival.state, arrival.tries), (ArrivalState::Waiting, 1), "the repository may be back soon");
    assert_eq!(yard.look().await, 0, "not before its time");
    yard.later(2000);
    yard.look().await;
    let arrival = yard.arrivals().await.remove(0);
    assert_eq!(arrival.state, ArrivalState::Refused);
    assert!(arrival.why.unwrap().contains("line 3: no such key") && arrival.remedy.is_some());
    yard.post(&token, "/api/v1/projects/shop/pushes", push(C)).await;
    yard.look().await;
    let arrival = yard.arrivals().await.remove(0);
    assert_eq!(
        (arrival.state, arrival.why.as_deref()),
        (ArrivalState::Ignored, Some("`[on]` has no `push`"))
    );
    assert_eq!(yard.count("runs"), 0);
}

#[tokio::test]
async fn what_was_written_down_survives_a_kill_before_and_after_its_run() {
    let yard = Yard::new().await;
    let token = yard.admin();
    yard.post(&token, "/api/v1/projects/shop/pushes", push(B)).await;
    // Killed before it was looked into.
    let yard = yard.killed_and_started().await;
    assert_eq!(yard.look().await, 1);
    assert_eq!(yard.count("runs"), 1);
    // Killed between the run and the note of it: as if that had never been written.
    yard.database().execute("UPDATE arrivals SET state = 'waiting'", []).unwrap();
    let yard = yard.killed_and_started().await;
    assert_eq!(yard.look().await, 1);
    assert_eq!(yard.count("runs"), 1, "one arrival, one run");
    assert_eq!(yard.arrivals().await[0].state, ArrivalState::Done);
    assert_eq!(yard.script.asked.lock().unwrap().len(), 1, "it is not even planned again");
}

#[tokio::test]
async fn of_pushes_that_wait_only_the_newest_is_run_where_that_is_wanted() {
    let yard = Yard::with(ProjectSettings { batch_pushes: true, ..ProjectSettings::default() }).await;
    let token = yard.admin();
    for after in [B, C] {
        yard.post(&token, "/api/v1/projects/shop/pushes", push(after)).await;
        yard.later(1);
    }
    yard.look().await;
    let states: Vec<_> = yard.arrivals().await.iter().map(|arrival| arrival.state).collect();
    assert_eq!(states, [ArrivalState::Done, ArrivalState::Ignored]);
    assert_eq!(yard.script.asked.lock().unwrap()[0].happening.commit(), Some(C));
}

#[tokio::test]
async fn five_thousand_deliveries_three_times_each_are_five_thousand() {
    let yard = Yard::new().await;
    let new = |number: u64| NewArrival {
        id: staith_model::ArrivalId::new(number, [0; 10]),
        project: name("shop"),
        source: "github",
        delivery: format!("delivery {number}"),
        happening: Happening::Push { branch: format!("b{number}"), before: None, after: B.into() },
    };
    let mut tasks = tokio::task::JoinSet::new();
    for copy in 0..3 {
        for number in 0..5000 {
            let (store, mut one) = (yard.site.store.clone(), new(number));
            one.id = staith_model::ArrivalId::new(number, [copy; 10]);
            tasks.spawn(async move { (number, store.arrive(vec![one], 1).await.unwrap().remove(0)) });
        }
    }
    let mut ids = std::collections::BTreeMap::<u64, std::collections::BTreeSet<_>>::new();
    while let Some(ended) = tasks.join_next().await {
        let (number, id) = ended.unwrap();
        ids.entry(number).or_default().insert(id);
    }
    assert!(ids.len() == 5000 && ids.values().all(|ids| ids.len() == 1), "each has one id, whoever asks");
    assert_eq!(yard.count("arrivals"), 5000);
}

#[tokio::test]
async fn what_has_ended_is_not_settled_again() {
    let yard = Yard::new().await;
    let token = yard.admin();
    yard.post(&token, "/api/v1/projects/shop/pushes", push(B)).await;
    yard.look().await;
    let id = yard.arrivals().await[0].id.clone();
    let again = yard.site.store.settle(&id, Finding::Is(ArrivalState::Refused, "no".into(), None), 1).await;
    assert!(matches!(again, Err(staith_server::store::StoreError::Conflict(_))), "{again:?}");
}

#[tokio::test]
async fn explain_says_what_would_be_and_writes_nothing() {
    let yard = Yard::new().await;
    let token = yard.admin();
    let rows = yard.rows();
    let path = "/api/v1/projects/shop/explain";
    let told =
        body(yard.post(&token, path, r#"{"event":"push","branch":"main","paths":["docs/x.md"]}"#).await)
            .await;
    assert_eq!((&told["starts"], &told["trust"]), (&json!(true), &json!("protected")));
    assert_eq!(told["plan"]["left_out"][0]["why"], "`branch == \"main\"` does not hold");
    assert_eq!(yard.script.asked.lock().unwrap()[0].paths.as_ref().unwrap()[0].as_str(), "docs/x.md");
    yard.script.answers.lock().unwrap().push(Ok(Outcome::Not { why: "no path changed".into() }));
    let told = body(yard.post(&token, path, r#"{"event":"push","branch":"main"}"#).await).await;
    assert_eq!((&told["starts"], &told["why"]), (&json!(false), &json!("no path changed")));
    for bad in [r#"{"event":"push"}"#, r#"{"event":"push","branch":"none"}"#, r#"{"event":"dance"}"#] {
        assert_eq!(yard.post(&token, path, bad).await.status(), 422, "{bad}");
    }
    assert_eq!(yard.rows(), rows);
}

#[tokio::test]
async fn a_password_in_an_address_of_before_is_shown_no_more() {
    let yard = Yard::new().await;
    let token = yard.admin();
    let database = yard.database();
    database
        .execute("UPDATE projects SET origin = 'https://me:hunter2@git.example.org/shop.git'", [])
        .unwrap();
    for path in ["/api/v1/projects", "/api/v1/projects/shop"] {
        let said = yard.get(&token, path).await.text().await.unwrap();
        assert!(said.contains("https://***@git.example.org/shop.git") && !said.contains("hunter2"), "{said}");
    }
}

/// A runner's session.
async fn runner(yard: &Yard) -> String {
    let runner = RunnerId::new(1, [7; 10]);
    let row = "INSERT INTO runners (id, name, public_key, pool, labels_json, ephemeral, version, state, enrolled, seen)
               VALUES (?1, 'host', 'k', 'default', '[]', 0, '1', 'active', 1, 1)";
    yard.database().execute(row, [runner.as_str()]).unwrap();
    let (token, now) = ("runner-token", yard.site.clock.unix_millis());
    let digest = Digest::of(token.as_bytes());
    let session =
        NewSession { runner, nonce: "n".into(), digest, expires: now + 600_000, version: "1".into() };
    yard.site.store.add_session(session, now).await.unwrap();
    token.to_owned()
}

/// The project and the number of the run whose job a runner gets next.
async fn claimed(yard: &Yard, runner: &str, time: u8) -> (String, u64) {
    let nonce = staith_model::AttemptId::new(1, [time; 10]);
    let asked = json!({ "nonce": nonce, "wait_millis": 0 }).to_string();
    let claimed = body(yard.post(runner, "/api/v1/claims", asked).await).await;
    let job = &claimed["job"];
    (job["project"].as_str().unwrap().to_owned(), job["number"].as_u64().unwrap())
}

#[tokio::test]
async fn a_priority_goes_first_in_its_project_only_and_above_nothing_only_for_who_may_release() {
    let yard = Yard::new().await;
    let admin = yard.admin();
    let developer = yard.token(r#"[{"role":"developer","project":"shop"}]"#);
    let releaser = yard.token(r#"[{"role":"releaser","project":"shop"}]"#);
    let in_one_place = yard.token(
        r#"[{"role":"developer","project":"shop"},{"role":"releaser","project":"shop","environment":"qa"}]"#,
    );
    yard.post(&admin, "/api/v1/projects", r#"{"name":"blog","origin":"/srv/blog.git"}"#).await;
    let ask = async |token: &str, project: &str, priority: i32| {
        yard.later(10);
        let asked = json!({ "reference": "main", "priority": priority }).to_string();
        yard.post(token, &format!("/api/v1/projects/{project}/runs"), asked).await
    };
    let rows = yard.rows();
    for (token, priority, status) in
        [(&developer, 1, 403), (&in_one_place, 1, 403), (&developer, -101, 400), (&admin, 101, 400)]
    {
        let refused = ask(token, "shop", priority).await;
        assert_eq!(refused.status(), status, "{priority}");
        let problem = body(refused).await;
        let why = problem["detail"].as_str().unwrap();
        assert!(
            why.contains(if status == 403 { "releasers and administrators" } else { "from -100 to 100" }),
            "{problem}"
        );
    }
    assert_eq!(yard.rows(), rows, "nothing was written down");
    for (token, project, priority) in [
        (&admin, "blog", 0),
        (&developer, "shop", 0),
        (&developer, "shop", -100),
        (&releaser, "shop", 100),
        (&developer, "shop", 0),
    ] {
        assert_eq!(ask(token, project, priority).await.status(), 202, "{project} {priority}");
        yard.look().await;
    }
    let shown = body(yard.get(&admin, "/api/v1/runs?project=shop").await).await;
    let shown: Vec<&Value> = shown["runs"].as_array().unwrap().iter().map(|run| &run["priority"]).collect();
    assert_eq!(shown, [&json!(0), &json!(100), &json!(-100), &json!(0)]);
    let runner = runner(&yard).await;
    // The other project waited longer: whatever priorities one gives itself, it has its turn.
    for (time, next) in (0_u8..).zip([("blog", 1), ("shop", 3), ("shop", 1), ("shop", 4), ("shop", 2)]) {
        assert_eq!(claimed(&yard, &runner, time).await, (next.0.to_owned(), next.1));
    }
}

/// The group of each run, and how it stands, the oldest first.
fn groups(yard: &Yard) -> Vec<(String, String, bool, bool)> {
    let database = yard.database();
    let mut select = database
        .prepare(
            "SELECT trust, coalesce(concurrency, ''), admitted, ended IS NOT NULL FROM runs ORDER BY number",
        )
        .unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn run_in(trust: &str, group: &str, admitted: bool, over: bool) -> (String, String, bool, bool) {
    (trust.to_owned(), group.to_owned(), admitted, over)
}

#[tokio::test]
async fn a_run_that_was_asked_for_waits_for_the_push_to_its_branch() {
    let yard =
        Yard::with(ProjectSettings { concurrency: Concurrency::Wait, ..ProjectSettings::default() }).await;
    let token = yard.admin();
    yard.post(&token, "/api/v1/projects/shop/pushes", push(B)).await;
    yard.look().await;
    yard.post(&token, "/api/v1/projects/shop/runs", r#"{"reference":"main"}"#).await;
    yard.look().await;
    let group = "branch/main";
    assert_eq!(
        groups(&yard),
        [run_in("protected", group, true, false), run_in("protected", group, false, false)]
    );
}

#[tokio::test]
async fn what_a_branch_calls_its_group_ends_nothing_of_a_protected_branch() {
    let yard = Yard::new().await;
    let group = RunGroup { name: name("deploy"), newest: true };
    let happens = async |happening: Happening| {
        let mut planned = planned(&happening);
        planned.group = Some(group.clone());
        yard.script.answers.lock().unwrap().push(Ok(Outcome::Starts(Box::new(planned))));
        yard.later(1);
        let now = yard.site.clock.unix_millis();
        let id = staith_model::ArrivalId::new(now, [0; 10]);
        let new =
            NewArrival { id, project: name("shop"), source: "github", delivery: now.to_string(), happening };
        yard.site.store.arrive(vec![new], now).await.unwrap();
        yard.look().await;
    };
    let push = |branch: &str, after: &str| Happening::Push {
        branch: branch.into(),
        before: None,
        after: after.into(),
    };
    let request = |fork| Happening::PullRequest {
        number: 7,
        branch: "main".into(),
        head: C.into(),
        target: "main".into(),
        fork,
        author: 1,
        reference: None,
    };
    happens(push("main", B)).await;
    happens(push("topic", B)).await;
    happens(push("other", C)).await;
    happens(request(true)).await;
    happens(request(false)).await;
    let named = "named/deploy";
    let first = run_in("protected", named, true, false);
    let branches = [run_in("branch", named, true, true), run_in("branch", named, true, false)];
    let requests =
        [run_in("fork", "pull-request/7", true, false), run_in("branch", "pull-request/7", true, false)];
    let all: Vec<_> = [first].into_iter().chain(branches).chain(requests).collect();
    assert_eq!(groups(&yard), all, "the newer one of a branch ends that of another branch, and no more");
    happens(push("master", C)).await;
    assert!(groups(&yard)[0].3, "one of another protected branch does");
}
