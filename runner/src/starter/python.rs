//! Python: libraries beside the project, in a folder that the interpreter is told of.

use super::{Folder, head, node::shell_word, quoted};

pub(super) fn pipeline(folder: &Folder) -> String {
    let project = folder.toml("pyproject.toml");
    let version = project.get("project").and_then(|project| project.get("version")?.as_str());
    let pip = "python3 -m pip install --disable-pip-version-check --no-compile --no-cache-dir --target";
    let (listed, inputs) = wanted(folder);
    let dev = if folder.has("requirements-dev.txt") { "-r requirements-dev.txt" } else { "ruff pytest" };
    let inputs: Vec<String> = inputs.iter().map(|input| format!("\"{input}\"")).collect();
    let own: Vec<String> = own(folder).iter().map(|name| shell_word(name)).collect();
    let own = if own.is_empty() { String::new() } else { format!(" && cp -R {} dist/", own.join(" ")) };
    let build = format!("cp -R .deps/run dist{own}");
    let mut text = head(folder, version, &["python"]);
    let restore =
        format!("{listed}\nmkdir -p .deps/run && {pip} .deps/run -r /tmp/wanted && {pip} .deps/dev {dev}\n");
    text.push_str(&format!(
        "
[steps.restore]
run = '''
{restore}'''
network = \"outbound\"
{inputs}outputs = [\".deps\"]

[steps.lint]
needs = [\"restore\"]
run = \".deps/dev/bin/ruff check --no-cache --exclude .deps .\"

[steps.build]
needs = [\"restore\"]
run = {build}
outputs = [\"dist\"]
",
        inputs =
            if inputs.is_empty() { String::new() } else { format!("inputs = [{}]\n", inputs.join(", ")) },
        build = quoted(&build),
    ));
    if has_tests(folder) {
        text.push_str(
            "
[steps.unit-test]
needs = [\"restore\"]
run = \"python3 -m pytest --junitxml unit-test.xml\"
reports = [\"unit-test.xml\"]
env = { PYTHONPATH = \".deps/run:.deps/dev\" }
",
        );
    }
    text.push_str("\n[package]\nroot = \"dist\"\n");
    text
}

/// How the libraries that the project needs are listed in `/tmp/wanted`, and which files decide that.
fn wanted(folder: &Folder) -> (String, Vec<&'static str>) {
    let dev = folder.has("requirements-dev.txt");
    let with_dev = |first: &'static str| if dev { vec![first, "requirements-dev.txt"] } else { vec![first] };
    if folder.has("requirements.txt") {
        // They may name each other.
        return ("cp requirements.txt /tmp/wanted".to_owned(), vec!["requirements*.txt"]);
    }
    if folder.has("pyproject.toml") {
        let ask = "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb')).get('project', {}).get('dependencies', []), sep='\\n')";
        return (format!("python3 -c \"{ask}\" > /tmp/wanted"), with_dev("pyproject.toml"));
    }
    (": > /tmp/wanted".to_owned(), if dev { vec!["requirements-dev.txt"] } else { vec!["setup.py"] })
}

/// What belongs to the application itself: modules and packages at the top, or what is in `src`.
fn own(folder: &Folder) -> Vec<String> {
    if folder.files().any(|path| path.starts_with("src/") && path.ends_with(".py")) {
        return vec!["src/.".to_owned()];
    }
    const NOT_THE_APPLICATION: [&str; 6] = ["tests", "test", "docs", "setup.py", "conftest.py", "examples"];
    let holds_code = |name: &str| {
        name.ends_with(".py")
            || folder.files().any(|path| path.starts_with(&format!("{name}/")) && path.ends_with(".py"))
    };
    let is_test = |name: &str| name.starts_with("test_") || name.ends_with("_test.py");
    let entries = folder.entries().into_iter();
    let is_own = |name: &&str| !NOT_THE_APPLICATION.contains(name) && !is_test(name);
    let own: Vec<&str> = entries.filter(is_own).collect();
    let code: Vec<&str> = own.iter().copied().filter(|name| holds_code(name)).collect();
    // Without code of its own a project is what else lies there; never the folder itself, in which the copy would lie, too.
    let files = if code.is_empty() { own } else { code };
    files.into_iter().filter(|name| !name.starts_with('.')).map(str::to_owned).collect()
}

fn has_tests(folder: &Folder) -> bool {
    folder.files().filter(|path| path.ends_with(".py")).any(|path| {
        let name = path.rsplit('/').next().unwrap_or(path);
        name.starts_with("test_") || name.ends_with("_test.py")
    })
}
