//! Java, with Maven or Gradle. Java does not read `https_proxy`, so it is told of the way out in its own words.

use super::{Folder, head, quoted};

const WAY_OUT: &str = "JAVA_TOOL_OPTIONS = \"-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128\"";

pub(super) fn maven(folder: &Folder) -> String {
    let program = if folder.has("mvnw") { "sh mvnw" } else { "mvn" };
    let maven = |goal: &str| quoted(&format!("{program} -B -ntp -Dmaven.repo.local=.m2 {goal}"));
    let first = quoted(&format!(
        "{program} -B -ntp -Dmaven.repo.local=.m2 -Dmaven.test.failure.ignore verify && rm -rf target"
    ));
    format!(
        "{head}
# Maven fetches as it goes, so this goes all the way once; what it made is not kept.
[steps.restore]
run = {first}
network = \"outbound\"
outputs = [\".m2\"]
env = {{ {WAY_OUT} }}

[steps.lint]
needs = [\"restore\"]
run = {lint}

[steps.build]
needs = [\"restore\"]
run = {build}
outputs = [\"dist\"]

[steps.unit-test]
needs = [\"restore\"]
run = {test}
{reports}
[package]
root = \"dist\"
",
        head = head(folder, None, &[]),
        reports = reports(folder, "**/target/surefire-reports/TEST-*.xml"),
        lint = maven("-o validate compile -Dmaven.compiler.showWarnings"),
        build = quoted(&format!(
            "{program} -B -ntp -Dmaven.repo.local=.m2 -o package -DskipTests && mkdir dist && cp target/*.?ar dist/"
        )),
        test = maven("-o test"),
    )
}

/// Where the tests' results are, if there are tests: a step that names reports and writes none fails.
fn reports(folder: &Folder, place: &str) -> String {
    let has_tests = folder.files().any(|path| path.starts_with("src/test/") || path.contains("/src/test/"));
    if has_tests { format!("reports = [\"{place}\"]\n") } else { String::new() }
}

pub(super) fn gradle(folder: &Folder) -> String {
    let program = if folder.has("gradlew") { "sh gradlew" } else { "gradle" };
    let gradle = |tasks: &str| quoted(&format!("{program} --no-daemon {tasks}"));
    let env = "env = { GRADLE_USER_HOME = \"/workspace/.gradle-home\" }";
    format!(
        "{head}
[steps.restore]
run = {restore}
network = \"outbound\"
outputs = [\".gradle-home\"]
env = {{ GRADLE_USER_HOME = \"/workspace/.gradle-home\", {WAY_OUT} }}

[steps.lint]
needs = [\"restore\"]
run = {lint}
{env}

[steps.build]
needs = [\"restore\"]
run = {build}
outputs = [\"build/libs\"]
{env}

[steps.unit-test]
needs = [\"restore\"]
run = {test}
{reports}{env}

[package]
root = \"build/libs\"
",
        head = head(folder, None, &[]),
        reports = reports(folder, "**/build/test-results/test/*.xml"),
        restore = gradle("testClasses"),
        lint = gradle("--offline classes"),
        build = gradle("--offline assemble"),
        test = gradle("--offline test"),
    )
}
