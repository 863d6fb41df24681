//! Repositories that want to know who asks: the server reads them by what its account's git knows, and what lets it in is kept, shown and
//! handed out nowhere.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use staith_tests::{
    bare::Bare,
    git_http::{GitHttp, PASSWORD, USER},
    served::Served,
    world::World,
};

const PIPELINE: &str = r#"
name = "shop"
version = "1.0.0"
[steps.build]
run = "mkdir dist; cp src/* dist/; env > dist/env"
outputs = ["dist"]
[package]
root = "dist"
"#;

/// Whether some file below a place has these bytes.
fn is_below(place: &Path, text: &str) -> Option<std::path::PathBuf> {
    for entry in fs::read_dir(place).into_iter().flatten().map_while(Result::ok) {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        let found = if kind.is_dir() {
            is_below(&path, text)
        } else {
            let bytes = if kind.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
            bytes.windows(text.len()).any(|window| window == text.as_bytes()).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[test]
fn a_private_repository_is_read_by_what_git_of_the_servers_account_knows() {
    let world = World::new();
    let repository = Bare::with(&world, PIPELINE);
    let forge = GitHttp::of(Path::new(&repository.path).parent().unwrap());
    // Elsewhere than what is searched below: here it is meant to be.
    let account = tempfile::tempdir().unwrap();
    let home = forge.home_that_knows(account.path().join("home"));
    let server = Served::of_an_account(&home, &world);
    let staith = |words: &[&str]| server.staith(&world, words);
    staith(&["project", "add", "shop", &forge.url("shop.git")]).exits(0);
    assert!(forge.refused() > 0, "whoever says no password is not let in");
    let run = server.run_told_of(&staith(&["project", "run", "shop", "--ref", "main"]));
    assert!(forge.let_in() > 0);
    let asked = forge.let_in() + forge.refused();
    staith(&["runs", "logs", &run, "build"]).exits(0);
    assert_eq!(forge.let_in() + forge.refused(), asked, "what is handed out comes from the server");
    let project = staith(&["project", "show", "shop", "--json"]).exits(0);
    project.says(&forge.url("shop.git"));
    server.terminate().exits(0);
    assert_eq!(is_below(world.scratch(), PASSWORD), None);
}

#[test]
fn an_address_with_a_password_is_neither_sent_nor_taken() {
    let world = World::new();
    let repository = Bare::with(&world, PIPELINE);
    let forge = GitHttp::of(Path::new(&repository.path).parent().unwrap());
    let server = Served::of(&world);
    let named = format!("http://{USER}:{PASSWORD}@{}/shop.git", forge.address);
    let bare = format!("http://{PASSWORD}@{}/shop.git", forge.address);
    for origin in [&named, &bare] {
        let said = server.staith(&world, &["project", "add", "shop", origin]).exits(64);
        let said = said.says("nothing was sent").says("credential helper");
        assert!(!format!("{said:?}").contains(PASSWORD), "{said:?}");
        // Whoever asks by other means than the command line is refused all the same, before anything is read.
        let asked = serde_json::json!({ "name": "shop", "origin": origin }).to_string();
        let told = server.ask("POST", "/api/v1/projects", &asked);
        assert_eq!(told.is(422)["type"], "bad-origin");
        assert!(!told.body.contains(PASSWORD), "{}", told.body);
    }
    assert_eq!(forge.let_in() + forge.refused(), 0, "nobody was asked");
    let without = server.staith(&world, &["project", "add", "shop", &forge.url("shop.git")]);
    assert_ne!(without.code, Some(0), "this server's account knows no password: {without:?}");
    server.terminate().exits(0);
    assert_eq!(is_below(&world.scratch().join("server"), PASSWORD), None);
}
