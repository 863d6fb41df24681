//! Images on this machine.

use std::{fs, os::unix::fs::symlink, path::Path};

use staith_builder::engine::Root;
use tar::{Builder, Header};

use super::{
    engine, image,
    parts::{Made, busybox, greeting, gzip},
    refusal,
};

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// As `docker save` writes it.
fn saved(image: &Made, tag: &str) -> Vec<(String, Vec<u8>)> {
    let name = |digest: &str| digest.replace("sha256:", "");
    let layers: Vec<String> =
        image.layers.iter().map(|layer| format!("\"{}/layer.tar\"", name(layer))).collect();
    let manifest = format!(
        "[{{\"Config\":\"{}.json\",\"RepoTags\":[\"app:{tag}\"],\"Layers\":[{}]}}]",
        name(&image.config),
        layers.join(",")
    );
    let mut files = vec![("manifest.json".to_owned(), manifest.into_bytes())];
    files.push((format!("{}.json", name(&image.config)), image.blobs[&image.config].clone()));
    for layer in &image.layers {
        files.push((format!("{}/layer.tar", name(layer)), image.blobs[layer].clone()));
    }
    files
}

/// As buildah, skopeo and newer dockers write it.
fn layout(image: &Made, tag: &str) -> Vec<(String, Vec<u8>)> {
    let blob = |digest: &str| format!("blobs/{}", digest.replace(':', "/"));
    let digest = staith_model::Digest::of(&image.manifest).to_string();
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{{\"digest\":\"{digest}\",\"size\":1,\
         \"annotations\":{{\"org.opencontainers.image.ref.name\":\"{tag}\"}}}}]}}"
    );
    let mut files = vec![
        ("oci-layout".to_owned(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()),
        ("index.json".to_owned(), index.into_bytes()),
        (blob(&digest), image.manifest.clone()),
    ];
    files.extend(image.blobs.iter().map(|(digest, bytes)| (blob(digest), bytes.clone())));
    files
}

fn write(root: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_image_comes_out_whatever_it_comes_in() {
    let place = tempfile::tempdir().unwrap();
    let (engine, made) = (engine(place.path()), greeting("hello"));
    let shared = place.path().join("shared");
    fs::write(shared.join("saved.tar"), archive(&saved(&made, "1"))).unwrap();
    fs::write(shared.join("saved.tar.gz"), gzip(&archive(&saved(&made, "1")))).unwrap();
    fs::write(shared.join("layout.tar"), archive(&layout(&made, "1"))).unwrap();
    write(&shared.join("layout"), &layout(&made, "1"));
    let first = image(&engine, "./saved.tar").await.unwrap();
    let absolute = shared.join("saved.tar").display().to_string();
    for reference in
        [&absolute, "./saved.tar.gz", "./layout.tar", "oci:./layout.tar:1", "./layout", "oci:./layout:1"]
    {
        assert_eq!(image(&engine, reference).await.unwrap(), first, "{reference}");
    }
    // A new file in its place is a new image.
    fs::write(shared.join("saved.tar"), archive(&saved(&greeting("good day"), "1"))).unwrap();
    assert_ne!(image(&engine, "./saved.tar").await.unwrap().digest, first.digest);
    let refused = refusal(&engine, "oci:./layout:2").await;
    assert!(refused.contains("has no image `2`; it has 1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_file_system_is_one_layer_by_its_content() {
    let place = tempfile::tempdir().unwrap();
    let engine = engine(place.path());
    let shared = place.path().join("shared");
    fs::write(shared.join("plain.tar"), busybox().tar()).unwrap();
    let Root::Layers(layers) = image(&engine, "./plain.tar").await.unwrap().root else { panic!() };
    assert_eq!(layers.len(), 2);
    for name in ["rootfs", "same"] {
        fs::create_dir_all(shared.join(name).join("bin")).unwrap();
        fs::write(shared.join(name).join("bin/sh"), "x").unwrap();
        symlink("bin/sh", shared.join(name).join("link")).unwrap();
    }
    let one = image(&engine, "./rootfs").await.unwrap();
    assert_eq!(image(&engine, "./same").await.unwrap(), one);
    fs::write(shared.join("same/bin/sh"), "y").unwrap();
    assert_ne!(image(&engine, "./same").await.unwrap().digest, one.digest);
    // What is used is a copy.
    fs::remove_dir_all(shared.join("rootfs")).unwrap();
    let Root::Layers(layers) = one.root else { panic!() };
    assert_eq!(fs::read(layers[0].join("bin/sh")).unwrap(), b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_does_not_choose_what_of_the_host_becomes_an_image() {
    let place = tempfile::tempdir().unwrap();
    let engine = engine(place.path());
    let outside = place.path().join("outside");
    write(&outside, &[("etc/secret".to_owned(), b"secret".to_vec())]);
    symlink(&outside, place.path().join("shared/link")).unwrap();
    for reference in [outside.display().to_string(), "./link".to_owned(), "/etc".to_owned(), "/".to_owned()] {
        let refused = refusal(&engine, &reference).await;
        assert!(
            refused.contains("STAITH_IMAGE_ROOTS") || refused.contains("names no file"),
            "{reference}: {refused}"
        );
    }
    // A layout whose blobs are links to elsewhere.
    let made = greeting("hello");
    let shared = place.path().join("shared/layout");
    write(&shared, &layout(&made, "1"));
    let blob = shared.join("blobs").join(made.layers[0].replace(':', "/"));
    fs::rename(&blob, outside.join("blob")).unwrap();
    symlink(outside.join("blob"), &blob).unwrap();
    let refused = refusal(&engine, "./layout").await;
    assert!(refused.contains("is not in it"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_told_so() {
    let place = tempfile::tempdir().unwrap();
    let engine = engine(place.path());
    let shared = place.path().join("shared");
    fs::write(shared.join("text.tar"), "this is a text, and a text is not an archive. ".repeat(40)).unwrap();
    fs::write(shared.join("empty.tar"), "").unwrap();
    let two = format!("[{0},{0}]", "{\"Config\":\"c\",\"Layers\":[]}");
    fs::write(shared.join("two.tar"), archive(&[("manifest.json".to_owned(), two.into_bytes())])).unwrap();
    let up = "[{\"Config\":\"../../secret\",\"Layers\":[]}]".to_owned();
    fs::write(shared.join("up.tar"), archive(&[("manifest.json".to_owned(), up.into_bytes())])).unwrap();
    for (reference, part) in [
        ("./text.tar", "damaged"),
        ("./empty.tar", "no file is in it"),
        ("./two.tar", "2 images"),
        ("./up.tar", "is not in it"),
        ("./none.tar", "STAITH_IMAGE_ROOTS"),
        ("Node:22", "node:22"),
    ] {
        let refused = refusal(&engine, reference).await;
        assert!(refused.contains(part), "{reference}: {refused}");
    }
}
