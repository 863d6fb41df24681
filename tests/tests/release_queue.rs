//! Deployments to one environment that wait for one another: the newest takes the place of the others, or all come in their order.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use staith_tests::{bell::Bell, wait, world::Said};

/// The project with one more environment: where a release has to have succeeded before it may go to `qa`, if that is protected so.
fn bell(protection: &str) -> Bell {
    let bell = Bell::new();
    let stage = format!(
        "\n[environments.stage]\ntargets = [{{ local = true, name = \"here\" }}]\nfolder = {:?}\nservice = {{ restart = [\"./ring\"] }}\n\
         render = [\"word.txt\"]\nvariables = {{ GREETING = \"hello stage\" }}\n",
        bell.at("stage")
    );
    bell.world.edit("runner.toml", |text| text.to_owned() + &stage);
    fs::create_dir_all(bell.world.home()).unwrap();
    let text = format!("[environments.\"bell/qa\"]\n{protection}\n");
    fs::write(bell.world.home().join("config.toml"), text).unwrap();
    bell
}

fn approved_by_me() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(id.stdout).unwrap();
    format!(
        "approvals = {{ people = [{:?}], needed = 1, requester-may = true, deadline-seconds = 3600 }}",
        me.trim()
    )
}

/// Asks for a deployment and stays with it.
fn stays(bell: &Bell) -> Child {
    let mut command = bell.world.command(&["release", "deploy", "--to", "qa"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Said {
    Said::of(&child.wait_with_output().unwrap())
}

/// What waits, the oldest first.
fn waiting(bell: &Bell) -> Vec<Value> {
    let status = bell.world.staith(&["release", "status", "qa", "--json"]).exits(0).values().remove(0);
    let mut all = status["deployments"].as_array().unwrap().clone();
    all.retain(|one| one["state"]["state"] == "awaiting-gates");
    all.sort_by_key(|one| one["deployment"].as_str().unwrap().to_owned());
    all
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap()
}

/// The words that the service was started with, one after another.
fn rung(bell: &Bell) -> Vec<String> {
    let text = fs::read_to_string(bell.at("qa/rung")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_newest_takes_the_place_of_those_that_wait() {
    let bell = bell("after = [\"stage\"]");
    let asks = ["release", "deploy", "--to", "qa", "--no-wait"];
    bell.release("one", "one");
    let older = stays(&bell);
    wait::until("the older one waits", || (waiting(&bell).len() == 1).then_some(()));
    bell.release("two", "two");
    bell.deploy("stage");
    bell.world.staith(&asks).exits(0).says("serves in qa");
    ended(older).exits(40).says("took its place");
    // One that nobody saw to meanwhile does not come back when its own gates open.
    let three = bell.release("three", "three");
    bell.world.staith(&asks).exits(41);
    bell.release("four", "four");
    bell.deploy("stage");
    bell.world.staith(&asks).exits(0);
    bell.world.staith(&["release", "deploy", &three, "--to", "stage"]).exits(0);
    bell.world.staith(&["release", "resume", "qa"]).exits(40).says("took its place");
    assert_eq!(rung(&bell), ["two hello qa", "four hello qa"]);
    bell.world.staith(&["release", "history", "qa"]).exits(0).says("was superseded by a newer one");
}

#[test]
fn in_order_the_second_waits_for_the_first_though_its_gates_are_open() {
    let bell = bell("after = [\"stage\"]\nqueue = \"in-order\"");
    let one = bell.release("one", "one");
    bell.world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41);
    bell.release("two", "two");
    bell.deploy("stage");
    let second = stays(&bell);
    let comes_first = wait::until("the second waits", || {
        let all = waiting(&bell);
        let gates = all.get(1)?["gates"].as_array()?.clone();
        Some((text(&all[0], "deployment").to_owned(), gates)).filter(|(_, gates)| !gates.is_empty())
    });
    let (first, gates) = comes_first;
    assert_eq!(gates, [format!("its turn: deployment {first} comes first")]);
    assert!(rung(&bell).is_empty());
    bell.world.staith(&["release", "deploy", &one, "--to", "stage"]).exits(0);
    bell.world.staith(&["release", "resume", "qa"]).exits(0).says("serves in qa");
    ended(second).exits(0).says("comes first").says("serves in qa");
    assert_eq!(rung(&bell), ["one hello qa", "two hello qa"]);
}

#[test]
fn in_order_people_mean_the_first_unless_they_name_a_plan() {
    let bell = bell(&format!("queue = \"in-order\"\n{}", approved_by_me()));
    let asks = ["release", "deploy", "--to", "qa", "--no-wait"];
    let says = |arguments: &[&str]| {
        let said = bell.world.staith(&[&["release"], arguments, &["qa", "--json"]].concat()).exits(0);
        said.values().remove(0)["deployment"].as_str().unwrap().to_owned()
    };
    for word in ["one", "two"] {
        bell.release(word, word);
        bell.world.staith(&asks).exits(41);
    }
    let all = waiting(&bell);
    let (first, second) = (text(&all[0], "deployment"), text(&all[1], "deployment"));
    bell.world.staith(&["release", "status", "qa"]).exits(0).says(text(&all[1], "plan"));
    assert_eq!(says(&["approve", "--plan", text(&all[1], "plan")]), second);
    assert_eq!(says(&["approve"]), first);
    bell.world.staith(&["release", "resume", "qa"]).exits(0);
    assert_eq!(rung(&bell), ["one hello qa"]);
    assert_eq!(says(&["reject", "--comment", "no"]), second);
    // Nobody has written down yet that it is over, and nobody waits for it.
    bell.release("three", "three");
    bell.world.staith(&asks).exits(41).says("approv").never_says("comes first");
    let third = says(&["approve"]);
    assert!(third != second && third != first);
    bell.world.staith(&["release", "resume", "qa"]).exits(40).says("rejected");
    bell.world.staith(&["release", "resume", "qa"]).exits(0);
    assert_eq!(rung(&bell), ["one hello qa", "three hello qa"]);
}
