//! Everything works for somebody who is not root and has an empty home, and nothing is weaker then.

use std::os::unix::fs::MetadataExt as _;

use staith_tests::{app::bell, world::World};

#[test]
fn an_ordinary_user_with_an_empty_home_builds_and_releases_the_guestbook() {
    let world = World::with_example("guestbook").by_an_ordinary_user();
    let said = world.staith(&["run", "--release", "local"]).exits(0);
    said.says(&world.listen.to_string()).never_says("cached");
    world.staith(&["run", "--release", "local"]).exits(0).never_says("Compiling").says("cached");
    world.staith(&["status"]).exits(0).says("guestbook");
}

#[test]
fn an_ordinary_users_steps_are_as_isolated_as_roots() {
    let world = bell("ding");
    let probe = r#"
test "$(id -u)" = 1000
grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status
grep -q '^Seccomp:[[:space:]]*2' /proc/self/status
grep -q '^NoNewPrivs:[[:space:]]*1' /proc/self/status
test "$(ls /proc | grep -c '^[0-9]')" -lt 10
ls -A "$HOME" | grep . && exit 42
touch /usr/x 2>/dev/null && exit 44
test ! -e SCRATCH
echo well isolated
"#;
    let probe = probe.replace("SCRATCH", &world.scratch().display().to_string());
    world.write(
        "runner.toml",
        &format!("name = \"probe\"\nversion = \"1\"\n[steps.only]\nrun = '''{probe}'''\n"),
    );
    let world = world.by_an_ordinary_user();
    world.staith(&["run"]).exits(0).says("well isolated");
    let owner = std::fs::metadata(world.home().join("store")).unwrap().uid();
    assert_ne!(owner, 0, "it was not run by an ordinary user");
}

#[test]
fn an_ordinary_user_swaps_and_rolls_back() {
    let world = bell("ding").by_an_ordinary_user();
    world.staith(&["run", "--release", "local"]).exits(0);
    world.write("word.txt", "dong");
    world.staith(&["run", "--release", "local"]).exits(0);
    world.staith(&["rollback"]).exits(0).says("serves again");
}
