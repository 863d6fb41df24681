//! Rows 13, 17, 18, 31, 65: files and sockets of the machine, and what of it is to be seen.

use super::{
    row::{self, ABSENT, NOT_WRITABLE, Room::Machine, Row, containers, images, python, scenario, state},
    scenarios,
};

pub fn rows() -> Vec<Row> {
    let mut rows = others();
    rows.extend(sockets());
    rows.extend(machine());
    rows
}

fn others() -> Vec<Row> {
    vec![
        python(13, "its own program", "opens('/proc/self/exe')", &["EACCES", "EROFS", "ETXTBSY"])
            .differs(
                |column| column.kind == row::Image,
                &["ETXTBSY"],
                "an image's files are the step's own, and this one runs",
            )
            .instead(Machine, "opens(CANARY_FILE)"),
        python(13, "the program of process 1", "opens(f'/proc/{process_1()}/exe')", &["EACCES", "EPERM"])
            .instead(Machine, "opens(CANARY_FILE)"),
        state(13, "descriptors", "' '.join(sorted(os.listdir('/proc/self/fd')))", &["0 1 2 3"]),
        state(13, "standard input", "os.readlink('/proc/self/fd/0')", &["/dev/null"]),
        state(
            13,
            "what its descriptors are",
            "{os.readlink(f'/proc/self/fd/{n}')[:5] for n in (1, 2)}",
            &["{'pipe:'}"],
        ),
        state(13, "directory", "os.getcwd()", &["/workspace"]),
        state(13, "above its directory", "os.listdir('/proc/self/cwd/../..') == os.listdir('/')", &["True"]),
        python(31, "a hard link to a program", "linked('/usr/bin/env')", &["EXDEV", "EPERM", "EACCES"])
            .instead(Machine, "linked(CANARY_FILE)"),
        python(31, "a hard link to a file of the machine", "linked(CANARY_FILE)", ABSENT),
    ]
}

fn sockets() -> Vec<Row> {
    vec![
        python(17, "a socket of the machine's", "knock(CANARY_SOCKET)", ABSENT),
        python(
            17,
            "an abstract socket of the machine's",
            "knock(b'\\0' + CANARY_ABSTRACT.encode())",
            &["ECONNREFUSED", "EPERM"],
        ),
        python(17, "Docker's socket", "knock('/run/docker.sock')", ABSENT)
            .instead(Machine, "knock(CANARY_SOCKET)"),
        python(17, "Podman's socket", "knock('/run/podman/podman.sock')", ABSENT)
            .instead(Machine, "knock(CANARY_SOCKET)"),
        python(17, "containerd's socket", "knock('/run/containerd/containerd.sock')", ABSENT)
            .instead(Machine, "knock(CANARY_SOCKET)"),
        python(17, "the system bus", "knock('/run/dbus/system_bus_socket')", ABSENT)
            .instead(Machine, "knock(CANARY_SOCKET)"),
        python(17, "the socket of the first process", "knock('/.staith/control')", ABSENT)
            .differs(
                containers,
                &["ECONNREFUSED"],
                "it takes one connection, and that was the first process's",
            )
            .instead(Machine, "knock(CANARY_SOCKET)"),
        scenario(
            18,
            "descriptors from one sandbox to another",
            |stage| Box::pin(scenarios::neighbours(stage)),
            &["nobody came"],
            "the scenario passes a descriptor within one sandbox first",
        ),
    ]
}

fn machine() -> Vec<Row> {
    let makes = |what, folder: &str| {
        python(65, what, format!("creates('{folder}')"), NOT_WRITABLE)
            .instead(Machine, "creates(os.path.dirname(CANARY_FILE))")
    };
    let of_an_image = |row: Row| {
        row.differs(
            |column| column.kind == row::Image,
            &["created"],
            "an image's root is the step's own, and goes with it",
        )
    };
    let of_another = |row: Row| {
        row.differs(images, &["EACCES"], "an image's files are root's, and the step is another user")
    };
    vec![
        state(
            65,
            "what is in /",
            "' '.join(n for n in sorted(os.listdir('/')) if not n.startswith(('lib', 'bin', 'sbin')))",
            &["dev etc home proc run tmp usr var workspace"],
        )
        .differs(
            containers,
            &[
                ".dockerenv .staith dev etc home proc root run sys tmp usr var workspace",
                ".staith dev etc home proc root run sys tmp usr var workspace",
            ],
            "the image's own, beside what the container engine and this one put there",
        ),
        state(65, "what is in /var", "' '.join(os.listdir('/var'))", &["tmp"]),
        state(65, "what is in /home", "' '.join(os.listdir('/home'))", &["builder"]),
        state(65, "what is in /run and /tmp", "os.listdir('/run') + os.listdir('/tmp')", &["[]"]),
        python(65, "a file of the machine", "reads(CANARY_FILE)", ABSENT),
        python(65, "/etc/shadow", "os.stat('/etc/shadow').st_mode", ABSENT),
        python(65, "/etc/machine-id", "os.stat('/etc/machine-id').st_mode", ABSENT)
            .needs(|| (!row::has("/etc/machine-id")).then_some("this machine has no /etc/machine-id")),
        python(29, "/etc/subuid", "os.stat('/etc/subuid').st_mode", ABSENT)
            .needs(|| (!row::has("/etc/subuid")).then_some("this machine has no /etc/subuid")),
        python(65, "/etc/ssl/private", "os.stat('/etc/ssl/private').st_mode", ABSENT)
            .needs(|| (!row::has("/etc/ssl/private")).then_some("this machine has no /etc/ssl/private")),
        of_an_image(of_another(makes("a file in /usr", "/usr/bin"))),
        of_an_image(of_another(makes("a file in /etc", "/etc"))),
        of_another(makes("a file in /", "/")),
        of_another(makes("a file in /dev", "/dev")),
        of_an_image(of_another(makes("a file in /lib", "/usr/lib"))),
        python(65, "the list of users", "opens('/etc/passwd')", NOT_WRITABLE)
            .instead(Machine, "opens(CANARY_FILE)")
            .differs(
                |column| column.kind == row::Image,
                &["opened"],
                "an image's root is the step's own, and goes with it",
            )
            .differs(containers, &["EACCES", "EROFS"], "it is bound in by this engine"),
        state(
            65,
            "all that can be written to",
            "writable_places()",
            &["/dev/shm /home/builder /run /tmp /var/tmp /workspace"],
        )
        .differs(
            |column| column.kind == row::Image,
            &["/dev/shm /etc /home /lib /lib64 /run /tmp /usr /var /workspace"],
            "an image's root is the step's own, and goes with it",
        ),
    ]
}
