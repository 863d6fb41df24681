//! The contract of [`Engine`], as tests over any implementation.

use std::{
    fs,
    os::unix::fs::FileTypeExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use staith_builder::engine::{Engine, EngineError, OutputChunk, StepExit, Stream, Support};
use staith_model::Network;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, collect, eventually, mode, processes_with};
pub use super::{gate_contract::*, terminal::*};

/// A text that is in the arguments of one test's processes and of no others, also when the test runs over several engines
/// at once.
pub(super) fn marker(test: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // Ended, so that the first is not found in the tenth.
    format!("staith-marker-{test}-{}-{number}-", std::process::id())
}

pub async fn exit_codes_are_the_programs(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    for code in [0, 1, 42, 137, 255] {
        let ended = bench.run(engine, bench.shell(&format!("exit {code}"))).await;
        assert_eq!(ended.exit, StepExit::Code(code));
    }
    let ended = bench.run(engine, bench.shell("kill -USR1 $$")).await;
    assert_eq!(ended.exit, StepExit::Signal(10));
}

pub async fn output_comes_in_order_and_while_the_step_runs(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let step = bench.shell("echo first; echo odd >&2; sleep 1000");
    let (output, mut said) = mpsc::channel::<OutputChunk>(16);
    let cancel = CancellationToken::new();
    let listen = async {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while out != b"first\n" || err != b"odd\n" {
            let chunk = said.recv().await.expect("the step is still running");
            if chunk.stream == Stream::Stdout { &mut out } else { &mut err }.extend(chunk.bytes);
        }
        // Heard while it runs: only this ends it.
        cancel.cancel();
        while said.recv().await.is_some() {}
    };
    let (exit, ()) = tokio::join!(engine.run(step, output, cancel.clone()), listen);
    assert_eq!(exit.unwrap(), StepExit::Cancelled);

    let ended = bench.run(engine, bench.shell("seq 1 200000")).await;
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(ended.stdout == expected, "{} bytes came", ended.stdout.len());
}

pub async fn a_slow_or_absent_receiver_loses_nothing_and_blocks_nobody(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let (output, said) = mpsc::channel(1);
    drop(said);
    let exit = engine.run(bench.shell("seq 1 100000"), output, CancellationToken::new()).await;
    assert_eq!(exit.unwrap(), StepExit::Code(0));
}

pub async fn the_environment_is_the_specs_alone(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let mut step = bench.argv(&["env"]);
    step.env = [("GREETING".to_owned(), "hello = world".to_owned())].into();
    let ended = bench.run(engine, step).await;
    let mut names: Vec<&str> = ended.stdout.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["GREETING", "HOME", "LANG", "PATH", "TMPDIR", "USER"], "{}", ended.stdout);
    assert!(ended.stdout.contains("GREETING=hello = world\n"));
    assert!(ended.stdout.contains("TMPDIR=/tmp\n"));
}

pub async fn a_step_starts_where_it_was_told(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    assert_eq!(bench.say(engine, "pwd").await, "/workspace\n");
    let mut step = bench.argv(&["pwd"]);
    bench.directory(&format!("{}/deep", step.lowers[0].strip_prefix(bench.place.path()).unwrap().display()));
    step.workdir = Some("deep".to_owned().try_into().unwrap());
    assert_eq!(bench.run(engine, step).await.stdout, "/workspace/deep\n");
    let mut step = bench.argv(&["pwd"]);
    step.workdir = Some("absent".to_owned().try_into().unwrap());
    let ended = bench.run(engine, step).await;
    assert!(
        matches!(&ended.exit, StepExit::NotStarted { why, .. } if why.contains("/workspace/absent")),
        "{ended:?}"
    );
}

pub async fn changes_land_in_upper_and_lowers_stay(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let step = bench.shell(
        "cat base top; cat both; rm gone; echo new > added; echo more >> base; chmod 700 script; \
         ln -s added link; mkdir -p a/b; echo deep > a/b/c; rm -r whole; mkdir whole; echo x > whole/x",
    );
    let (lower, upper, work) = (step.lowers[0].clone(), step.upper.clone(), step.work.clone());
    let above = bench.directory("above");
    for name in ["base", "gone", "both", "script"] {
        bench.file(&lower.join(name), &format!("{name}\n"));
    }
    let whole =
        bench.directory(&format!("{}/whole", lower.strip_prefix(bench.place.path()).unwrap().display()));
    bench.file(&whole.join("old"), "old\n");
    bench.file(&above.join("top"), "top\n");
    bench.file(&above.join("both"), "from above\n");
    let mut step = step;
    step.lowers.push(above.clone());
    let ended = bench.run(engine, step).await;
    assert_eq!((ended.exit, ended.stdout.as_str()), (StepExit::Code(0), "base\ntop\nfrom above\n"));

    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!(read(&upper.join("added")), "new\n");
    assert_eq!(read(&upper.join("base")), "base\nmore\n");
    assert_eq!(read(&upper.join("a/b/c")), "deep\n");
    assert_eq!(mode(&upper.join("script")), 0o700);
    assert_eq!(mode(&upper.join("added")), 0o644);
    assert_eq!(fs::read_link(upper.join("link")).unwrap(), Path::new("added"));
    assert!(fs::symlink_metadata(upper.join("gone")).unwrap().file_type().is_char_device(), "a whiteout");
    let opaque = xattr::get(upper.join("whole"), "user.overlay.opaque").unwrap();
    assert_eq!(opaque.as_deref(), Some(b"y".as_slice()));
    assert!(!upper.join("both").exists() && !upper.join("top").exists(), "only changes are there");
    // What the step and overlay have left is the caller's to remove, whoever the engine runs as.
    fs::remove_dir_all(&work).unwrap();
    if let Some((user, _)) = bench.owner {
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(upper.join("added")).unwrap()), user);
    }

    assert_eq!(read(&lower.join("base")), "base\n");
    assert_eq!(read(&lower.join("gone")), "gone\n");
    assert_eq!(read(&whole.join("old")), "old\n");
    assert_eq!(mode(&lower.join("script")), 0o644);
}

pub async fn left_overs_of_another_step_are_an_error(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let step = bench.shell("true");
    bench.file(&step.upper.join("left-over"), "");
    let (output, _said) = mpsc::channel(16);
    let refused = engine.run(step, output, CancellationToken::new()).await;
    assert!(
        matches!(&refused, Err(EngineError::Setup { why, .. }) if why.contains("not empty")),
        "{refused:?}"
    );
}

pub async fn a_step_goes_on_with_left_overs_where_that_is_asked_for(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let mut step = bench.shell("cat left-over; echo more >> left-over");
    bench.file(&step.upper.join("left-over"), "left\n");
    step.goes_on = true;
    let upper = step.upper.clone();
    let ended = bench.run(engine, step).await;
    assert_eq!((ended.exit, ended.stdout.as_str()), (StepExit::Code(0), "left\n"));
    assert_eq!(fs::read_to_string(upper.join("left-over")).unwrap(), "left\nmore\n");
}

pub async fn sixty_layers_stack(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let mut step = bench.shell("ls | wc -l; cat common");
    // Long names, as stores have them.
    let long = "l".repeat(100);
    step.lowers = (0..60)
        .map(|number| {
            let layer = bench.directory(&format!("{long}-{number}"));
            bench.file(&layer.join(format!("file-{number}")), "");
            bench.file(&layer.join("common"), &format!("{number}\n"));
            layer
        })
        .collect();
    assert_eq!(bench.run(engine, step).await.stdout, "61\n59\n");
}

pub async fn a_missing_program_is_not_started(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    for (argv, reason) in [
        (["no-such-program"], "/usr/bin"),
        (["/no/such/program"], "no such file"),
        (["/etc/passwd"], "not executable"),
    ] {
        let ended = bench.run(engine, bench.argv(&argv)).await;
        let StepExit::NotStarted { program, why } = &ended.exit else { panic!("{ended:?}") };
        assert_eq!(program, argv[0]);
        assert!(why.contains(reason), "{why}");
    }
}

/// A step whose processes have sessions of their own and ignore all that can be ignored.
fn stubborn(marker: &str) -> String {
    format!(
        "trap '' TERM INT HUP; setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1000; done; : {marker}' & \
         echo ready; while :; do sleep 1000; done; : {marker}"
    )
}

pub async fn a_timeout_ends_the_whole_tree(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let marker = marker("timeout");
    let mut step = bench.shell(&stubborn(&marker));
    step.timeout = Duration::from_millis(300);
    let ended = bench.run(engine, step).await;
    assert_eq!(ended.exit, StepExit::TimedOut);
    assert_eq!(processes_with(&marker), [0_u32; 0]);
    // A program that makes the best of SIGTERM is still one whose time was over.
    let mut step = bench.shell("trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
    step.timeout = Duration::from_secs(2);
    let ended = bench.run(engine, step).await;
    assert_eq!((ended.exit, ended.stdout.as_str()), (StepExit::TimedOut, "ready\ntold\n"));
}

pub async fn cancelling_asks_first(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let step = bench.shell("trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
    let (output, mut said) = mpsc::channel::<OutputChunk>(16);
    let cancel = CancellationToken::new();
    let listen = async {
        let first = said.recv().await.expect("it says it is ready");
        assert_eq!(first.bytes, b"ready\n");
        cancel.cancel();
        collect(said).await.0
    };
    let (exit, rest) = tokio::join!(engine.run(step, output, cancel.clone()), listen);
    assert_eq!((exit.unwrap(), rest.as_str()), (StepExit::Cancelled, "told\n"));
}

pub async fn a_step_cancelled_before_it_starts_ends(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let ended = bench.run_until(engine, bench.shell("sleep 1000"), cancel).await;
    assert_eq!(ended.exit, StepExit::Cancelled);
}

pub async fn dropping_the_future_ends_the_step(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let marker = marker("drop");
    let (output, mut said) = mpsc::channel::<OutputChunk>(16);
    let step = bench.shell(&stubborn(&marker));
    // `select!` drops what did not win before it runs the winner's block, so the run is kept outside.
    let mut running = engine.run(step, output, CancellationToken::new());
    tokio::select! {
        exit = &mut running => panic!("it ended by itself: {exit:?}"),
        _ = said.recv() => assert!(!processes_with(&marker).is_empty()),
    }
    drop(running);
    eventually("the step's processes to be gone", || processes_with(&marker).is_empty()).await;
}

pub async fn what_a_step_leaves_running_ends_with_it(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let marker = marker("background");
    // It keeps the step's output open, too.
    let script = format!("setsid sh -c 'trap \"\" TERM HUP; sleep 1000; : {marker}' & echo done");
    let ended = bench.run(engine, bench.shell(&script)).await;
    assert_eq!((ended.exit, ended.stdout.as_str()), (StepExit::Code(0), "done\n"));
    assert_eq!(processes_with(&marker), [0_u32; 0]);
}

pub async fn zombies_are_reaped(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    // Orphans whose parents are gone before they end.
    let script =
        "for i in $(seq 200); do (true &) ; done; sleep 0.3; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l";
    assert_eq!(bench.say(engine, script).await, "0\n");
}

pub async fn too_much_memory_is_told_by_a_counter(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let enforced = engine.probe().await.unwrap().memory_limit == Support::Enforced;
    // The shell survives and says that all is well; only the kernel knows better.
    let mut step = bench.shell("head -c 200000000 /dev/zero | tail >/dev/null; exit 0");
    step.limits.memory = Some(64 << 20);
    if enforced {
        assert_eq!(bench.run(engine, step).await.exit, StepExit::OutOfMemory);
    } else {
        let (output, _said) = mpsc::channel(16);
        let refused = engine.run(step, output, CancellationToken::new()).await;
        assert!(matches!(refused, Err(EngineError::Unsupported { .. })), "{refused:?}");
    }
}

pub async fn too_many_processes_are_refused(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let mut step = bench.shell("for i in $(seq 60); do sleep 1000 & done; echo all");
    step.limits.processes = Some(20);
    let ended = bench.run(engine, step).await;
    assert_ne!(ended.exit, StepExit::Code(0), "{ended:?}");
    let mut step = bench.shell("for i in $(seq 10); do sleep 1000 & done; echo all");
    step.limits.processes = Some(20);
    assert_eq!(bench.run(engine, step).await.stdout, "all\n");
}

pub async fn networks_are_what_was_asked_for(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    // A program of the host that steps must not reach.
    let host = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = host.local_addr().unwrap().port();
    let knock = format!("(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo reached || echo refused");
    let flags = "cat /sys/class/net/lo/flags 2>/dev/null; ";
    for network in [Network::None, Network::Loopback, Network::Outbound] {
        let mut step =
            bench.argv(&["bash", "-c", &format!("{flags}{knock}; cut -d: -f1 /proc/net/dev | tail -n +3")]);
        step.network = network;
        let ended = bench.run(engine, step).await;
        assert_eq!(ended.stdout.split_whitespace().collect::<Vec<_>>(), ["refused", "lo"], "{network:?}");
    }
    let own_loopback = "import socket; s=socket.create_server(('127.0.0.1', 5000)); \
                        c=socket.create_connection(('127.0.0.1', 5000)); print('met')";
    for (network, said) in [(Network::None, ""), (Network::Loopback, "met\n")] {
        let mut step = bench.argv(&["/usr/bin/python3", "-c", own_loopback]);
        step.network = network;
        assert_eq!(bench.run(engine, step).await.stdout, said, "{network:?}");
    }
}

pub async fn the_proxy_does_not_lead_to_the_host(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let host = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = host.local_addr().unwrap().port();
    let ask = format!(
        "exec 3<>/dev/tcp/127.0.0.1/3128 && printf 'CONNECT localhost:{port} HTTP/1.1\\r\\n\\r\\n' >&3 && cat <&3; \
         echo; echo $https_proxy"
    );
    let mut step = bench.argv(&["bash", "-c", &ask]);
    step.network = Network::Outbound;
    let ended = bench.run(engine, step).await;
    assert!(ended.stdout.starts_with("HTTP/1.1 403 "), "{ended:?}");
    assert!(
        ended.stdout.contains("loopback") && ended.stdout.ends_with("http://127.0.0.1:3128\n"),
        "{ended:?}"
    );
    for network in [Network::None, Network::Loopback] {
        let mut step = bench.argv(&["bash", "-c", &ask]);
        step.network = network;
        let ended = bench.run(engine, step).await;
        assert_eq!(ended.stdout.trim(), "", "{ended:?}");
    }
}

pub async fn two_sandboxes_know_nothing_of_each_other(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let meet = "echo $1 > /tmp/mark; echo $1 > mark; for i in $(seq 50); do sleep 0.01; done; cat /tmp/mark mark; \
                ls /proc > list; grep -c '^[0-9]' list";
    let step = |name: &str| bench.argv(&["/bin/sh", "-c", meet, "sh", name]);
    let (one, two) = tokio::join!(bench.run(engine, step("one")), bench.run(engine, step("two")));
    assert!(one.stdout.starts_with("one\none\n") && two.stdout.starts_with("two\ntwo\n"), "{one:?} {two:?}");
    // Process 1, the shell and `ls`.
    assert!(one.stdout.ends_with("\n3\n"), "{one:?}");
}

pub async fn big_arguments_and_environments_arrive(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let big = "x".repeat(120_000);
    let mut step = bench.argv(&["/bin/sh", "-c", "echo ${#1} ${#BIG}", "sh", &big]);
    step.env = [("BIG".to_owned(), big.clone())].into();
    assert_eq!(bench.run(engine, step).await.stdout, "120000 120000\n");
}

pub async fn reaping_leaves_the_living_alone(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let (output, mut said) = mpsc::channel::<OutputChunk>(16);
    let cancel = CancellationToken::new();
    let listen = async {
        said.recv().await.expect("it says it is ready");
        engine.reap().await.unwrap();
        cancel.cancel();
        while said.recv().await.is_some() {}
    };
    let step = bench.shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    let (exit, ()) = tokio::join!(engine.run(step, output, cancel.clone()), listen);
    assert_eq!(exit.unwrap(), StepExit::Cancelled);
}
