//! Rust: dependencies are vendored, so that everything after that works without a network.

use super::{Folder, head, quoted};

pub(super) fn pipeline(folder: &Folder) -> String {
    let manifest = folder.toml("Cargo.toml");
    let package = |key: &str| manifest.get("package")?.get(key)?.as_str();
    let locked = if folder.has("Cargo.lock") { " --locked" } else { "" };
    let lock = if folder.has("Cargo.lock") { "" } else { ", \"Cargo.lock\"" };
    // A workspace's members have to be there for it; a package only needs something in the place of its code.
    let (stand_in, inputs) = match manifest.contains_key("workspace") {
        true => ("", String::new()),
        false => {
            ("mkdir -p src && touch src/lib.rs && ", "inputs = [\"Cargo.*\", \".cargo/**\"]\n".to_owned())
        }
    };
    let restore = format!(
        "{stand_in}mkdir -p .cargo vendor && touch vendor/.keep && cargo vendor{locked} >> .cargo/config.toml"
    );
    let programs = programs(folder, &manifest);
    let (build, rest) = if programs.is_empty() {
        ("cargo build --release".to_owned(), String::new())
    } else {
        let copied: Vec<String> =
            programs.iter().map(|program| format!("target/release/{program}")).collect();
        let build = format!("cargo build --release && mkdir -p dist && cp {} dist/", copied.join(" "));
        (build, "outputs = [\"dist\"]\n\n[package]\nroot = \"dist\"\n".to_owned())
    };
    let (outputs, package_table) = rest.split_once("\n\n").map_or((rest.as_str(), ""), |(a, b)| (a, b));
    let outputs = if outputs.is_empty() { String::new() } else { format!("{outputs}\n") };
    let package_table = if package_table.is_empty() { String::new() } else { format!("\n{package_table}") };
    format!(
        "{head}
[steps.restore]
run = {restore}
network = \"outbound\"
{inputs}outputs = [\"vendor\", \".cargo\"{lock}]

[steps.lint]
needs = [\"restore\"]
run = \"cargo fmt --check && cargo clippy --all-targets\"

[steps.build]
needs = [\"restore\"]
run = {build}
{outputs}
[steps.unit-test]
needs = [\"restore\"]
run = \"cargo test\"
{package_table}",
        head = head(folder, package("version"), &["rust"]),
        restore = quoted(&restore),
        build = quoted(&build),
    )
}

/// The programs of a package, by name; of a workspace they are not known.
fn programs(folder: &Folder, manifest: &toml::Table) -> Vec<String> {
    let name = |table: &toml::Value| Some(table.get("name")?.as_str()?.to_owned());
    let mut programs: Vec<String> =
        manifest.get("bin").and_then(toml::Value::as_array).into_iter().flatten().filter_map(name).collect();
    if folder.has("src/main.rs") && programs.is_empty() {
        programs.extend(manifest.get("package").and_then(name));
    }
    programs
}
