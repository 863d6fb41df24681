//! What is run: pull requests as they would be once merged, and submodules.

use staith_tests::world::{Said, World};

/// Alone, each branch passes: `feature` calls what `main` has renamed since.
fn renamed_function() -> World {
    let world = World::new();
    world.write(
        "runner.toml",
        "name = \"renamed\"\nversion = \"1\"\n[steps.test]\nrun = 'for script in use*.sh; do . ./$script || exit 1; done'\n",
    );
    world.write("lib.sh", "greet() { echo hello; }\n");
    world.write("use.sh", ". ./lib.sh\ngreet\n");
    world.commit("first");
    world.git(&["checkout", "--quiet", "-b", "feature"]);
    world.write("use-more.sh", ". ./lib.sh\ngreet\n");
    world.commit("feature");
    world.git(&["checkout", "--quiet", "main"]);
    world.write("lib.sh", "welcome() { echo hello; }\n");
    world.write("use.sh", ". ./lib.sh\nwelcome\n");
    world.commit("renamed");
    world
}

#[test]
fn a_pull_request_is_run_as_it_would_be_once_merged() {
    let world = renamed_function();
    world.staith(&["run"]).exits(0);
    world.staith(&["run", "--ref", "feature"]).exits(0);
    let merged = world.staith(&["run", "--ref", "feature", "--onto", "main"]);
    merged.exits(10).says("greet").says("`feature`").says("merged into `main`");
}

#[test]
fn a_merge_is_a_pull_request_unless_the_person_says_otherwise() {
    let world = World::new();
    let step = "[steps.test]\nsecrets = [\"TOKEN\"]\nrun = 'test \"$TOKEN\"'\n";
    world.write("runner.toml", &format!("name = \"merged\"\nversion = \"1\"\n{step}"));
    world.commit("first");
    world.git(&["checkout", "--quiet", "-b", "feature"]);
    world.write("more", "more\n");
    world.commit("feature");
    world.git(&["checkout", "--quiet", "main"]);
    world.write("other", "other\n");
    world.commit("other");
    let run = |more: &[&str]| {
        let arguments = [&["run", "--ref", "feature", "--onto", "main"], more].concat();
        let output =
            world.command(&arguments).env("STAITH_SECRET_TOKEN", "kept by this test").output().unwrap();
        Said::of(&output)
    };
    run(&[]).exits(20).says("run as a pull request").says("secret").never_says("uncommitted");
    let own = run(&["--event", "local"]).exits(0).never_says("run as a pull request");
    own.says("merged into main").never_says("uncommitted");
}

#[test]
fn a_pull_request_that_conflicts_names_the_files() {
    let world = renamed_function();
    world.git(&["checkout", "--quiet", "feature"]);
    world.write("lib.sh", "greet() { echo good day; }\n");
    world.commit("conflict");
    let refusal = world.staith(&["run", "--ref", "feature", "--onto", "main"]);
    refusal
        .exits(10)
        .says("`feature` can't be merged into `main`: both change `lib.sh`")
        .says("resolve the conflicts");
    world.staith(&["run", "--onto", "main"]).exits(64);
}
