//! Go: dependencies are vendored, so that everything after that works without a network.

use super::{Folder, head};

pub(super) fn pipeline(folder: &Folder) -> String {
    let has_dependencies = folder.text("go.mod").is_some_and(|text| text.contains("require"));
    let mut text = head(folder, None, &[]);
    let needs = if has_dependencies { "needs = [\"restore\"]\n" } else { "" };
    if has_dependencies {
        text.push_str(
            "\n[steps.restore]\nrun = \"go mod vendor\"\nnetwork = \"outbound\"\noutputs = [\"vendor\"]\n",
        );
    }
    text.push_str(&format!(
        "
[steps.lint]
{needs}run = \"test -z \\\"$(gofmt -l $(find . -name '*.go' -not -path './vendor/*'))\\\" && go vet ./...\"

[steps.build]
{needs}run = \"mkdir -p dist && CGO_ENABLED=0 go build -trimpath -o dist/ ./...\"
outputs = [\"dist\"]

[steps.unit-test]
{needs}run = \"go test ./...\"

[package]
root = \"dist\"
"
    ));
    text
}
