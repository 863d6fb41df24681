//! Submodules of repositories on other machines, and what their servers keep for requests to merge.

use git2::Oid;
use staith_builder::source::{Selection, SourceError};

use crate::{https::HttpsServer, place, upstream::Upstream};

/// A second repository, `lib.git`, with one commit.
fn library(upstream: &Upstream, content: &str) -> String {
    let repository = git2::Repository::init_bare(upstream.served().join("lib.git")).unwrap();
    repository.set_head("refs/heads/main").unwrap();
    let mut tree = repository.treebuilder(None).unwrap();
    tree.insert("code", repository.blob(content.as_bytes()).unwrap(), 0o100_644).unwrap();
    let tree = repository.find_tree(tree.write().unwrap()).unwrap();
    let who = git2::Signature::new("x", "x@x", &git2::Time::new(1_700_000_000, 0)).unwrap();
    repository.commit(Some("refs/heads/main"), &who, &who, content, &tree, &[]).unwrap().to_string()
}

/// A commit of `x.git` that has the submodule `lib` at a commit of elsewhere.
fn commit_with(upstream: &Upstream, url: &str, commit: &str) {
    let repository = &upstream.repository;
    let mut tree = repository.treebuilder(None).unwrap();
    let text = format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {url}\n");
    tree.insert(".gitmodules", repository.blob(text.as_bytes()).unwrap(), 0o100_644).unwrap();
    tree.insert("file", repository.blob(b"app").unwrap(), 0o100_644).unwrap();
    tree.insert("lib", Oid::from_str(commit).unwrap(), 0o160_000).unwrap();
    let tree = repository.find_tree(tree.write().unwrap()).unwrap();
    let who = git2::Signature::new("x", "x@x", &git2::Time::new(1_700_000_000, 0)).unwrap();
    let above = repository.head().ok().map(|head| head.peel_to_commit().unwrap());
    let above: Vec<_> = above.iter().collect();
    repository.commit(Some("refs/heads/main"), &who, &who, url, &tree, &above).unwrap();
}

fn packs_asked_for(server: &HttpsServer, path: &str) -> usize {
    let seen = server.seen.lock().unwrap();
    seen.iter().filter(|(method, at, _)| method == "POST" && at.contains(path)).count()
}

#[test]
fn submodules_come_from_beside_their_repository() {
    let (upstream, server) = place();
    let lib = library(&upstream, "library");
    commit_with(&upstream, "../lib.git", &lib);
    let (reach, url) = (server.reach(), server.url("x.git"));
    let (resolved, _) = upstream.fetch(&reach, &url, &Selection::Head).unwrap();
    let paths: Vec<&str> = resolved.files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, [".gitmodules", "file", "lib/code"]);
    let asked = packs_asked_for(&server, "lib.git");
    // A commit that its mirror has needs no network.
    upstream.fetch(&reach, &url, &Selection::Head).unwrap();
    assert_eq!(packs_asked_for(&server, "lib.git"), asked);
}

#[test]
fn credentials_go_along_to_the_same_server_only() {
    let (upstream, server) = place();
    let lib = library(&upstream, "library");
    commit_with(&upstream, "../lib.git", &lib);
    let url = format!("https://me:hunter2@localhost:{}/private/x.git", server.port);
    let (resolved, _) = upstream.fetch(&server.reach(), &url, &Selection::Head).unwrap();
    assert_eq!(resolved.files.len(), 3);
}

#[test]
fn a_submodule_that_can_not_be_had_says_which_and_why() {
    let (upstream, server) = place();
    let lib = library(&upstream, "library");
    let (reach, url) = (server.reach(), server.url("x.git"));
    for (address, commit, why) in [
        ("../missing.git", lib.as_str(), "404"),
        ("../lib.git", "1111111111111111111111111111111111111111", "no branch, tag or commit"),
        ("/etc", &lib, "a path of this machine"),
        ("file:///etc", &lib, "a path of this machine"),
        ("../../../etc", &lib, "out of the server's paths"),
    ] {
        commit_with(&upstream, address, commit);
        let refusal = upstream.fetch(&reach, &url, &Selection::Head).unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains("`lib`") && text.contains(why), "{address}: {text}");
        assert!(refusal.remedy().is_some(), "{address}");
    }
}

#[test]
fn a_repository_within_itself_comes_to_an_end() {
    let (upstream, server) = place();
    let mut commit = upstream.commit("main", "0");
    for _ in 0..12 {
        commit_with(&upstream, "../x.git", &commit);
        commit = upstream.repository.refname_to_id("refs/heads/main").unwrap().to_string();
    }
    let refusal = upstream.fetch(&server.reach(), &server.url("x.git"), &Selection::Head).unwrap_err();
    assert!(refusal.to_string().contains("too many submodules, or too deep"), "{refusal}");
}

#[test]
fn requests_to_merge_are_fetched_or_made() {
    let (upstream, server) = place();
    let first = upstream.commit("main", "one");
    let pulled = upstream.commit("away", "pulled");
    upstream.set("refs/pull/12/merge", &pulled);
    upstream.set("refs/merge-requests/3/head", &pulled);
    upstream.delete("refs/heads/away");
    let (reach, url) = (server.reach(), server.url("x.git"));
    for name in ["pull/12/merge", "refs/pull/12/merge", "merge-requests/3/head"] {
        assert_eq!(upstream.commit_of(&reach, &url, name), pulled, "{name}");
    }
    let gone = upstream.fetch(&reach, &url, &Selection::Reference("pull/13/merge".into())).unwrap_err();
    assert!(matches!(gone, SourceError::NoSuchReference { .. }), "{gone}");
    upstream.set("refs/heads/topic", &first);
    let topic = upstream.commit("topic", "changed");
    let merge = Selection::Merge { head: "topic".into(), base: "main".into() };
    let (merged, _) = upstream.fetch(&reach, &url, &merge).unwrap();
    assert_eq!((merged.source.commit, merged.source.dirty), (Some(topic), false));
    upstream.commit("main", "another");
    let conflict = upstream.fetch(&reach, &url, &merge).unwrap_err();
    assert!(matches!(&conflict, SourceError::Conflict { paths, .. } if paths == &["file"]), "{conflict}");
}

#[test]
fn hostile_names_are_never_options_nor_programs() {
    let (upstream, server) = place();
    upstream.commit("main", "one");
    let scratch = upstream.dir.path().join("made");
    let touch = format!("$(touch {})", scratch.display());
    for name in [
        touch.as_str(),
        "`id`",
        "--upload-pack=id",
        "-c",
        "refs/heads/main:refs/heads/x",
        "+main",
        "^main",
        "a\nb",
        "x;id",
        "refs/*/x",
        "\u{202e}",
    ] {
        let error = upstream
            .fetch(&server.reach(), &server.url("x.git"), &Selection::Reference(name.into()))
            .unwrap_err();
        assert!(matches!(error, SourceError::NoSuchReference { .. }), "{name:?}: {error}");
        assert!(!error.to_string().contains('\n'), "{name:?}");
    }
    assert!(!scratch.exists());
}
