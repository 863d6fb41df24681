//! Rows 4, 5, and what of 21, 26 and 29 is about namespaces.

use super::row::{NO_ENTRY, NOT_WRITABLE, Room::Namespaces, Row, call, containers, python, state};

const REFUSED: &[&str] = &["EPERM"];

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        call(4, "a user namespace", "unshare", "0x10000000"),
        call(4, "a mount namespace", "unshare", "0x20000"),
        call(4, "a process namespace", "unshare", "0x20000000"),
        call(4, "a network namespace", "unshare", "0x40000000"),
        call(4, "an IPC namespace", "unshare", "0x8000000"),
        call(4, "a UTS namespace", "unshare", "0x4000000"),
        call(4, "a cgroup namespace", "unshare", "0x2000000"),
        call(26, "a time namespace", "unshare", "0x80"),
        python(4, "clone with a user namespace", "cloned(0x10000000)", REFUSED),
        python(4, "clone with a mount namespace", "cloned(0x20000)", REFUSED),
        python(4, "clone with a process namespace", "cloned(0x20000000)", REFUSED),
        python(4, "clone with a network namespace", "cloned(0x40000000)", REFUSED),
        python(4, "clone3 with a user namespace", "cloned3(0x10000000)", &["ENOSYS"]),
        python(4, "clone3", "cloned3(0)", &["ENOSYS"]),
        python(5, "joining its own mount namespace", "joins('/proc/self/ns/mnt')", REFUSED),
        python(5, "joining namespaces by process", "call('setns', os.pidfd_open(1), 0x20000)", REFUSED),
    ];
    for row in &mut rows {
        row.outside = super::row::Outside::Same(Namespaces);
    }
    for (what, name) in [
        ("the mount namespace of process 1", "mnt"),
        ("the network namespace of process 1", "net"),
        ("the user namespace of process 1", "user"),
    ] {
        let expression = format!("os.open(f'/proc/{{process_1()}}/ns/{name}', 0)");
        rows.push(python(5, what, expression, NO_ENTRY));
    }
    rows.extend([
        python(21, "tables of a network of its own", "nested_tables()", REFUSED),
        python(29, "write a map of users", "open('/proc/self/uid_map', 'w').write('0 0 1')", NOT_WRITABLE)
            .no_outside("a map is written once, and each of the rooms has its own already"),
        state(
            4,
            "namespaces that it may have",
            "{int(read('/proc/sys/user/' + n)) for n in os.listdir('/proc/sys/user') if n.endswith('_namespaces')} == {0}",
            &["True"],
        )
        .differs(containers, &["False"], "there is no user namespace to set a limit in; none can be made all the same"),
    ]);
    rows
}
