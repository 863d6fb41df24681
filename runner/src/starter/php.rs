//! PHP, with Composer where the project has it.

use super::{Folder, head, node::shell_word, quoted};

pub(super) fn pipeline(folder: &Folder) -> String {
    let composer = folder.json("composer.json");
    let has_composer = folder.has("composer.json");
    let mut text = head(folder, composer["version"].as_str(), &[]);
    let needs = if has_composer { "needs = [\"restore\"]\n" } else { "" };
    if has_composer {
        // Where classes are found by looking at all files, all files have to be there.
        let by_looking = folder.text("composer.json").is_some_and(|text| text.contains("classmap"));
        let inputs = if by_looking { "" } else { "inputs = [\"composer.*\"]\n" };
        text.push_str(&format!(
            "\n[steps.restore]\nrun = \"composer install --no-interaction --no-progress\"\nnetwork = \"outbound\"\n\
             {inputs}outputs = [\"vendor\"]\n"
        ));
    }
    let lint = "find . -path ./vendor -prune -o -name '*.php' -print0 | xargs -0 -r -n 1 php -l";
    let entries = folder.entries();
    const NOT_NEEDED: [&str; 5] = ["runner.toml", "tests", "test", "README.md", "phpunit.xml"];
    let own = entries.iter().filter(|name| !NOT_NEEDED.contains(name)).map(|name| shell_word(name));
    let mut files: Vec<String> = own.collect();
    files.extend(has_composer.then(|| "vendor".to_owned()));
    text.push_str(&format!(
        "\n[steps.lint]\n{needs}run = {}\n\n[steps.build]\n{needs}run = {}\noutputs = [\"dist\"]\n",
        quoted(lint),
        quoted(&format!("mkdir dist && cp -R {} dist/", files.join(" ")))
    ));
    let has_phpunit = composer["require-dev"].get("phpunit/phpunit").is_some();
    if has_phpunit {
        let tests = if folder.has("phpunit.xml") || folder.has("phpunit.xml.dist") { "" } else { " tests" };
        text.push_str(&format!(
            "\n[steps.unit-test]\n{needs}run = \"vendor/bin/phpunit --log-junit unit-test.xml{tests}\"\n\
             reports = [\"unit-test.xml\"]\n"
        ));
    } else if folder.has("tests/run.php") {
        text.push_str(&format!("\n[steps.unit-test]\n{needs}run = \"php tests/run.php\"\n"));
    }
    text.push_str("\n[package]\nroot = \"dist\"\n");
    text
}
