//! `staith schema`: what editors complete a runner.toml from.

use staith_tests::world::World;

#[test]
fn the_schema_is_json_that_knows_the_keys_and_what_they_mean() {
    let world = World::new();
    let said = world.staith(&["schema"]).exits(0);
    let schema: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let run = &schema["properties"]["steps"]["additionalProperties"]["properties"]["run"];
    assert!(run["description"].as_str().unwrap().starts_with("What the step runs."), "{run}");
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    // The same for programs: it is JSON already.
    assert_eq!(world.staith(&["schema", "--json"]).exits(0).out, said.out);
}
