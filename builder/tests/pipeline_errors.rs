//! Every mistake in `tests/pipeline_errors/*.toml` is told as the `.expected` file beside it says, to the character.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf};

use staith_builder::pipeline::{Pipeline, render};

const UPDATE: &str = "STAITH_UPDATE_EXPECTED";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pipeline_errors")
}

fn inputs() -> Vec<PathBuf> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    inputs.sort();
    inputs
}

#[test]
fn every_mistake_is_told_as_expected() {
    let update = std::env::var_os(UPDATE).is_some();
    let mut wrong = Vec::new();
    for input in inputs() {
        let name = input.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&input).unwrap();
        let told = match Pipeline::parse("runner.toml", &text) {
            Ok(_) => format!("{name}: no mistake was found\n"),
            Err(errors) => render(&errors, false, 100),
        };
        let expected_file = input.with_extension("expected");
        if update {
            fs::write(&expected_file, &told).unwrap();
        }
        let expected = fs::read_to_string(&expected_file).unwrap_or_default();
        if told != expected {
            wrong.push(format!("== {name}\n-- expected\n{expected}-- told\n{told}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nIf what is told now is right, look at each and run the tests with {UPDATE}=1 to write it down.",
        wrong.join("\n")
    );
}

#[test]
fn every_input_is_a_mistake_with_a_place_and_advice() {
    let inputs = inputs();
    assert!(inputs.len() >= 25, "only {} inputs", inputs.len());
    for input in inputs {
        let errors = Pipeline::parse("runner.toml", &fs::read_to_string(&input).unwrap()).unwrap_err();
        for error in errors.errors() {
            let told = render(&errors, false, 100);
            let place = format!("[runner.toml:{}:{}]", error.line(), error.column());
            assert!(told.contains(&place), "{}: {place} is not in\n{told}", input.display());
            assert!(!error.message().is_empty() && !error.advice().is_empty(), "{}", input.display());
        }
    }
}
