//! Attempts to get out of a container, over a Docker Engine and a Podman of the tests' own. Each row meets what it meets in
//! the built-in sandbox; where a container differs, the row says how. Needs root and the packages `docker.io` and `podman`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use support::{
    container_engine::Kind,
    containers::containers,
    escape::{self, NOT_WRITABLE, Probe, Row, python},
};

/// The rows for containers: those of the built-in sandbox, but for what a container engine does in another way.
fn rows() -> Vec<Row> {
    let mut rows = escape::table();
    for row in &mut rows {
        if let Some(refusals) = in_a_container(row.what) {
            row.refusals = refusals;
        }
        if row.what == "namespaces that it may have" {
            // There is no user namespace to set a limit in; that none can be made is what the first rows are about.
            *row = python(
                "limits of namespaces",
                "write('/proc/sys/user/max_user_namespaces', '9')",
                NOT_WRITABLE,
            );
        }
        if row.what == "who" {
            row.probe = Probe::Python("len(set(os.getresuid() + os.getresgid())) == 1 and os.getuid() != 0");
        }
    }
    rows.push(python("supplementary groups", "os.getgroups() in ([], [os.getgid()])", &["True"]));
    rows.push(python("programs of the first process", "write('/.staith/init', 'x')", NOT_WRITABLE));
    rows.push(python("a file in the folder of the first process", "write('/.staith/x', 'x')", NOT_WRITABLE));
    rows.push(python("the socket of the first process", "knock('/.staith/control')", &["ECONNREFUSED"]));
    rows.push(python(
        "the name of its user",
        "__import__('pwd').getpwuid(os.getuid()).pw_name",
        &["builder"],
    ));
    rows
}

fn in_a_container(what: &str) -> Option<&'static [&'static str]> {
    Some(match what {
        "who" => &["True"],
        // The mount point is there and empty.
        "/sys" => &["[]"],
        // A file system for message queues, which is the container's own.
        "what is in /dev" => {
            &["fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"]
        }
        // The image's own, beside what Docker and this engine put into every container.
        "what is in /" => &[
            ".dockerenv .staith dev etc home proc root run sys tmp usr var workspace",
            ".staith dev etc home proc root run sys tmp usr var workspace",
        ],
        // Without a user namespace of the container's own the host's limit for the step's user holds.
        "watches of files" => &["b'128\\n'", "b'8192\\n'", "b'1024\\n'"],
        _ => return None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_out_of_a_container_of_docker_is_closed() {
    escape::close_every_way_out(&containers(Kind::Docker), rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_out_of_a_container_of_podman_is_closed() {
    escape::close_every_way_out(&containers(Kind::Podman), rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_hurt_only_themselves() {
    escape::bombs_hurt_only_themselves(&containers(Kind::Docker)).await;
}
