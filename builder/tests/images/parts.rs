//! Images made by hand: layers, configurations, manifests, as registries and archives hold them.

use std::{collections::BTreeMap, fs, io::Write as _};

use staith_model::Digest;
use tar::{Builder, EntryType, Header};

/// A layer's archive while it is made.
pub struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn put(mut self, path: &str, kind: EntryType, mode: u32, content: &[u8], link: Option<&str>) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        match link {
            Some(link) => self.0.append_link(&mut header, path, link).unwrap(),
            None => self.0.append_data(&mut header, path, content).unwrap(),
        }
        self
    }

    pub fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.put(path, EntryType::Regular, mode, content.as_ref(), None)
    }

    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.put(path, EntryType::Directory, mode, &[], None)
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        self.put(path, EntryType::Symlink, 0o777, &[], Some(target))
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.put(path, EntryType::Link, 0o644, &[], Some(target))
    }

    pub fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// A layer with a shell and all that belongs to it: one program without libraries.
pub fn busybox() -> Layer {
    let program = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| fs::read(path).ok());
    let program = program.expect("busybox is needed: apt-get install busybox-static");
    let mut layer = Layer::new().directory("bin", 0o755).file("bin/busybox", 0o755, program);
    for name in ["cat", "echo", "env", "grep", "id", "ls", "mkdir", "rm", "sh", "test", "touch", "wc", "wget"]
    {
        layer = layer.link(&format!("bin/{name}"), "busybox");
    }
    layer.directory("etc", 0o755).file(
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/ada:/bin/sh\n",
    )
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An image: its blobs by digest, and its manifest.
#[derive(Clone, Default)]
pub struct Made {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub layers: Vec<String>,
    pub config: String,
    pub manifest: Vec<u8>,
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image of layers, each as its archive and as it travels.
pub fn image(layers: &[(Vec<u8>, Vec<u8>)], run: &str) -> Made {
    let mut made = Made::default();
    let mut diffs = Vec::new();
    let mut described = Vec::new();
    for (plain, packed) in layers {
        let digest = Digest::of(packed).to_string();
        diffs.push(format!("\"{}\"", Digest::of(plain)));
        described.push(format!(
            "{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"{digest}\",\"size\":{}}}",
            packed.len()
        ));
        made.blobs.insert(digest.clone(), packed.clone());
        made.layers.push(digest);
    }
    let config = format!(
        "{{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{run},\
         \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[{}]}}}}",
        diffs.join(",")
    );
    made.config = Digest::of(config.as_bytes()).to_string();
    made.manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{{\"mediaType\":\
         \"application/vnd.oci.image.config.v1+json\",\"digest\":\"{}\",\"size\":{}}},\"layers\":[{}]}}",
        made.config,
        config.len(),
        described.join(",")
    )
    .into_bytes();
    made.blobs.insert(made.config.clone(), config.into_bytes());
    made
}

pub fn packed(plain: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let gzip = gzip(&plain);
    (plain, gzip)
}

/// A shell, a greeting, and a second layer that takes something away.
pub fn greeting(text: &str) -> Made {
    let base = busybox().file("etc/greeting", 0o644, "hidden").file("etc/old", 0o644, "old").tar();
    let above = Layer::new()
        .file("etc/greeting", 0o644, text)
        .file("etc/.wh.old", 0o644, "")
        .directory("usr/local/bin", 0o755)
        .file("usr/local/bin/greet", 0o755, "#!/bin/sh\ncat /etc/greeting\n")
        .tar();
    let run = r#"{"Env":["PATH=/usr/local/bin:/bin","WHO=image"],"User":"node","Cmd":["greet"]}"#;
    let zstd = zstd(&above);
    image(&[packed(base), (above, zstd)], run)
}
