//! Rows 28, 29, 66: who a step is, and whom it can become.

use super::row::{
    NOT_WRITABLE,
    Room::{self, Machine},
    Row, call, containers, images, needs_root, python, state,
};

const REFUSED: &[&str] = &["EPERM"];

pub fn rows() -> Vec<Row> {
    let mut rows = programs();
    rows.extend(start());
    rows
}

fn programs() -> Vec<Row> {
    let made = |what, expression: &str| python(28, what, expression, REFUSED);
    vec![
        python(28, "a set-user-id program", "run(os.path.join(HERE, 'id-of-root'), '-u') == '0'", &["False"])
            .needs(needs_root),
        python(
            28,
            "a program with capabilities",
            "run(os.path.join(HERE, 'grep-with-capabilities'), 'CapEff', '/proc/self/status').endswith('00000000')",
            &["True"],
        )
        .needs(needs_root),
        made("making a program set-user-id", "os.chmod(mine(), 0o4755)"),
        made("making a folder set-group-id", "os.chmod(fresh(), 0o2755)"),
        made("set-user-id by descriptor", "os.fchmod(os.open(mine(), 0), 0o4755)"),
        call(28, "set-user-id by fchmodat2", "fchmodat2", "-100, mine(), 0o4755, 0"),
        made("a new set-user-id file", "os.open(mine() + b'-new', os.O_CREAT | os.O_WRONLY, 0o4755)"),
        made("a nameless set-user-id file", "os.open(fresh(), os.O_TMPFILE | os.O_WRONLY, 0o4755)"),
        made("a set-user-id pipe", "os.mknod(mine() + b'-pipe', 0o14755)"),
        state(28, "an ordinary file", "os.chmod(mine(), 0o1755)", &["None"]),
        python(28, "capabilities for a file", "os.setxattr(mine(), 'security.capability', bytes.fromhex('0100000200200000000000000000000000000000'))", REFUSED)
            .outside(Room::Namespaces),
        call(28, "ambient capabilities", "prctl", "47, 2, 13, 0, 0")
            .no_outside("not even root has one that its children would inherit"),
        python(29, "becoming root", "os.setuid(0)", &["EINVAL", "EPERM"]).outside(Room::Root)
            .differs(containers, &["EPERM"], IDS),
        python(29, "other groups", "os.setgroups([0])", &["EPERM", "EINVAL"]).outside(Room::Root),
        python(29, "giving a file away", "os.chown(mine(), 0, 0)", &["EPERM", "EINVAL"]).outside(Room::Root)
            .differs(containers, &["EPERM"], IDS),
        python(29, "mapping users by a helper", "maps_users()", &["False", "ENOENT"])
            .differs(images, &["ENOENT"], "it is not in the image")
            .no_outside("this machine may have no such helper"),
    ]
}

const IDS: &str = "without a user namespace there is such a user, and it is another";

fn start() -> Vec<Row> {
    vec![
        state(66, "who", "os.getresuid() + os.getresgid()", &["(1000, 1000, 1000, 1000, 1000, 1000)"])
            .differs(
                containers,
                &[
                    "(1900200000, 1900200000, 1900200000, 1900200000, 1900200000, 1900200000)",
                    "(64321, 64321, 64321, 64321, 64321, 64321)",
                ],
                "without a user namespace it is the user that files get on the machine",
            ),
        state(66, "is it root", "0 in os.getresuid() + os.getresgid()", &["False"]),
        state(66, "groups", "set(os.getgroups()) - {os.getgid(), 65534}", &["set()"]),
        state(
            66,
            "privileges",
            "status('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb').replace('0', '').strip() == ''",
            &["True"],
        ),
        state(66, "blocked signals", "status('SigBlk')", &["0000000000000000"]),
        state(
            66,
            "ignored signals",
            "run('grep', 'SigIgn', '/proc/self/status')",
            &["SigIgn:\t0000000000000000"],
        ),
        state(66, "its own session", "os.getsid(0) == os.getppid()", &["True"]),
        state(66, "umask", "oct(os.umask(0))", &["0o22"]),
        state(66, "core files", "resource.getrlimit(resource.RLIMIT_CORE)", &["(0, 0)"]),
        state(66, "host name", "os.uname().nodename", &["staith"]),
        state(66, "variables", "CANARY in ''.join(os.environ.values())", &["False"]),
        python(66, "programs of the first process", "opens('/.staith/init')", NOT_WRITABLE)
            .instead(Machine, "opens(CANARY_FILE)")
            .differs(containers, &["EACCES", "EROFS"], "it is there, and read-only"),
        python(66, "the folder of the first process", "creates('/.staith')", NOT_WRITABLE)
            .differs(containers, &["EACCES", "EROFS"], "it is there, and read-only")
            .instead(Machine, "creates(os.path.dirname(CANARY_FILE))"),
        state(66, "the name of its user", "__import__('pwd').getpwuid(os.getuid()).pw_name", &["builder"]),
    ]
}
