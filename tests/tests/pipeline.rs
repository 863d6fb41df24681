//! What a runner.toml says of matrices, conditions and defaults, seen from outside.

use staith_tests::world::World;

const FILE: &str = r#"
name = "many"
version = "1.0.0+{commit}"
[defaults]
env = { GREETING = "hello" }
[parameters.who]
type = "text"
default = "world"
[steps.greet]
run = 'echo "$GREETING $WHO, $MATRIX_TONGUE" > "greeting-$MATRIX_TONGUE"'
env = { WHO = "{parameters.who}" }
outputs = ["greeting-{matrix.tongue}"]
matrix = { tongue = ["english", "german"] }
[steps.read]
needs = ["greet"]
run = "echo it says: $(cat greeting-english greeting-german)"
[steps.push-only]
needs = ["greet"]
run = "echo this must not run"
inputs = ["is/not/there"]
when = 'event == "push"'
[steps.after]
needs = ["push-only"]
run = "echo nor this"
"#;

#[test]
fn a_matrix_runs_each_variant_and_what_a_condition_leaves_out_does_not_run() {
    let world = World::new();
    world.write("runner.toml", FILE);
    world.commit("first");
    let said = world.staith(&["run"]).exits(0);
    let said = said.says("greet-english").says("greet-german");
    said.says("it says: hello world, english hello world, german")
        .never_says("must not run")
        .never_says("nor this");
}

#[test]
fn a_mistake_in_a_condition_is_pointed_at_before_anything_runs() {
    let world = World::new();
    world.write("runner.toml", &FILE.replace("event ==", "evnt =="));
    world.commit("first");
    world
        .staith(&["run"])
        .exits(20)
        .says("runner.toml:21:9")
        .says("did you mean `event`?")
        .never_says("it says");
}
