//! .NET.

use super::{Folder, head};

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
run = \"dotnet publish --no-restore --configuration Release --output dist\"
outputs = [\"dist\"]
{env}
"
    ));
    if folder.files().any(|path| path.to_lowercase().contains("test") && path.ends_with("proj")) {
        text.push_str(&format!(
            "\n[steps.unit-test]\nneeds = [\"restore\"]\nrun = \"dotnet test --no-restore\"\n{env}\n"
        ));
    }
    text.push_str("\n[package]\nroot = \"dist\"\n");
    text
}
