//! What a keeper promises, one thing at a time, with real processes.

mod support;

use std::{net::TcpListener, process::Stdio, time::Duration};

use staith_releaser::keeper::{Keeper, KeeperError, Pool, PoolPhase, port_holder, port_is_free};
use support::{
    client::get,
    environment::{A_WHILE, Environment, anywhere, is_alive, kill, launcher, until_gone, until_phase},
    until,
};

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_keeper_until_it_is_started_and_after_its_shutdown() {
    let environment = Environment::new();
    assert!(Keeper::connect(&environment.dir).await.unwrap().is_none());
    let keeper = environment.keeper().await;
    assert!(Keeper::connect(&environment.dir).await.unwrap().is_some());
    let status = keeper.status().await.unwrap();
    assert_eq!((status.epoch, status.active, status.served), (0, None, 0));
    assert!(status.pools.values().all(|pool| pool.phase == PoolPhase::Empty));
    assert_eq!(get(status.listen, "/").await.unwrap().text(), "Nothing is released here yet.\n");
    environment.fill(&keeper, 1, Pool::Blue, environment.spec(0, &[])).await;
    keeper.switch(1, Pool::Blue).await.unwrap();
    keeper.shutdown().await.unwrap();
    assert!(!is_alive(status.pid));
    assert!(environment.programs().is_empty());
    assert!(Keeper::connect(&environment.dir).await.unwrap().is_none());
    assert!(matches!(keeper.status().await, Err(KeeperError::Lost { .. })));
    // What was active is remembered.
    let keeper = environment.keeper().await;
    assert_eq!(get(status.listen, "/").await.unwrap().status, 200);
    assert_eq!(keeper.status().await.unwrap().active, Some(Pool::Blue));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_starts_in_a_process_namespace_whose_session_began_outside() {
    let environment = Environment::new();
    // In the background, because the starter waits for its first process, and that one waits for the namespace to end.
    let unshare = "unshare --user --map-root-user --pid --fork --mount-proc \"$@\" &";
    let launcher: Vec<_> =
        ["sh", "-c", unshare, "sh"].map(Into::into).into_iter().chain(launcher()).collect();
    let keeper = Keeper::ensure(&environment.dir, &launcher, anywhere()).await.unwrap();
    assert_eq!(keeper.status().await.unwrap().pid, 1, "as it sees itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_starters_at_once_start_one_keeper() {
    let environment = std::sync::Arc::new(Environment::new());
    let starters: Vec<_> = (0..8)
        .map(|_| {
            let environment = std::sync::Arc::clone(&environment);
            tokio::spawn(async move { environment.keeper().await.status().await.unwrap().pid })
        })
        .collect();
    let mut pids = Vec::new();
    for starter in starters {
        pids.push(starter.await.unwrap());
    }
    pids.dedup();
    assert_eq!(pids.len(), 1);
    until("the other keepers are gone", || async { environment.keepers() == pids }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filling_a_pool_twice_with_the_same_does_nothing_the_second_time() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    let spec = environment.spec(0, &[]);
    environment.fill(&keeper, 1, Pool::Blue, spec.clone()).await;
    let first = keeper.status().await.unwrap().pools[&Pool::Blue].clone();
    let second = keeper.ensure_pool(1, Pool::Blue, spec.clone()).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(port_holder(([127, 0, 0, 1], first.port.unwrap()).into()).map(|by| by.pid), first.pid);
    keeper.switch(1, Pool::Blue).await.unwrap();
    assert_eq!(keeper.ensure_pool(1, Pool::Blue, spec).await.unwrap().pid, first.pid);
    let other = keeper.ensure_pool(2, Pool::Blue, environment.spec(1, &[])).await;
    assert!(matches!(other, Err(KeeperError::PoolIsActive { pool: Pool::Blue })), "{other:?}");
    environment.fill(&keeper, 2, Pool::Green, environment.spec(1, &[])).await;
    let green = keeper.status().await.unwrap().pools[&Pool::Green].pid.unwrap();
    environment.fill(&keeper, 2, Pool::Green, environment.spec(2, &[])).await;
    assert!(!is_alive(green));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_active_pool_is_neither_stopped_nor_drained() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    environment.fill(&keeper, 1, Pool::Green, environment.spec(0, &[])).await;
    keeper.switch(1, Pool::Green).await.unwrap();
    let stopped = keeper.stop_pool(1, Pool::Green).await;
    assert!(matches!(stopped, Err(KeeperError::PoolIsActive { pool: Pool::Green })), "{stopped:?}");
    let drained = keeper.drain(1, Pool::Green, A_WHILE).await;
    assert!(matches!(drained, Err(KeeperError::PoolIsActive { pool: Pool::Green })), "{drained:?}");
    keeper.stop_pool(1, Pool::Blue).await.unwrap();
    assert_eq!(keeper.drain(1, Pool::Blue, A_WHILE).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_switches_to_a_pool_that_does_not_answer() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    let empty = keeper.switch(1, Pool::Blue).await.unwrap_err();
    assert!(matches!(empty, KeeperError::PoolNotRunning { phase: PoolPhase::Empty, .. }), "{empty}");
    keeper.ensure_pool(1, Pool::Blue, environment.spec(0, &["fail"])).await.unwrap();
    until_phase(&keeper, Pool::Blue, PoolPhase::Stopped).await;
    let status = keeper.status().await.unwrap().pools[&Pool::Blue].clone();
    assert_eq!((status.restarts, status.pid, status.last_exit.as_deref()), (4, None, Some("exit code 3")));
    assert_eq!(status.log_tail(1), "no configuration, no service");
    let stopped = keeper.switch(1, Pool::Blue).await.unwrap_err();
    assert!(stopped.to_string().contains("exit code 3"), "{stopped}");
    assert_eq!(keeper.status().await.unwrap().active, None);
    // The same once more is a new try.
    keeper.ensure_pool(1, Pool::Blue, environment.spec(0, &["fail"])).await.unwrap();
    assert_ne!(keeper.status().await.unwrap().pools[&Pool::Blue].phase, PoolPhase::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_superseded_is_refused_everything_even_by_the_next_keeper() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    let spec = environment.spec(0, &[]);
    environment.fill(&keeper, 7, Pool::Blue, spec.clone()).await;
    // Even a request that changes nothing else is remembered.
    keeper.drain(8, Pool::Blue, A_WHILE).await.unwrap();
    for restarted in [false, true] {
        if restarted {
            let pid = keeper.status().await.unwrap().pid;
            kill(pid, "KILL");
            until_gone(pid).await;
            environment.keeper().await;
        }
        let refusals = [
            keeper.ensure_pool(6, Pool::Green, spec.clone()).await.map(drop),
            keeper.switch(6, Pool::Blue).await,
            keeper.drain(6, Pool::Green, A_WHILE).await.map(drop),
            keeper.stop_pool(6, Pool::Green).await,
        ];
        for refusal in refusals {
            let superseded = matches!(refusal, Err(KeeperError::Superseded { asked: 6, highest: 8 }));
            assert!(superseded, "{refusal:?}");
        }
    }
    assert_eq!(keeper.status().await.unwrap().active, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_at_its_deadline_and_counts_what_is_left() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    environment.fill(&keeper, 1, Pool::Blue, environment.spec(0, &[])).await;
    environment.fill(&keeper, 1, Pool::Green, environment.spec(1, &[])).await;
    keeper.switch(1, Pool::Blue).await.unwrap();
    let listen = keeper.status().await.unwrap().listen;
    let go = environment.dir.join("go");
    let path = format!("/wait?for={}", go.display());
    let long = tokio::spawn(async move { get(listen, &path).await });
    until("it is in flight", || async { keeper.status().await.unwrap().pools[&Pool::Blue].in_flight == 1 })
        .await;
    keeper.switch(1, Pool::Green).await.unwrap();
    assert_eq!(keeper.drain(1, Pool::Blue, Duration::from_millis(10)).await.unwrap(), 1);
    let drained = tokio::spawn({
        let keeper = keeper.clone();
        async move { keeper.drain(1, Pool::Blue, A_WHILE).await }
    });
    std::fs::write(go, "").unwrap();
    assert_eq!(drained.await.unwrap().unwrap(), 0);
    assert_eq!(long.await.unwrap().unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_program_is_ended_after_its_time() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    let mut spec = environment.spec(0, &["deaf"]);
    spec.stop_seconds = 1;
    environment.fill(&keeper, 1, Pool::Blue, spec).await;
    let pid = keeper.status().await.unwrap().pools[&Pool::Blue].pid.unwrap();
    keeper.stop_pool(1, Pool::Blue).await.unwrap();
    assert!(!is_alive(pid));
    let status = keeper.status().await.unwrap().pools[&Pool::Blue].clone();
    assert_eq!((status.phase, status.spec), (PoolPhase::Empty, None));
}

/// A daemon leaves its process group; it is found by the marks of its pool.
#[tokio::test(flavor = "multi_thread")]
async fn daemons_end_with_their_pool_and_those_of_the_other_pool_stay() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    environment.fill(&keeper, 1, Pool::Blue, environment.spec(0, &["daemon"])).await;
    let blue = environment.programs();
    environment.fill(&keeper, 1, Pool::Green, environment.spec(0, &["daemon"])).await;
    assert_eq!((blue.len(), environment.programs().len()), (2, 4));
    keeper.stop_pool(1, Pool::Blue).await.unwrap();
    let green = environment.programs();
    assert_eq!(green.len(), 2);
    assert!(green.iter().all(|pid| !blue.contains(pid)), "{blue:?} {green:?}");
    // One whose program is killed is ended with it, before the program is started again.
    kill(keeper.status().await.unwrap().pools[&Pool::Green].pid.unwrap(), "KILL");
    until("the program is back", || async {
        keeper.status().await.unwrap().pools[&Pool::Green].restarts == 1
            && environment.programs().len() == 2
            && environment.programs().iter().all(|pid| !green.contains(pid))
    })
    .await;
    keeper.shutdown().await.unwrap();
    assert_eq!(environment.programs(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_can_not_be_started_is_given_up_at_once() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    let mut spec = environment.spec(0, &[]);
    let script = spec.root.join("script");
    std::fs::write(&script, "#!/nowhere/python\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    spec.command = vec!["./script".to_owned()];
    let first = keeper.ensure_pool(1, Pool::Blue, spec).await.unwrap();
    assert_eq!((first.restarts, first.starts), (0, 0));
    until_phase(&keeper, Pool::Blue, PoolPhase::Stopped).await;
    let status = keeper.status().await.unwrap().pools[&Pool::Blue].clone();
    assert_eq!((status.restarts, status.starts), (0, 0));
    assert!(status.last_exit.as_deref().is_some_and(|why| why.contains("interpreter")), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_was_abandoned_gets_no_request_and_can_be_stopped() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    environment.fill(&keeper, 3, Pool::Blue, environment.spec(0, &[])).await;
    keeper.switch(3, Pool::Blue).await.unwrap();
    let listen = keeper.status().await.unwrap().listen;
    let refused = keeper.abandon(2, Pool::Blue).await;
    assert!(matches!(refused, Err(KeeperError::Superseded { .. })), "{refused:?}");
    keeper.abandon(3, Pool::Green).await.unwrap();
    assert_eq!(get(listen, "/").await.unwrap().status, 200);
    keeper.abandon(3, Pool::Blue).await.unwrap();
    assert_eq!(keeper.status().await.unwrap().active, None);
    assert_eq!(get(listen, "/").await.unwrap().text(), "Nothing is released here yet.\n");
    keeper.stop_pool(3, Pool::Blue).await.unwrap();
    assert!(environment.programs().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_names_who_has_it() {
    let environment = Environment::new();
    let taken = TcpListener::bind(anywhere()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = Keeper::ensure(&environment.dir, &launcher(), address).await.unwrap_err();
    let KeeperError::PortTaken(error) = error else { panic!("{error}") };
    assert_eq!(error.by.as_ref().map(|by| by.pid), Some(std::process::id()));
    assert_eq!(port_is_free(address).unwrap_err(), error);
    until("the keeper that could not listen is gone", || async { environment.keepers().is_empty() }).await;
    drop(taken);
    let keeper = Keeper::ensure(&environment.dir, &launcher(), address).await.unwrap();
    assert_eq!(keeper.status().await.unwrap().listen, address);
    let taken = port_is_free(address).unwrap_err();
    let stop = "`staith stop guestbook --environment local`";
    assert!(taken.remedy.contains(stop), "{taken}");
    let by = taken.by.unwrap();
    assert_eq!(
        (by.name.as_str(), by.keeper_of.as_deref()),
        ("staith-keeper", Some(environment.dir.as_path()))
    );
    let elsewhere =
        Keeper::ensure(&environment.dir, &launcher(), "127.0.0.1:1".parse().unwrap()).await.unwrap_err();
    assert!(
        matches!(elsewhere, KeeperError::ListensElsewhere { listening, .. } if listening == address),
        "{elsewhere}"
    );
    let text = elsewhere.to_string();
    assert!([stop, "127.0.0.1:1 ", &address.to_string()].iter().all(|part| text.contains(part)), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_can_not_run_is_refused_and_changes_nothing() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    let mut spec = environment.spec(0, &[]);
    spec.command = vec!["bin/missing".to_owned()];
    let error = keeper.ensure_pool(1, Pool::Blue, spec).await.unwrap_err();
    assert!(error.to_string().contains("`bin/missing` is not in the release"), "{error}");
    assert_eq!(keeper.status().await.unwrap().pools[&Pool::Blue].phase, PoolPhase::Empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_keeper_ends_its_programs_and_a_hung_up_one_stays() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    environment.fill(&keeper, 1, Pool::Blue, environment.spec(0, &[])).await;
    let pid = keeper.status().await.unwrap().pid;
    kill(pid, "HUP");
    assert_eq!(keeper.status().await.unwrap().pid, pid);
    kill(pid, "TERM");
    until_gone(pid).await;
    assert!(environment.programs().is_empty());
}

/// A keeper holds nothing of its starter: no pipe, no file that was left open, no session, no secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_comes_loose_from_its_starter() {
    let environment = Environment::new();
    std::fs::create_dir_all(environment.dir.join("logs")).unwrap();
    let lock = environment.dir.join("somebody-elses.lock");
    // The shell leaves a file open for whatever it starts, and holds two pipes of ours.
    let script = format!("exec 9>'{}'; TOKEN=hush exec \"$@\"", lock.display());
    let mut starter = tokio::process::Command::new("/bin/sh");
    starter.arg("-c").arg(script).arg("sh").args(launcher()).arg(&environment.dir).arg("127.0.0.1:0");
    let starter =
        starter.env("TOKEN", "hush").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let starter = starter.process_group(0).spawn().unwrap();
    let output = tokio::time::timeout(A_WHILE, starter.wait_with_output())
        .await
        .expect("the pipe was let go")
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "\"ready\"\n");
    let keeper = Keeper::connect(&environment.dir).await.unwrap().unwrap();
    let pid = keeper.status().await.unwrap().pid;
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    assert!(files.filter_map(|file| std::fs::read_link(file.path()).ok()).all(|file| file != lock));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let (session, terminal) = (fields[3], fields[4]);
    assert_eq!((session, terminal), (pid.to_string().as_str(), "0"));
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_of_another_format_is_left_alone() {
    let environment = Environment::new();
    std::fs::create_dir_all(&environment.dir).unwrap();
    let file = environment.dir.join("keeper.json");
    std::fs::write(&file, "{\"version\":99}").unwrap();
    let error = environment.ensure().await.unwrap_err().to_string();
    assert!(error.contains("another version of Staith (format 99)"), "{error}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"version\":99}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_socket_are_answered_and_do_no_harm() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    let directory = std::fs::File::open(&environment.dir).unwrap();
    let path = format!("/proc/self/fd/{}/keeper.sock", std::os::fd::AsRawFd::as_raw_fd(&directory));
    for (said, answer) in [
        (
            "{\"version\":99,\"ask\":{\"juggle\":1}}\n",
            "{\"version\":1,\"outcome\":{\"Err\":{\"other-version\":{\"spoken\":1}}}}\n",
        ),
        ("nonsense\n", "can't be read"),
    ] {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert!(heard.contains(answer), "{heard}");
    }
    drop(tokio::net::UnixStream::connect(&path).await.unwrap());
    assert!(keeper.status().await.is_ok());
}
