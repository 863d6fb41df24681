//! Pulling.

use std::fs;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use staith_builder::{addresses::Caution, engine::Root, sandbox::find_program};

use super::{
    engine, image,
    parts::{Layer, greeting, image as made, packed},
    progress, refusal,
    server::Registry,
};

fn count(asked: &[String], part: &str) -> usize {
    asked.iter().filter(|asked| asked.contains(part)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_once_and_a_tag_is_one_question() {
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let (engine, name) = (engine(place.path()), registry.name("team/app:1"));
    let digest = registry.push("1", &greeting("hello"));
    let first = image(&engine, &name).await.unwrap();
    assert_eq!(count(&registry.take_asked(), "/blobs/"), 3);
    assert_eq!(first.path, ["/usr/local/bin", "/bin"].map(std::path::PathBuf::from));
    assert_eq!(first.env, [("WHO".to_owned(), "image".to_owned())].into());
    for (program, there) in [("sh", true), ("greet", true), ("cargo", false), ("greeting", false)] {
        assert_eq!(find_program(&first, program), there, "{program}");
    }
    assert!(engine.take_notices()[0].contains("`node`"));

    assert_eq!(image(&engine, &name).await.unwrap(), first);
    let asked = registry.take_asked();
    assert_eq!((count(&asked, "HEAD "), count(&asked, "/blobs/")), (1, 0), "{asked:?}");
    // By its digest nobody is asked at all.
    let by_digest = image(&engine, &registry.name(&format!("team/app@{digest}"))).await.unwrap();
    assert_eq!((by_digest, registry.take_asked()), (first.clone(), vec![]));

    // Other content under the same tag is another image; what both have is not fetched again.
    registry.push("1", &greeting("good day"));
    let second = image(&engine, &name).await.unwrap();
    assert_ne!(second.digest, first.digest);
    assert_eq!(count(&registry.take_asked(), "/blobs/"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_does_no_harm_to_what_is_known() {
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let (engine, name) = (engine(place.path()), registry.name("app:1"));
    registry.push("1", &greeting("hello"));
    let first = image(&engine, &name).await.unwrap();
    engine.take_notices();
    registry.shelf.lock().unwrap().is_ill = Some(503);
    assert_eq!(image(&engine, &name).await.unwrap(), first);
    let notices = engine.take_notices();
    assert!(
        notices.len() == 1 && notices[0].contains("503") && notices[0].contains("as it was last seen"),
        "{notices:?}"
    );
    let refused = refusal(&engine, &registry.name("other:1")).await;
    assert!(refused.contains("503") && refused.contains("try again"), "{refused}");
    // A tag that is gone is gone: that is an answer.
    registry.shelf.lock().unwrap().is_ill = Some(404);
    assert!(refusal(&engine, &name).await.contains("does not have it"));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = refusal(&engine, &format!("{nobody}/app")).await;
    assert!(refused.contains("can't be reached") && refused.contains("refused"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_break_is_not_fetched_again() {
    for begins_anew in [false, true] {
        let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
        let engine = engine(place.path());
        let image = greeting("hello");
        registry.push("1", &image);
        {
            let mut shelf = registry.shelf.lock().unwrap();
            (shelf.breaks_off, shelf.begins_anew) = (2, begins_anew);
        }
        let (bytes, of) = progress(&engine, &registry.name("app:1")).await;
        let all: usize = image.layers.iter().map(|layer| image.blobs[layer].len()).sum();
        assert_eq!(of, all as u64);
        assert!(begins_anew || bytes == of, "{bytes} of {of}");
        assert_eq!(fs::read_dir(place.path().join("state/images/partial")).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_not_what_it_says_is_used() {
    let plain = greeting("hello");
    let (layer, config) = (plain.layers[1].clone(), plain.config.clone());
    let other = made(&[packed(Layer::new().file("x", 0o644, "other").tar())], "{}");
    for (blob, bytes) in [
        (&layer, other.blobs[&other.layers[0]].clone()),
        (&layer, [plain.blobs[&layer].clone(), b"more".to_vec()].concat()),
        (&layer, plain.blobs[&layer][..100].to_vec()),
        (&config, other.blobs[&other.config].clone()),
        (&config, vec![b' '; 5 << 20]),
    ] {
        let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
        let engine = engine(place.path());
        registry.push("1", &plain);
        registry.falsify(blob, bytes);
        let refused = refusal(&engine, &registry.name("app:1")).await;
        assert!(
            refused.contains("not what the image says")
                || refused.contains("configuration")
                || refused.contains("stopped"),
            "{refused}"
        );
    }
    // A layer that is what its manifest says, and not what the configuration says.
    let mut lying = made(&[packed(Layer::new().file("x", 0o644, "x").tar())], "{}");
    let config = String::from_utf8(lying.blobs[&lying.config].clone()).unwrap();
    let real = staith_model::Digest::of(&Layer::new().file("x", 0o644, "x").tar()).to_string();
    let false_config = config.replace(&real, &staith_model::Digest::of(b"").to_string()).into_bytes();
    let digest = staith_model::Digest::of(&false_config).to_string();
    lying.manifest = String::from_utf8(lying.manifest).unwrap().replace(&lying.config, &digest).into_bytes();
    lying.blobs.insert(digest, false_config);
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    registry.push("1", &lying);
    let refused = refusal(&engine(place.path()), &registry.name("app:1")).await;
    assert!(refused.contains("should have the digest"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_layer_is_refused_and_leaves_nothing() {
    let escape = made(
        &[packed(Layer::new().link("out", "/not/on/this/machine").file("out/x", 0o644, "x").tar())],
        "{}",
    );
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let engine = engine(place.path());
    registry.push("1", &escape);
    let refused = refusal(&engine, &registry.name("app:1")).await;
    assert!(refused.contains("out") && refused.contains("link"), "{refused}");
    assert_eq!(fs::read_dir(place.path().join("state/images/layers")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_for_this_machine_is_chosen_from_an_index() {
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    let engine = engine(place.path());
    let (image_of_ours, digest) = (greeting("hello"), registry.push("ours", &greeting("hello")));
    let own = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let entry = |digest: &str, architecture: &str| {
        format!(
            "{{\"digest\":\"{digest}\",\"size\":1,\"platform\":{{\"os\":\"linux\",\"architecture\":\"{architecture}\"}}}}"
        )
    };
    let nowhere = format!("sha256:{}", "0".repeat(64));
    let index = |entries: &[String]| format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", entries.join(","));
    registry.push_index("1", index(&[entry(&nowhere, "s390x"), entry(&digest, own)]));
    let chosen = image(&engine, &registry.name("app:1")).await.unwrap();
    let Root::Layers(layers) = &chosen.root else { panic!("{chosen:?}") };
    assert_eq!(layers.len(), image_of_ours.layers.len() + 1);
    registry.push_index("2", index(&[entry(&nowhere, "s390x")]));
    let refused = refusal(&engine, &registry.name("app:2")).await;
    assert!(refused.contains("linux/s390x") && refused.contains(own), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pull_at_a_time_for_all_who_want_it() {
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    registry.push("1", &greeting("hello"));
    let name = registry.name("app:1");
    // Locks are between descriptors, so engines of one process are to each other as those of several.
    let engines: Vec<_> = (0..4).map(|_| engine(place.path())).collect();
    let mut waiting = tokio::task::JoinSet::new();
    for engine in engines {
        let name = name.clone();
        waiting.spawn(async move { image(&engine, &name).await.unwrap() });
    }
    let mut images = Vec::new();
    while let Some(image) = waiting.join_next().await {
        images.push(image.unwrap());
    }
    assert!(images.windows(2).all(|pair| pair[0] == pair[1]));
    let asked = registry.take_asked();
    for layer in &greeting("hello").layers {
        assert_eq!(count(&asked, layer), 1, "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_to_know_who_asks_says_so_where_nobody_is_known() {
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    registry.push("1", &greeting("hello"));
    let basic = BASE64_STANDARD.encode("ada:secret");
    registry.shelf.lock().unwrap().wants_token = Some(("a-token".to_owned(), basic));
    let refused = refusal(&engine(place.path()), &registry.name("app:1")).await;
    assert!(refused.contains("docker login"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn special_addresses_are_for_the_person_to_name() {
    let (place, registry) = (tempfile::tempdir().unwrap(), Registry::start());
    registry.push("1", &greeting("hello"));
    let engine = engine(place.path());
    let careful = engine.clone().with_caution(Caution::default());
    let port = registry.address.port();
    for host in ["127.0.0.1", "localhost", "127.0.0.2", "[::1]", "a.localhost"] {
        let why = refusal(&careful, &format!("{host}:{port}/app:1")).await;
        assert!(
            why.contains("loopback") && why.contains(&format!("STAITH_ALLOW_HOSTS={host}:{port}")),
            "{why}"
        );
    }
    let why = refusal(&careful, "169.254.169.254/latest/meta-data:1").await;
    assert!(why.contains("link-local"), "{why}");
    // A number that resolvers take for this machine.
    let why = refusal(&careful, &format!("2130706433.:{port}/app:1")).await;
    assert!(why.contains("loopback"), "{why}");
    assert_eq!(registry.take_asked(), Vec::<String>::new());
    // Only what was allowed is.
    let allowing = |hosts: &str| engine.clone().with_caution(Caution::allowing([hosts]));
    let other_port = allowing(&format!("127.0.0.1:{}", port ^ 1));
    assert!(refusal(&other_port, &registry.name("app:1")).await.contains("loopback"));
    image(&allowing(&registry.address.to_string()), &registry.name("app:1")).await.unwrap();
}
