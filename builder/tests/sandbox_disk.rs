//! A step that writes without end is ended, and what it wrote is given back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{fs, path::Path};

use staith_builder::engine::StepExit;
use support::bench::{Bench, built_in};

const LIMIT: u64 = 32 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_may_write_up_to_its_disk_limit() {
    let place = tempfile::tempdir().unwrap();
    let engine = built_in(place.path());
    let bench = Bench::new(&engine).await;
    let ended_by = |script: &'static str| {
        let mut step = bench.shell(script);
        step.limits.disk = Some(LIMIT);
        bench.run(&engine, step)
    };
    // Many files, slowly enough to be measured; it would go on for ever.
    let slow = "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > file-$i; done";
    assert_eq!(ended_by(slow).await.exit, StepExit::DiskUsedUp { limit: LIMIT });
    // One file, all at once: no file may be longer than the limit, whether anybody measures or not.
    let mut fast = bench.shell("head -c 1000000000 /dev/zero > file || true; wc -c < file");
    fast.limits.disk = Some(LIMIT);
    let file = fast.upper.join("file");
    assert_eq!(bench.run(&engine, fast).await.exit, StepExit::DiskUsedUp { limit: LIMIT });
    let length = fs::metadata(file).unwrap().len();
    assert!(length <= LIMIT, "{length}");
    // Nothing but names: a hundred thousand of them are more than 32 MiB of files.
    let empty = "mkdir d; i=0; while :; do i=$((i+1)); : > d/$i; done";
    assert_eq!(ended_by(empty).await.exit, StepExit::DiskUsedUp { limit: LIMIT });
    // A length counts, even where nothing is written.
    let sparse = ended_by("exec truncate -s 1G sparse").await;
    assert_eq!(sparse.exit, StepExit::Signal(25));
    let modest = ended_by("head -c 1000000 /dev/zero > file").await;
    assert_eq!(modest.exit, StepExit::Code(0));
    // What is in memory is bounded as well.
    let temporary =
        ended_by("head -c 100000000 /dev/zero | split -b 1000000 - /tmp/part || echo refused").await;
    assert!(temporary.stdout.contains("refused"), "{temporary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_can_be_removed() {
    let place = tempfile::tempdir().unwrap();
    let engine = built_in(place.path());
    let bench = Bench::new(&engine).await;
    let mut step =
        bench.shell("mkdir -p a/b; chmod 000 a/b; while :; do head -c 4000000 /dev/zero >> a/f; done");
    step.limits.disk = Some(LIMIT);
    let upper = step.upper.clone();
    assert_eq!(bench.run(&engine, step).await.exit, StepExit::DiskUsedUp { limit: LIMIT });
    make_readable(&upper);
    fs::remove_dir_all(&upper).unwrap();
}

fn make_readable(upper: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(upper.join("a/b"), fs::Permissions::from_mode(0o700)).unwrap();
}
