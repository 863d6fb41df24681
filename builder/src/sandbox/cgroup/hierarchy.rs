//! Where control groups are mounted and where this process is in them. Pure up to the last question, whether a directory
//! may be used, which only trying answers.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Where a step's groups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// For each controller of v1 this process's own group. Also on hybrid hosts, whose v2 tree has no controllers.
    V1(BTreeMap<String, PathBuf>),
    /// Groups of v2 in which a step's group could be made, nearest first.
    V2(Vec<PathBuf>),
    /// None are mounted.
    None,
}

/// Controllers that limits are made of.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`.
pub(super) fn find(mounts: &str, own: &str) -> Layout {
    let mut v1 = BTreeMap::new();
    let mut v2 = Vec::new();
    for mount in mounts.lines().filter_map(Mount::parse) {
        match mount.kind {
            "cgroup" => {
                for controller in mount.options.split(',').filter(|option| CONTROLLERS.contains(option)) {
                    if let Some(path) = own_group(own, |controllers| controllers.contains(&controller)) {
                        v1.insert(controller.to_owned(), mount.directory(path));
                    }
                }
            }
            "cgroup2" => {
                if let Some(path) = own_group(own, |controllers| controllers == [""]) {
                    let own = mount.directory(path);
                    // A group with processes of its own can't hand controllers down, so the nearest candidate is the parent.
                    v2 = own
                        .ancestors()
                        .skip(1)
                        .take_while(|above| above.starts_with(mount.place))
                        .map(Path::to_path_buf)
                        .collect();
                    if own == Path::new(mount.place) {
                        // The root of the tree is exempt from that rule.
                        v2.push(own);
                    }
                }
            }
            _ => {}
        }
    }
    match (v1.is_empty(), v2.is_empty()) {
        (false, _) => Layout::V1(v1),
        (true, false) => Layout::V2(v2),
        (true, true) => Layout::None,
    }
}

/// The groups whose memory limits hold for this process, its own first.
pub(super) fn memory_groups(mounts: &str, own: &str) -> Vec<PathBuf> {
    let of_mount = |mount: Mount<'_>| {
        let path = match mount.kind {
            "cgroup" if mount.options.split(',').any(|option| option == "memory") => {
                own_group(own, |controllers| controllers.contains(&"memory"))
            }
            "cgroup2" => own_group(own, |controllers| controllers == [""]),
            _ => None,
        }?;
        let own = mount.directory(path);
        let above = own.ancestors().take_while(|above| above.starts_with(mount.place));
        Some(above.map(Path::to_path_buf).collect::<Vec<_>>())
    };
    mounts.lines().filter_map(Mount::parse).filter_map(of_mount).flatten().collect()
}

/// The directory of the group, with this controller or else of v2, that the process with this `/proc/PID/cgroup` is in.
pub(super) fn group_of(mounts: &str, its: &str, controller: &str) -> Option<PathBuf> {
    let mounts = || mounts.lines().filter_map(Mount::parse);
    let on_v1 = mounts().find_map(|mount| {
        let here = mount.kind == "cgroup" && mount.options.split(',').any(|option| option == controller);
        let path = own_group(its, |controllers| controllers.contains(&controller))?;
        here.then(|| mount.directory(path))
    });
    on_v1.or_else(|| {
        let mount = mounts().find(|mount| mount.kind == "cgroup2")?;
        Some(mount.directory(own_group(its, |controllers| controllers == [""])?))
    })
}

/// Where trees with one of our controllers, or of v2, are mounted.
pub(super) fn roots(mounts: &str) -> Vec<PathBuf> {
    let ours = |mount: &Mount<'_>| match mount.kind {
        "cgroup" => mount.options.split(',').any(|option| CONTROLLERS.contains(&option)),
        kind => kind == "cgroup2",
    };
    mounts.lines().filter_map(Mount::parse).filter(ours).map(|mount| PathBuf::from(mount.place)).collect()
}

struct Mount<'a> {
    root: &'a str,
    place: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// `36 35 98:0 /root /place rw,noatime shared:1 - kind source options`
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(Self {
            root: before.next()?,
            place: before.next()?,
            kind: after.next()?,
            options: after.nth(1).unwrap_or(""),
        })
    }

    /// In a container the mount shows a part of the tree only.
    fn directory(&self, path: &str) -> PathBuf {
        let below = path.strip_prefix(self.root.trim_end_matches('/')).unwrap_or(path);
        Path::new(self.place).join(below.trim_start_matches('/'))
    }
}

/// `4:memory,cpu:/path`, and for v2 `0::/path`.
fn own_group(own: &str, wanted: impl Fn(&[&str]) -> bool) -> Option<&str> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers: Vec<&str> = parts.next()?.split(',').collect();
        let path = parts.next()?;
        wanted(&controllers).then_some(path)
    })
}

impl Layout {
    pub(super) const fn is_v2(&self) -> bool {
        matches!(self, Self::V2(_))
    }

    /// The directory in which to make a group that the controller limits.
    pub(super) fn parent_of(&self, controller: &str) -> io::Result<&Path> {
        let refuse = |why: String| Err(io::Error::other(why));
        match self {
            Self::V1(groups) => match groups.get(controller) {
                Some(group) => Ok(group),
                None => refuse(format!("this host has no `{controller}` control groups mounted")),
            },
            Self::V2(candidates) => {
                // All of one step's limits have to be in one group, so the best parent serves all.
                let given = |group: &PathBuf| if may_write(group) { handed_down(group) } else { Vec::new() };
                let best = candidates.iter().rev().max_by_key(|group| given(group).len());
                match best {
                    Some(group) if given(group).iter().any(|name| name == controller) => Ok(group),
                    _ => refuse(format!(
                        "no control group above this process that it may write hands the `{controller}` \
                         controller down; start Staith with `systemd-run --user --scope -p Delegate=yes`, or as root"
                    )),
                }
            }
            Self::None => refuse("this host has no control groups mounted".to_owned()),
        }
    }
}

fn handed_down(group: &Path) -> Vec<String> {
    let given = fs::read_to_string(group.join("cgroup.subtree_control")).unwrap_or_default();
    let given = given.split_ascii_whitespace().filter(|name| CONTROLLERS.contains(name));
    given.map(str::to_owned).collect()
}

fn may_write(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
        && rustix::fs::access(directory.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 30 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
38 30 0:34 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_host_is_v1() {
        let own = "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n";
        let Layout::V1(groups) = find(HYBRID, own) else { panic!() };
        assert_eq!(groups["memory"], Path::new("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(groups["cpu"], Path::new("/sys/fs/cgroup/cpu"));
        assert!(!groups.contains_key("pids"));
        let trees = ["cpu", "memory", "unified"].map(|name| Path::new("/sys/fs/cgroup").join(name));
        assert_eq!(roots(HYBRID), trees);
    }

    #[test]
    fn on_v2_candidates_are_the_groups_above() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "0::/user.slice/user-1000.slice/session-1.scope\n";
        let Layout::V2(groups) = find(mounts, own) else { panic!() };
        let expected =
            ["/sys/fs/cgroup/user.slice/user-1000.slice", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"];
        assert_eq!(groups, expected.map(PathBuf::from));
        assert_eq!(find(mounts, "0::/\n"), Layout::V2(vec!["/sys/fs/cgroup".into()]));
    }

    #[test]
    fn in_a_container_the_mount_shows_a_part() {
        let mounts = "35 30 0:31 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let Layout::V1(groups) = find(mounts, "4:memory:/docker/abc/x\n") else { panic!() };
        assert_eq!(groups["memory"], Path::new("/sys/fs/cgroup/memory/x"));
    }

    #[test]
    fn memory_is_limited_by_every_group_above() {
        let groups = memory_groups(HYBRID, "4:memory:/a\n0::/b\n");
        let expected = ["memory/a", "memory", "unified/b", "unified"];
        assert_eq!(groups, expected.map(|name| Path::new("/sys/fs/cgroup").join(name)));
        assert!(memory_groups("", "").is_empty());
    }

    #[test]
    fn nothing_mounted_is_nothing() {
        assert_eq!(find("", ""), Layout::None);
        assert!(Layout::None.parent_of("memory").is_err());
    }
}
