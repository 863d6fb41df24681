//! A place of the suite's own on this machine: mounts and a network that nobody else sees. In it are a machine beside this one,
//! which is asked for names as well, and file systems on which there is room for few files.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Names the folder that belongs to the place.
pub const APART: &str = "STAITH_TEST_ATTACKS_APART";
/// The machine beside this one, and the end of names that it knows.
pub const BESIDE: &str = "10.99.0.2";
pub const DOMAIN: &str = "rebinding.test";
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

const SETUP: &str = r#"
place=$1 beside=$2 program=$3 test=$4
for user in root ordinary; do
    mkdir "$place/$user"
    mount -t tmpfs -o size=64m,nr_inodes=20k,mode=1777 tmpfs "$place/$user"
done
ip link set lo up
mkfifo "$place/ready"
unshare --net sh -ec '
    ip link set lo up
    ip link add name st1 type veth peer name st0 netns "$1"
    ip address add 10.99.0.2/24 dev st1
    ip link set st1 up
    exec /usr/bin/python3 -c "$2"' beside $$ "$beside" > "$place/ready" &
trap "kill $!" EXIT
read -r _ < "$place/ready"
ip address add 10.99.0.1/24 dev st0
ip link set st0 up
echo "nameserver 10.99.0.2" > "$place/resolv.conf"
sed 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf > "$place/nsswitch.conf"
for name in resolv.conf nsswitch.conf; do mount --bind "$place/$name" "/etc/$name"; done
"$program" --exact "$test" --nocapture
"#;

/// Runs the test of this name again in such a place, which only root can make; false where it runs there already, or can't.
pub fn run_again(test: &str) -> bool {
    if !nix::unistd::geteuid().is_root() || place().is_some() {
        return false;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private", "sh", "-ec", SETUP, "apart"]);
    command.arg(folder.path()).arg(include_str!("beside.py")).arg(env::current_exe().unwrap()).arg(test);
    for name in PROXIES {
        // Nothing of this machine's network is there.
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let output = command.env(APART, folder.path()).stdin(Stdio::null()).output().unwrap();
    eprintln!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the test failed in a place of its own");
    true
}

fn place() -> Option<PathBuf> {
    env::var_os(APART).map(PathBuf::from)
}

/// Where there is room for few files. Root and an ordinary user have one each, for they are there at the same time.
pub fn with_few_files(by_root: bool) -> PathBuf {
    place().expect("the row needs it").join(if by_root { "root" } else { "ordinary" })
}

pub fn needs_it() -> Option<&'static str> {
    place().is_none().then_some("only root can make mounts and a network for it")
}

/// How many files can still be made there.
pub fn free_files(at: &Path) -> u64 {
    rustix::fs::statvfs(at).unwrap().f_favail
}
