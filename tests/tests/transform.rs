//! `staith transform`: files of settings for an environment.

use std::fs;

use serde_json::Value;
use staith_tests::world::World;

const CONFIG: &str = "<configuration>\r\n  <appSettings>\r\n    <add key='Mode' value='dev' /> <!-- Mode -->\r\n  </appSettings>\r\n</configuration>\r\n";
const RELEASE: &str = "<configuration xmlns:xdt=\"http://schemas.microsoft.com/XML-Document-Transform\">
  <appSettings>
    <add key=\"Mode\" value=\"prod\" xdt:Transform=\"SetAttributes(value)\" xdt:Locator=\"Match(key)\" />
  </appSettings>
</configuration>
";
const SETTINGS: &str =
    "{\n  // of a developer\n  \"ConnectionStrings\": { \"Default\": \"local\" },\n  \"retries\": 3\n}\n";

fn world() -> World {
    let world = World::new().with_env("SHOP_DB", "Password=hunter2");
    world.write("Web.config", CONFIG);
    world.write("Web.Release.config", RELEASE);
    world.write("settings.json", SETTINGS);
    world
}

fn read(world: &World, file: &str) -> String {
    fs::read_to_string(world.project().join(file)).unwrap()
}

#[test]
fn a_config_file_is_transformed_and_nothing_else_in_it_changes() {
    let world = world();
    let transform = ["transform", "Web.config", "--xdt", "Web.Release.config"];
    world.staith(&[&transform[..], &["--what-if"]].concat()).exits(0).says("Web.config would be written");
    assert_eq!(read(&world, "Web.config"), CONFIG);
    world
        .staith(&transform)
        .exits(0)
        .says("Web.Release.config:3:34: SetAttributes of 1 element at /configuration/appSettings/add[@key='Mode']")
        .says("Web.config is written");
    assert_eq!(read(&world, "Web.config"), CONFIG.replace("dev", "prod"));
    world.staith(&transform).exits(0).says("nothing changes in Web.config");
}

#[test]
fn secrets_come_from_the_environment_and_are_never_said() {
    let world = world();
    let set = ["transform", "settings.json", "--set", "retries=5", "--to", "prod.json", "--set-from-env"];
    world
        .staith(&[&set[..], &["ConnectionStrings.Default=SHOP_DB"]].concat())
        .exits(0)
        .says("ConnectionStrings.Default: put into settings.json")
        .never_says("hunter2");
    assert_eq!(read(&world, "settings.json"), SETTINGS);
    let expected = SETTINGS.replace("local", "Password=hunter2").replace('3', "5");
    assert_eq!(read(&world, "prod.json"), expected);

    world
        .staith(&[&set[..], &["retries=SHOP_DB"]].concat())
        .exits(20)
        .says("given twice")
        .never_says("hunter2");
    let wrong = ["transform", "settings.json", "--set-from-env", "retries=SHOP_DB"];
    world.staith(&wrong).exits(20).says("settings.json:4:14").says("is a number there").never_says("hunter2");
    let missing = ["transform", "settings.json", "--set-from-env", "NOT_SET"];
    world.staith(&missing).exits(20).says("the environment has no variable NOT_SET");
}

#[test]
fn what_matches_nothing_is_an_error_and_nothing_is_written() {
    let world = world();
    world.write("Wrong.config", &RELEASE.replace("<add", "<ad"));
    let both = ["transform", "Web.config", "--xdt", "Web.Release.config", "--xdt", "Wrong.config"];
    world
        .staith(&both)
        .exits(20)
        .says("Wrong.config:3:33")
        .says("nothing in the file matches /configuration/appSettings/ad[@key='Mode']");
    assert_eq!(read(&world, "Web.config"), CONFIG);

    let name = ["transform", "settings.json", "--set", "connectionStrings.default=x"];
    world.staith(&name).exits(20).says("did you mean `ConnectionStrings.Default`?");
    world
        .staith(&[&name[..], &["--optional", "connectionStrings.default"]].concat())
        .exits(0)
        .says("leads nowhere, and may");
    world.staith(&["transform", "Web.config"]).exits(64).says("--xdt TRANSFORM");
    world.staith(&["transform", "none.config", "--set", "a=b"]).exits(64).says("none.config can't be read");
}

#[test]
fn programs_get_a_value_a_line() {
    let world = world();
    let said = world
        .staith(&["--json", "transform", "Web.config", "--xdt", "Web.Release.config", "--what-if"])
        .exits(0);
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["transform"], "SetAttributes");
    assert_eq!(lines[0]["place"]["line"], 3);
    assert_eq!((&lines[1]["changed"], &lines[1]["written"]), (&Value::Bool(true), &Value::Bool(false)));
}
