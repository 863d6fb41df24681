//! `/etc`: what programs need to run and to check certificates, and nothing that tells who this host is.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::super::{
    HOME,
    mounts::{Attributes, bind},
};
use crate::engine::{Neighbour, hosts};

/// Files of the host that are copied, and directories that are bound, where they exist. Private keys live beside the
/// certificates, so those directories are named one by one.
const FROM_HOST: [&str; 41] = [
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "default/locale",
    "fonts",
    "gai.conf",
    "java",
    "java-11-openjdk/security",
    "java-17-openjdk/security",
    "java-21-openjdk/security",
    "java-25-openjdk/security",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.conf",
    "localtime",
    "login.defs",
    "lsb-release",
    "magic",
    "maven/logging",
    // Not its settings: they may hold passwords of repositories.
    "maven/m2.conf",
    "mime.types",
    "netconfig",
    "os-release",
    "perl",
    "php",
    "pki/ca-trust",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "protocols",
    "rpc",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
];

/// Bigger files are no configuration.
const MAX_COPY: u64 = 4 << 20;

/// Fills `target`, which does not exist yet.
pub(super) fn fill(target: &Path, neighbours: &[Neighbour]) -> io::Result<()> {
    fs::create_dir(target)?;
    for name in FROM_HOST {
        let (host, inside) = (Path::new("/etc").join(name), target.join(name));
        show(&host, &inside)?;
    }
    for (name, text) in made_up(neighbours) {
        fs::write(target.join(name), text)?;
    }
    symlink("/proc/self/mounts", target.join("mtab"))
}

/// What the user may not read, the sandbox does without.
fn show(host: &Path, inside: &Path) -> io::Result<()> {
    let Ok(found) = fs::metadata(host) else { return Ok(()) };
    if let Some(parent) = inside.parent() {
        fs::create_dir_all(parent)?;
    }
    if found.is_dir() {
        fs::create_dir(inside)?;
        return bind(host, inside, Attributes::READ_ONLY);
    }
    if let Some(link) = link_into_usr(host) {
        return symlink(link, inside);
    }
    if !found.is_file() || found.len() > MAX_COPY {
        return Ok(());
    }
    match fs::read(host) {
        Ok(bytes) => fs::write(inside, bytes),
        Err(_) => Ok(()),
    }
}

/// Some programs read the link rather than the file, as for the name of the time zone.
fn link_into_usr(host: &Path) -> Option<PathBuf> {
    if !fs::symlink_metadata(host).ok()?.is_symlink() {
        return None;
    }
    fs::canonicalize(host).ok().filter(|target| target.starts_with("/usr"))
}

fn made_up(neighbours: &[Neighbour]) -> [(&'static str, String); 5] {
    let passwd = format!(
        "root:x:0:0:root:/root:/usr/sbin/nologin\n\
         builder:x:1000:1000:builder:{HOME}:/bin/sh\n\
         nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
    );
    let group = "root:x:0:\nbuilder:x:1000:\nnogroup:x:65534:\n".to_owned();
    let nsswitch = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                    protocols: files\nservices: files\n"
        .to_owned();
    // Without `/etc/hosts` being asked first some resolvers look up `localhost` elsewhere.
    let host_conf = "multi on\n".to_owned();
    [
        ("passwd", passwd),
        ("group", group),
        ("hosts", hosts(neighbours)),
        ("nsswitch.conf", nsswitch),
        ("host.conf", host_conf),
    ]
}
