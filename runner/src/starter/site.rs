//! A static site: its files are what is packed.

use super::{Folder, head, node::shell_word, quoted};

/// Every link of a page to a file of the site leads somewhere.
const LINT: &str = r#"
find . -name '*.html' | while read -r page; do
  grep -oE '(href|src)="[^":#?]+"' "$page" | cut -d '"' -f 2 | while read -r link; do
    test -e "$(dirname "$page")/$link" || test -e "./$link" || { echo "$page: $link leads nowhere"; exit 1; }
  done || exit 1
done
"#;

pub(super) fn pipeline(folder: &Folder) -> String {
    const NOT_SHOWN: [&str; 3] = ["runner.toml", "README.md", "LICENSE"];
    let entries = folder.entries();
    let own: Vec<String> =
        entries.iter().filter(|name| !NOT_SHOWN.contains(name)).map(|name| shell_word(name)).collect();
    format!(
        "{head}
# Every link of a page to a file of the site leads somewhere.
[steps.lint]
run = '''{LINT}'''

[steps.build]
run = {build}
outputs = [\"dist\"]

[steps.unit-test]
needs = [\"build\"]
run = \"grep -qi '<html' dist/index.html\"

[package]
from = [\"build\"]
root = \"dist\"
",
        head = head(folder, None, &[]),
        build = quoted(&format!("mkdir dist && cp -R {} dist/", own.join(" "))),
    )
}
