//! Rows 1 to 3, 6: mounts and roots.

use super::row::{Room::Namespaces, Row, call, python, state};

const REFUSED: &[&str] = &["EPERM"];

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        python(1, "mount proc", "mounts(b'proc')", REFUSED),
        python(1, "mount sysfs", "mounts(b'sysfs')", REFUSED),
        python(1, "mount cgroup2", "mounts(b'cgroup2')", REFUSED),
        python(1, "mount tmpfs", "mounts(b'tmpfs')", REFUSED),
        python(1, "mount overlay", "mounts(b'overlay', b'lowerdir=/usr/bin:/usr/lib')", REFUSED),
        python(1, "bind a folder", "mounts(None, flags=4096, source=b'/usr/bin')", REFUSED),
        python(2, "remount the root writable", "remounts(b'/', 4096)", REFUSED),
        python(2, "remount /proc/sys writable", "remounts(b'/proc/sys', 4096)", REFUSED),
        call(2, "unmount a mask", "umount2", "b'/proc/kcore', 2"),
        call(2, "unmount the root", "umount2", "b'/', 2"),
        call(3, "fsopen", "fsopen", "b'tmpfs', 0"),
        call(3, "fsconfig", "fsconfig", "-1, 6, 0, 0, 0"),
        call(3, "fsmount", "fsmount", "-1, 0, 0"),
        call(3, "fspick", "fspick", "-100, b'/', 0"),
        call(3, "open_tree", "open_tree", "-100, b'/tmp', 1"),
        call(3, "move_mount", "move_mount", "-100, b'/tmp', -100, b'/run', 0"),
        call(3, "mount_setattr", "mount_setattr", "-100, b'/', 0, bytes(32), 32"),
        call(6, "pivot_root", "pivot_root", "b'/tmp', b'/tmp'"),
        call(6, "chroot", "chroot", "fresh()"),
        python(6, "out of a chroot", "breaks_out()", REFUSED),
    ];
    for row in &mut rows {
        row.outside = super::row::Outside::Same(Namespaces);
    }
    rows.push(state(6, "above the root", "os.listdir('/..') == os.listdir('/')", &["True"]));
    rows
}
