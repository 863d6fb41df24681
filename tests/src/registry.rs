//! A registry on loopback (Debian's `docker-registry`), and images to put into it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use staith_model::Digest;
use tempfile::TempDir;

use crate::wait;

/// A registry of its own, which ends when it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    _place: TempDir,
    process: Child,
    is_private: bool,
}

/// `ada` with the password `secret`, as `htpasswd -B` writes it.
const ADA: &str = "ada:$2b$04$Pl4fLTaERKYHe91wCqjT7OO83okXgZkGhx5lHHj8UEZ09TaTllY.S\n";
/// The same as a client says it.
pub const ADAS_CREDENTIALS: &str = "YWRhOnNlY3JldA==";

impl Registry {
    /// One that gives to everybody.
    ///
    /// # Panics
    /// The registry is not installed, or does not start.
    pub fn open() -> Self {
        Self::start(false)
    }

    /// One that gives to `ada` only.
    ///
    /// # Panics
    /// As above.
    pub fn private() -> Self {
        Self::start(true)
    }

    fn start(is_private: bool) -> Self {
        let place = tempfile::Builder::new().prefix("staith-registry-").tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let at = place.path().display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {at}/store}}}}\nhttp: {{addr: \"{address}\"}}\n"
        );
        if is_private {
            fs::write(place.path().join("users"), ADA).unwrap();
            config.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {at}/users}}}}\n"));
        }
        fs::write(place.path().join("config.yml"), config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(place.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is needed: apt-get install docker-registry");
        let registry = Self { address, _place: place, process, is_private };
        wait::until("the registry answers", || TcpStream::connect(address).ok());
        registry
    }

    /// What an image in it is called.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it for good.
    ///
    /// # Panics
    /// The system refused.
    pub fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Puts an image of one layer into it.
    ///
    /// # Panics
    /// The registry refused.
    pub fn push(&self, repository: &str, tag: &str, layer: &[u8], run: &str) {
        let config = format!(
            "{{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{run},\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{}\"]}}}}",
            Digest::of(layer)
        );
        let kind = "application/vnd.oci.image";
        let part = |end: &str, bytes: &[u8]| {
            format!(
                "{{\"mediaType\":\"{kind}.{end}\",\"digest\":\"{}\",\"size\":{}}}",
                Digest::of(bytes),
                bytes.len()
            )
        };
        for blob in [layer, config.as_bytes()] {
            self.push_blob(repository, blob);
        }
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{kind}.manifest.v1+json\",\"config\":{},\"layers\":[{}]}}",
            part("config.v1+json", config.as_bytes()),
            part("layer.v1.tar", layer)
        );
        let kind = format!("Content-Type: {kind}.manifest.v1+json\r\n");
        let answer =
            self.ask("PUT", &format!("/v2/{repository}/manifests/{tag}"), &kind, manifest.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    fn push_blob(&self, repository: &str, blob: &[u8]) {
        let answer = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[]);
        let place = answer.lines().find_map(|line| line.strip_prefix("Location: ")).expect(&answer);
        let path = place.split_once(&self.address.to_string()).map_or(place, |(_, path)| path);
        let kind = "Content-Type: application/octet-stream\r\n";
        let answer = self.ask("PUT", &format!("{path}&digest={}", Digest::of(blob)), kind, blob);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    fn ask(&self, method: &str, path: &str, more: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let signed = if self.is_private {
            format!("Authorization: Basic {ADAS_CREDENTIALS}\r\n")
        } else {
            String::new()
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n{signed}{more}\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The archive of a small root file system: a shell and its usual programs, and a file `/etc/greeting`.
///
/// # Panics
/// Debian's `busybox-static` is not installed.
pub fn small_system(greeting: &str) -> Vec<u8> {
    let program = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| fs::read(path).ok());
    let program = program.expect("busybox is needed: apt-get install busybox-static");
    let mut archive = tar::Builder::new(Vec::new());
    let mut put = |path: &str, kind: tar::EntryType, content: &[u8], link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            archive.append_data(&mut header, path, content).unwrap();
        } else {
            archive.append_link(&mut header, path, link).unwrap();
        }
    };
    put("bin/busybox", tar::EntryType::Regular, &program, "");
    for name in ["cat", "echo", "id", "ls", "sh", "wget"] {
        put(&format!("bin/{name}"), tar::EntryType::Symlink, &[], "busybox");
    }
    put("etc/greeting", tar::EntryType::Regular, greeting.as_bytes(), "");
    archive.into_inner().unwrap()
}
