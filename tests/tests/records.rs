//! What was released, asked of the record: where, trace, diff, run-books, notes and figures.

use std::fs;

use staith_tests::bell::Bell;

#[test]
fn from_a_commit_to_machines_and_back() {
    let bell = Bell::new();
    let world = &bell.world;
    world.write("word.txt", "none yet");
    world.commit("none yet");
    let nothing = world.git(&["rev-parse", "HEAD"]);
    world.staith(&["where", &nothing]).exits(0).says("no machine runs commit");
    world.staith(&["trace", "here"]).exits(64).says("nothing was deployed");
    let first = bell.release("one", "one");
    let commit = world.git(&["rev-parse", "HEAD"]);
    bell.deploy("qa");
    for name in [commit.as_str(), &commit[..7], &commit.to_uppercase()] {
        world.staith(&["where", name]).exits(0).says("qa").says("here").says(&first[..12]);
    }
    world.staith(&["where", &nothing]).exits(0).says("no machine runs commit");
    world.staith(&["where", "HEAD"]).exits(0).says("here");
    for bad in ["abc", "main; rm", ""] {
        world.staith(&["where", bad]).exits(64).says("no commit");
    }
    let traced = world.staith(&["trace", "here", "--json"]).exits(0).values();
    assert_eq!((traced.len(), &traced[0]["environment"]), (1, &"qa".into()), "{traced:?}");
    assert_eq!(traced[0]["release"], format!("sha256:{first}"));
    assert_eq!(traced[0]["origin"]["commit"], commit);
    assert!(traced[0]["origin"]["run"].is_string(), "{traced:?}");
    world.staith(&["trace", "there"]).exits(64).says("the machines that were deployed to are here");
    // After going back, the earlier commit serves.
    bell.release("two", "two");
    bell.deploy("qa");
    world.staith(&["where", &commit]).exits(0).says("no machine runs");
    world.staith(&["release", "rollback", "qa"]).exits(0);
    world.staith(&["where", &commit]).exits(0).says("here");
}

#[test]
fn what_two_releases_differ_in() {
    let bell = Bell::new();
    let world = &bell.world;
    let first = bell.release("one", "one");
    world.edit("runner.toml", |text| text.replace("hello qa", "good day qa"));
    let second = bell.release("two", "two");
    world.staith(&["release", "diff", &first, &first, "--exit-code"]).exits(0).says("are the same");
    let differ = world.staith(&["release", "diff", &first, &second, "--exit-code"]).exits(10);
    differ.says("word.txt").says("variables.GREETING").says("good day qa").never_says("committed_at");
    let value = world.staith(&["release", "diff", &first[..8], "--json"]).exits(0).values().remove(0);
    let what: Vec<&str> =
        value["differences"].as_array().unwrap().iter().filter_map(|one| one["what"].as_str()).collect();
    assert!(what.contains(&"files.word.txt") && what.contains(&"source.commit"), "{what:?}");
    world.staith(&["release", "diff", "ffffffffffff", &first]).exits(64).says("no release is called");
}

#[test]
fn a_run_book_says_what_is_there() {
    let bell = Bell::new();
    let world = &bell.world;
    world
        .staith(&["release", "docs", "qa"])
        .exits(0)
        .says("# ")
        .says("here")
        .says("staith release rollback qa");
    let value = world.staith(&["release", "docs", "production", "--json"]).exits(0).values().remove(0);
    assert!(value["markdown"].as_str().unwrap().contains("gone"), "{value}");
    world.staith(&["release", "docs", "productio"]).exits(20).says("did you mean `production`?");
    world.staith(&["release", "docs", "qa", "--release", "nothing"]).exits(64).says("there is none yet");
}

#[test]
fn notes_are_made_of_the_commits_between() {
    let bell = Bell::new();
    let world = &bell.world;
    let first = bell.release("one", "one");
    for message in ["feat(door): ring twice\n\nCloses #12", "fix!: no <b>echo</b>", "tidy \u{1b}[31mup"] {
        world.write("notes.txt", message);
        world.commit(message);
    }
    let second = bell.release("two", "two");
    let range = format!("{}..{}", &first[..12], &second[..12]);
    let told = world.staith(&["release", "notes", &range]).exits(0);
    told.says("Features")
        .says("door: ring twice")
        .says("Breaking changes")
        .says("#12")
        .says("People: Test")
        .never_says("\u{1b}[31m");
    let page = world.staith(&["release", "notes", "--since", &first, "--markdown"]).exits(0);
    page.says("## Fixes").says("no &lt;b&gt;echo").never_says("<b>");
    let value = world.staith(&["release", "notes", "--since", &first, "--json"]).exits(0).values().remove(0);
    assert_eq!(value["work_items"], serde_json::json!(["#12"]), "{value}");
    assert_eq!(value["groups"][0]["title"], "Breaking changes");
    // Backwards, commits are lost, which is told.
    let back = world.staith(&["release", "notes", &format!("{second}..{first}")]).exits(0);
    back.says("no commits").says("lacks 4 commits");
}

#[test]
fn notes_of_what_is_not_there_are_refused() {
    let bell = Bell::new();
    let world = &bell.world;
    let first = bell.release("one", "one");
    world.staith(&["release", "notes", "1.0.0"]).exits(64).says("FROM..TO");
    world.staith(&["release", "notes", "..latest"]).exits(64).says("FROM..TO");
    world.staith(&["release", "notes"]).exits(64);
    world.staith(&["release", "notes", "nothing..latest"]).exits(64).says("no release is called");
    let elsewhere = world.scratch().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(world.project().join("runner.toml"), elsewhere.join("runner.toml")).unwrap();
    let at = elsewhere.display().to_string();
    let refused = world.staith(&["release", "notes", "--since", &first, "--project-dir", &at]).exits(30);
    refused.says("in no git repository").says("--project-dir");
    // A repository that never had the commit.
    let init = std::process::Command::new("git").args(["init", "--quiet", &at]).status().unwrap();
    assert!(init.success());
    let refused = world.staith(&["release", "notes", "--since", &first, "--project-dir", &at]).exits(30);
    refused.says("is not in the repository").says("git fetch");
}

#[test]
fn figures_of_delivery_count_what_failed_and_what_it_took() {
    let bell = Bell::new();
    let world = &bell.world;
    let figures = |arguments: &[&str]| {
        let arguments = [&["release", "metrics", "--json"][..], arguments].concat();
        world.staith(&arguments).exits(0).values().remove(0)
    };
    let none = figures(&["qa"]);
    assert_eq!((&none["changes"], &none["change_failure_percent"]), (&0.into(), &serde_json::Value::Null));
    world.staith(&["release", "metrics"]).exits(0).says("qa").says("production").says("-");

    bell.release("one", "one");
    bell.deploy("qa");
    bell.release("sick", "sick");
    world.staith(&["release", "deploy", "--to", "qa"]).exits(40);
    let both = figures(&["qa"]);
    assert_eq!((&both["changes"], &both["failed"]), (&2.into(), &1.into()), "{both}");
    assert_eq!(both["change_failure_percent"], 50.0);
    assert!(both["lead_time_millis"].is_number() && both["time_to_restore_millis"].is_number(), "{both}");
    world.staith(&["release", "metrics", "qa"]).exits(0).says("50 %").says("In the last 30 days");
    world.staith(&["release", "metrics", "qa", "--markdown"]).exits(0).says("| qa | 2 | 1 |");
    // When the commit was made is known where its repository is not.
    let elsewhere = world.scratch().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(world.project().join("runner.toml"), elsewhere.join("runner.toml")).unwrap();
    let there = figures(&["qa", "--project-dir", &elsewhere.display().to_string()]);
    assert_eq!(there["lead_time_millis"], both["lead_time_millis"]);

    world.staith(&["release", "metrics", "--days", "0"]).exits(64);
    world.staith(&["release", "metrics", "qaa"]).exits(20).says("did you mean `qa`?");
}
