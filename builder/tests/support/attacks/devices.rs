//! Rows 15, 16, 51: devices and terminals.

use super::row::{ABSENT, Outside, Room::Root, Row, containers, has, needs_root, python, state};

const REFUSED: &[&str] = &["EPERM"];

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        python(15, "a character device", "device(0o20000, 1, 3)", REFUSED).outside(Root),
        python(15, "a block device", "device(0o60000, 7, 0)", REFUSED).outside(Root),
        python(15, "a whiteout", "os.mknod(os.path.join(HERE, 'gone'), 0o20000, 0)", REFUSED)
            .no_outside("elsewhere anybody may make one: it stands for no device"),
        python(15, "a device in a layer", "os.open(os.path.join(HERE, 'null-device'), 0)", &["EACCES"])
            .needs(needs_root),
        python(15, "loop devices", "os.open('/dev/loop-control', 0)", ABSENT)
            .needs(|| (!has("/dev/loop-control")).then_some("this machine has no /dev/loop-control")),
        state(
            15,
            "what is in /dev",
            "' '.join(sorted(os.listdir('/dev')))",
            &["fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"],
        )
        .differs(
            containers,
            &["fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"],
            "a file system for message queues, which is the container's own",
        ),
        python(51, "a terminal of the caller's", "os.open('/dev/tty', 0)", &["ENXIO"])
            .no_outside("the tests have no terminal of their own"),
        state(51, "terminals of others", "os.listdir('/dev/pts')", &["['ptmx']"]),
        python(51, "typing into a terminal", "terminal(0x5412)", REFUSED).no_outside(LEGACY),
        python(51, "a console's selection", "terminal(0x541c)", REFUSED).instead(Root, "terminal(0x540f)"),
        python(51, "a console's messages", "terminal(0x541d)", REFUSED).instead(Root, "terminal(0x540f)"),
    ];
    for (what, path, absent) in machines() {
        let mut row = python(16, what, format!("os.open('{path}', 0)"), ABSENT);
        if !has(path) {
            row.outside = Outside::No(absent);
        }
        rows.push(row);
    }
    rows
}

const LEGACY: &str = "kernels can switch it off for all (dev.tty.legacy_tiocsti)";

fn machines() -> [(&'static str, &'static str, &'static str); 6] {
    [
        ("virtual machines", "/dev/kvm", "this machine has no /dev/kvm"),
        ("file systems of one's own", "/dev/fuse", "this machine has no /dev/fuse"),
        ("networks of one's own", "/dev/net/tun", "this machine has no /dev/net/tun"),
        ("graphics", "/dev/dri/card0", "this machine has no /dev/dri"),
        ("networks of virtual machines", "/dev/vhost-net", "this machine has no /dev/vhost-net"),
        ("sockets of virtual machines", "/dev/vhost-vsock", "this machine has no /dev/vhost-vsock"),
    ]
}
