//! Node: what the scripts of package.json say, with the package manager that the lock file belongs to.

use serde_json::Value;

use super::{Folder, head, quoted};

pub(super) fn pipeline(folder: &Folder) -> String {
    let package = folder.json("package.json");
    let has_dependencies = ["dependencies", "devDependencies", "optionalDependencies"]
        .iter()
        .any(|kind| package[*kind].as_object().is_some_and(|all| !all.is_empty()));
    let (install, run, inputs) = manager(folder);
    let mut text = head(folder, package["version"].as_str(), &["node"]);
    let needs = if has_dependencies { "needs = [\"restore\"]\n" } else { "" };
    if has_dependencies {
        text.push_str(&format!(
            "\n[steps.restore]\nrun = {}\nnetwork = \"outbound\"\ninputs = [{inputs}]\noutputs = [\"node_modules\"]\n",
            quoted(install)
        ));
    }
    let script = |name: &str| package["scripts"][name].as_str().map(|_| format!("{run} {name}"));
    let lint = script("lint").unwrap_or_else(|| CHECK_SYNTAX.to_owned());
    text.push_str(&format!("\n[steps.lint]\n{needs}run = {}\n", quoted(&lint)));
    let (build, root) = match script("build") {
        Some(build) => (build, built_into(&package)),
        None => (copied(folder, has_dependencies), "dist"),
    };
    text.push_str(&format!("\n[steps.build]\n{needs}run = {}\noutputs = [\"{root}\"]\n", quoted(&build)));
    if let Some(test) = test(folder, &package, run) {
        text.push_str(&format!("\n[steps.unit-test]\n{needs}run = {}\n", quoted(&test)));
        if test == NODES_OWN {
            text.push_str("reports = [\"unit-test.tap\"]\n");
        }
    }
    text.push_str(&format!("\n[package]\nroot = \"{root}\"\n"));
    text
}

const CHECK_SYNTAX: &str =
    "find . -path ./node_modules -prune -o -name '*.js' -print0 | xargs -0 -r -n 1 node --check";

/// The tests of Node itself, once for people and once for the record.
const NODES_OWN: &str = "node --test --test-reporter=spec --test-reporter-destination=stdout --test-reporter=tap \
                         --test-reporter-destination=unit-test.tap";

/// How to install, how to run a script, and what the installation depends on.
fn manager(folder: &Folder) -> (&'static str, &'static str, &'static str) {
    if folder.has("pnpm-lock.yaml") {
        let inputs = "\"package.json\", \"pnpm-*.yaml\"";
        return ("corepack pnpm install --frozen-lockfile --store-dir /tmp/pnpm", "npm run", inputs);
    }
    if folder.has("yarn.lock") {
        return ("corepack yarn install --frozen-lockfile", "npm run", "\"package.json\", \"yarn.lock\"");
    }
    if folder.has("package-lock.json") {
        return ("npm ci --no-audit --no-fund --cache /tmp/npm", "npm run", "\"package*.json\"");
    }
    ("npm install --no-audit --no-fund --cache /tmp/npm", "npm run", "\"package*.json\"")
}

/// Where a project's build script leaves what it makes, by what makes it.
fn built_into(package: &Value) -> &'static str {
    let uses = |name: &str| {
        ["dependencies", "devDependencies"].iter().any(|kind| package[*kind].get(name).is_some())
    };
    if uses("next") {
        ".next"
    } else if uses("react-scripts") || uses("@sveltejs/adapter-static") {
        "build"
    } else {
        "dist"
    }
}

/// Without a build script, the application is its own files and the libraries that it needs.
fn copied(folder: &Folder, has_dependencies: bool) -> String {
    const NOT_NEEDED: [&str; 6] = ["runner.toml", "test", "tests", "__tests__", "README.md", "coverage"];
    let entries = folder.entries();
    let own = entries.iter().filter(|name| !NOT_NEEDED.contains(name)).map(|name| shell_word(name));
    let mut files: Vec<String> = own.collect();
    let prune = if has_dependencies {
        files.push("node_modules".to_owned());
        "npm prune --omit=dev --offline --no-audit --no-fund && "
    } else {
        ""
    };
    format!("{prune}mkdir dist && cp -R {} dist/", files.join(" "))
}

/// The project's own tests: what `npm init` writes in their place fails always.
fn test(folder: &Folder, package: &Value, run: &str) -> Option<String> {
    match package["scripts"]["test"].as_str() {
        Some(script) if !script.contains("no test specified") => Some(format!("{run} test")),
        _ => {
            let is_test = |path: &str| {
                let name = path.rsplit('/').next().unwrap_or(path);
                path.starts_with("test/") || name.contains(".test.") || name.contains("-test.")
            };
            folder.files().any(|path| is_test(path) && path.ends_with("js")).then(|| NODES_OWN.to_owned())
        }
    }
}

/// A name that a shell takes for one word.
pub(super) fn shell_word(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // What begins with a dash would be an option.
    let name = if name.starts_with('-') { format!("./{name}") } else { name.to_owned() };
    if name.chars().all(|c| is_plain(c) || c == '/') {
        name
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}
