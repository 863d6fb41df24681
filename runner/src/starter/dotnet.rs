//! .NET.

use super::{Folder, head, node::shell_word, quoted};

pub(super) fn pipeline(folder: &Folder) -> String {
    let mut text = head(folder, None, &[]);
    let env = "env = { NUGET_PACKAGES = \"/workspace/.nuget\", DOTNET_CLI_TELEMETRY_OPTOUT = \"1\" }";
    text.push_str(&format!(
        "
[steps.restore]
run = \"dotnet restore\"
network = \"outbound\"
outputs = [\".nuget\", \"**/obj/**\"]
{env}

[steps.lint]
needs = [\"restore\"]
run = \"dotnet format --verify-no-changes --no-restore\"
{env}

[steps.build]
needs = [\"restore\"]
run = {publish}
outputs = [\"dist\"]
{env}
",
        publish = quoted(&format!(
            "dotnet publish{} --no-restore --configuration Release --output dist",
            program(folder)
        )),
    ));
    if folder.files().any(|path| path.ends_with("proj") && is_test(path)) {
        text.push_str(&format!(
            "\n[steps.unit-test]\nneeds = [\"restore\"]\nrun = \"dotnet test --no-restore --logger trx --results-directory \
             unit-test\"\nreports = [\"unit-test/*.trx\"]\n{env}\n"
        ));
    }
    text.push_str("\n[package]\nroot = \"dist\"\n");
    text
}

fn is_test(project: &str) -> bool {
    project.to_lowercase().contains("test")
}

/// The only project that is no test: several, as a solution has them, can't be published into one folder.
fn program(folder: &Folder) -> String {
    let mut programs = folder.files().filter(|path| path.ends_with("proj") && !is_test(path));
    match (programs.next(), programs.next()) {
        (Some(only), None) => format!(" {}", shell_word(only)),
        _ => String::new(),
    }
}
