//! `staith parameters`: what a package lets one set, and what it would come to.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf};

use staith_tests::world::{World, repository};

fn sample(name: &str) -> String {
    let path: PathBuf = repository().join("packager/tests/samples").join(name);
    path.display().to_string()
}

#[test]
fn a_package_tells_what_can_be_set() {
    let world = World::new();
    let shop = sample("iisapp.zip");
    world
        .staith(&["parameters", &shop])
        .exits(0)
        .says("ShopDb-Web.config Connection String")
        .says("takes    EUR, GBP, RUB")
        .says("default  none: it has to be set");
    let said = world.staith(&["parameters", &shop, "--json"]).exits(0);
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["parameters"].as_array().unwrap().len(), 16);
    assert_eq!(told["parameters"][1]["entries"][1]["kind"], "TextFile");
    assert_eq!(told["parameters"][12]["takes"]["one_of"][2], "RUB");
}

#[test]
fn values_are_resolved_and_everything_wrong_is_told() {
    let world = World::new();
    let shop = sample("iisapp.zip");
    world
        .staith(&["parameters", &shop, "--set", "Host Name=seven", "--set", "Zone=example.test"])
        .exits(0)
        .says("value    seven.example.test (default)");
    // Web Deploy takes all of these without a word.
    world
        .staith(&[
            "parameters",
            &shop,
            "--set-file",
            &sample("iisapp.SetParameters.xml"),
            "--set",
            "Currency=USD",
        ])
        .exits(20)
        .says("there is no parameter `Not Declared`")
        .says("`Currency` can't be `USD` (command line): it takes `EUR`, `GBP`, `RUB`");
    world.staith(&["parameters", &shop, "--set", "Host Name"]).exits(64).says("NAME=VALUE");
    world
        .staith(&["parameters", &shop, "--set-file", "/not/on/this/machine"])
        .exits(64)
        .says("can't be read");
}

#[test]
fn secrets_come_from_their_own_places_and_are_never_shown() {
    let package = sample("dbfullsql.zip");
    let world =
        World::new().with_env("STAITH_SECRET_SHOP_DATABASE", "Server=sql7;User ID=shop;Password=hunter2");
    world
        .staith(&["parameters", &package, "--set", "Shop Owner=Vera"])
        .exits(0)
        .says("value    *** (secrets)")
        .never_says("hunter2");
    world
        .staith(&[
            "parameters",
            &package,
            "--json",
            "--set",
            "Kiosk-Web.config Connection String=Pwd=hunter2",
        ])
        .exits(0)
        .never_says("hunter2");
    world.staith(&["parameters", &package, "--set", "hunter2"]).exits(64).never_says("hunter2");
}

#[test]
fn a_secret_that_is_missing_is_asked_for_where_secrets_are_kept() {
    let world = World::new();
    world.write("site/index.html", "page");
    let declared = r#"<parameters>
<parameter name="Database Password" tags="Password"><parameterEntry kind="TextFile" scope="index" match="pa" /></parameter>
<parameter name="Greeting"><parameterEntry kind="TextFile" scope="index" match="ge" /></parameter></parameters>"#;
    world.write("parameters.xml", declared);
    let packed =
        ["pack", "site", "--name", "site", "--version", "1.0", "--parameters", "parameters.xml", "--json"];
    let told: serde_json::Value = serde_json::from_str(&world.staith(&packed).exits(0).out).unwrap();
    let package = told["path"].as_str().unwrap();
    let to = world.scratch().join("to").display().to_string();
    let apply =
        |world: &World, more: &[&str]| world.staith(&[&["apply", package, "--to", &to][..], more].concat());
    apply(&world, &[])
        .exits(20)
        .says("`staith secret set database-password`")
        .says("STAITH_SECRET_DATABASE_PASSWORD")
        .says("--set NAME=VALUE");
    apply(&world, &["--set", "Greeting=x"]).exits(20).never_says("--set NAME=VALUE");
    let parameters = ["parameters", package, "--set", "Greeting=x"];
    world.staith(&parameters).exits(20).says("STAITH_SECRET_DATABASE_PASSWORD");
    // And that is where it is found.
    let world = world.with_env("STAITH_SECRET_DATABASE_PASSWORD", "hunter2");
    apply(&world, &["--set", "Greeting=x"]).exits(0).never_says("hunter2");
    assert_eq!(fs::read_to_string(std::path::Path::new(&to).join("index.html")).unwrap(), "hunter2x");
}

#[test]
fn a_file_to_fill_in_is_written_once_and_can_be_used() {
    let world = World::new();
    let shop = sample("iisapp.zip");
    let file = world.scratch().join("shop.SetParameters.xml");
    let path = file.display().to_string();
    world.staith(&["parameters", &shop, "--write-set-file", &path]).exits(0).says("is written");
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(r#"<setParameter name="Host Name" value="" />"#) && !text.contains("Zone"),
        "{text}"
    );
    world
        .staith(&["parameters", &shop, "--set-file", &path])
        .exits(20)
        .says("`Host Name` was set to nothing")
        .says("SetParameters.xml:");
    fs::write(&file, text.replace(r#""Host Name" value="""#, r#""Host Name" value="seven""#)).unwrap();
    world.staith(&["parameters", &shop, "--set-file", &path]).exits(0).says("seven.lanternlane.example");
    // What somebody filled in is not lost.
    world.staith(&["parameters", &shop, "--write-set-file", &path]).exits(64).says("already");
    assert!(fs::read_to_string(&file).unwrap().contains("seven"));
}

#[test]
fn broken_declarations_are_refused_with_their_place() {
    let world = World::new();
    world
        .staith(&["parameters", &sample("errors/12-bad-xpath.zip")])
        .exits(20)
        .says("line 6, column 64")
        .says("`//add[@key=`");
    world
        .staith(&["parameters", &sample("errors/13-malformed-parameters.zip")])
        .exits(20)
        .says("parameters.xml");
}
