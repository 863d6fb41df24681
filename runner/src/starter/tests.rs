//! Every kind's pipeline is one that Staith understands, and is as was agreed. `STAITH_UPDATE_EXPECTED=1` writes it anew.

use std::{collections::BTreeMap, fs, path::Path};

use staith_builder::{
    pipeline::Pipeline,
    plan::{Occasion, plan},
};
use staith_model::{Digest, Source};

use super::*;

fn samples() -> BTreeMap<&'static str, Folder> {
    let cargo = "[package]\nname = \"shop\"\nversion = \"1.2.0\"\n[dependencies]\nitoa = \"1\"\n";
    let package = r#"{"version": "2.0.0", "dependencies": {"a": "1"}, "scripts": {"lint": "x", "build": "x", "test": "x"}}"#;
    let plain = r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#;
    let composer = r#"{"require-dev": {"phpunit/phpunit": "^11"}}"#;
    [
        ("rust", vec![("Cargo.toml", cargo), ("Cargo.lock", ""), ("src/main.rs", "")]),
        ("rust-workspace", vec![("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n"), ("a/src/lib.rs", "")]),
        ("node", vec![("package.json", package), ("package-lock.json", ""), ("src/a.js", "")]),
        ("node-plain", vec![("package.json", plain), ("server.js", ""), ("test/a.js", ""), ("it's.js", "")]),
        (
            "python",
            vec![
                ("pyproject.toml", "[project]\nversion = \"3.1\"\n"),
                ("shop/__init__.py", ""),
                ("tests/test_a.py", ""),
            ],
        ),
        ("python-requirements", vec![("requirements.txt", ""), ("requirements-dev.txt", ""), ("app.py", "")]),
        ("go", vec![("go.mod", "module x\nrequire y v1.0.0\n"), ("main.go", "")]),
        ("dotnet", vec![("Shop.sln", ""), ("Shop/Shop.csproj", ""), ("Shop.Tests/Shop.Tests.csproj", "")]),
        (
            "maven",
            vec![("pom.xml", ""), ("src/main/java/A.java", ""), ("src/test/java/org/a/ATest.java", "")],
        ),
        ("gradle", vec![("build.gradle.kts", ""), ("gradlew", ""), ("src/main/java/A.java", "")]),
        ("php", vec![("composer.json", composer), ("src/a.php", ""), ("tests/ATest.php", "")]),
        ("static", vec![("index.html", ""), ("css/a.css", ""), ("README.md", "")]),
    ]
    .map(|(name, files)| (name, Folder::of("shop", &files)))
    .into()
}

fn kind(folder: &Folder) -> Kind {
    let found = detect(folder);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].0
}

#[test]
fn every_pipeline_is_understood_short_and_as_agreed() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/starter/golden");
    for (name, folder) in samples() {
        let text = kind(&folder).pipeline(&folder);
        let pipeline = Pipeline::parse("runner.toml", &text)
            .unwrap_or_else(|errors| panic!("{name}: {errors:?}\n{text}"));
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).count();
        assert!(lines <= 25, "{name} has {lines} lines:\n{text}");
        let source = Source { tree: "0".repeat(40), commit: None, dirty: false };
        let plan = plan(&pipeline, source, &Occasion::default(), &|_| Digest::of(b"")).unwrap();
        let steps: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
        for step in ["lint", "build"] {
            assert!(steps.contains(&step), "{name}: {steps:?}");
        }
        let at = golden.join(format!("{name}.toml"));
        if std::env::var_os("STAITH_UPDATE_EXPECTED").is_some() {
            fs::create_dir_all(&golden).unwrap();
            fs::write(&at, &text).unwrap();
        }
        let agreed = fs::read_to_string(&at).unwrap_or_default();
        assert_eq!(
            text, agreed,
            "{name} differs; if the new text is right, run with STAITH_UPDATE_EXPECTED=1"
        );
    }
}

#[test]
fn a_folder_may_be_of_several_kinds_or_of_none() {
    let kinds = |files: &[(&str, &str)]| -> Vec<&str> {
        detect(&Folder::of("x", files)).into_iter().map(|(kind, _)| kind.word()).collect()
    };
    assert_eq!(kinds(&[("Cargo.toml", ""), ("package.json", "")]), ["rust", "node"]);
    assert_eq!(kinds(&[("package.json", ""), ("index.html", "")]), ["node"]);
    assert_eq!(kinds(&[("Makefile", "")]), Vec::<&str>::new());
    assert_eq!(kinds(&[("app/Cargo.toml", "")]), Vec::<&str>::new());
}

#[test]
fn hostile_descriptions_do_no_harm() {
    let hostile = r#"{"version": "\"]\n[steps.evil]\nrun='x'", "dependencies": 5, "scripts": {"lint": 3}}"#;
    let cargo = "[package]\nname = \"a\\\" && rm -rf /\"\nversion = \"\\\"\\n\"\n";
    for (kind, files) in [
        (Kind::Node, vec![("package.json", hostile), ("a\"\n[x]\n.js", ""), ("'$(id)'", "")]),
        (Kind::Rust, vec![("Cargo.toml", cargo), ("src/main.rs", "")]),
        (Kind::Python, vec![("pyproject.toml", "[project\n"), ("a b\".py", "")]),
        (Kind::Static, vec![("index.html", ""), ("-rf", "")]),
    ] {
        let text = kind.pipeline(&Folder::of("x", &files));
        let pipeline =
            Pipeline::parse("runner.toml", &text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
        assert!(pipeline.steps().iter().all(|step| step.name.as_str() != "evil"), "{text}");
    }
}
