//! What a server does when its disk or its life is cut short: nothing that was acknowledged is lost, and nothing goes on that may not.

use std::{collections::BTreeSet, fs, path::Path};

use staith_tests::{
    forge::Forge,
    invariants,
    served::{Answered, Served},
    world::World,
};

/// Makes a token; its id if that was acknowledged.
fn make(server: &Served, number: usize) -> Result<String, Answered> {
    let body = format!(r#"{{"name":"token-{number}","grants":[{{"role":"viewer"}}]}}"#);
    let answered = server.ask("POST", "/api/v1/tokens", &body);
    if answered.status == 201 {
        Ok(answered.is(201)["id"].as_str().unwrap().to_owned())
    } else {
        Err(answered)
    }
}

fn ids(server: &Served) -> BTreeSet<String> {
    let all = server.ask("GET", "/api/v1/tokens", "").is(200);
    let all = all["tokens"].as_array().unwrap();
    all.iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect()
}

/// A server on what another left: the database is whole, and everything acknowledged is there.
fn everything_is_there(world: &World, data: &Path, acknowledged: &[String], about: &str) {
    let place = data.display().to_string();
    let server = Served::again(world, data);
    let there = ids(&server);
    for id in acknowledged {
        assert!(there.contains(id), "{about}: {id} was acknowledged and is lost");
    }
    let audit = server.ask("GET", "/api/v1/audit?after=0&limit=1000", "").is(200);
    let made = |entry: &&serde_json::Value| entry["what"] == "token-made";
    let made = audit["entries"].as_array().unwrap().iter().filter(made).count();
    assert_eq!(made, there.len(), "{about}: [I-8] what was done and what was noted are one thing");
    invariants::hold(world, &server, &[], &[], &Forge::begins());
    server.terminate().exits(0);
    world.staith(&["server", "check", "--data", &place]).exits(0);
}

#[test]
fn a_server_killed_at_any_sync_loses_nothing_that_it_acknowledged() {
    let world = World::new();
    let (mut died_early, mut died_late) = (0, 0);
    // Migrations sync too: the first fifteen or so are those of a server that has just been made.
    for when in [1, 2, 3, 4, 5, 6, 8, 11, 15, 20, 25, 30, 40] {
        let data = world.scratch().join(format!("killed-{when}"));
        let inject = format!("inject=fdatasync,fsync:signal=KILL:when={when}");
        let watch = ["strace", "-f", "-D", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", &inject];
        let mut acknowledged = Vec::new();
        match Served::try_start(Served::command(&watch, &world, &data), &data) {
            Err(_) => died_early += 1,
            Ok(server) => {
                for number in 0.. {
                    match make(&server, number) {
                        Ok(id) => acknowledged.push(id),
                        Err(broken) => {
                            assert_eq!(broken.status, 0, "{}", broken.body);
                            break;
                        }
                    }
                }
                assert_eq!(server.ended().code, None, "it was killed");
                died_late += 1;
            }
        }
        everything_is_there(&world, &data, &acknowledged, &format!("killed at sync {when}"));
    }
    assert!(
        died_early > 0 && died_late >= 3,
        "{died_early} died before they were ready, {died_late} afterwards"
    );
}

/// How often a process under strace has begun to make the database's log durable. A line is there before the process goes on.
fn syncs(trace: &Path) -> usize {
    let trace = fs::read_to_string(trace).unwrap();
    trace.lines().filter(|line| line.contains("sync(") && line.contains("staith.db-wal>")).count()
}

#[test]
fn what_is_acknowledged_was_synced_before() {
    let world = World::new();
    let (data, trace) = (world.scratch().join("watched"), world.scratch().join("trace"));
    let to = trace.display().to_string();
    let watch = ["strace", "-f", "-D", "-y", "-o", &to, "-e", "trace=fdatasync,fsync"];
    let server = Served::try_start(Served::command(&watch, &world, &data), &data).unwrap();
    for number in 0..20 {
        let before = syncs(&trace);
        make(&server, number).unwrap();
        assert!(syncs(&trace) > before, "token {number} was acknowledged without a sync");
    }
    server.terminate().exits(0);
}

#[test]
fn a_server_whose_disk_fails_ends_rather_than_going_on() {
    let world = World::new();
    let data = world.scratch().join("failing");
    // It is started once without faults, so that all syncs that follow are those of what is asked.
    Served::again(&world, &data).terminate().exits(0);
    let inject = "inject=fdatasync,fsync:error=EIO:when=6+";
    let watch = ["strace", "-f", "-D", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", inject];
    let server = Served::try_start(Served::command(&watch, &world, &data), &data).unwrap();
    let mut acknowledged = Vec::new();
    let failed = (0..).find_map(|number| match make(&server, number) {
        Ok(id) => {
            acknowledged.push(id);
            None
        }
        Err(failed) => Some(failed),
    });
    let failed = failed.unwrap();
    assert!(failed.status == 500 || failed.status == 0, "{failed:?}");
    assert!(!acknowledged.is_empty(), "it failed before anything was asked");
    server.ended().exits(30).says("its database failed");
    everything_is_there(&world, &data, &acknowledged, "after EIO");
}

#[test]
fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    let world = World::new();
    let data = world.scratch().join("small");
    fs::create_dir(&data).unwrap();
    let mount = format!("mount -t tmpfs -o size=3m,mode=700 none '{}' && exec \"$@\"", data.display());
    let become_it = ["unshare", "--mount", "--propagation=private", "sh", "-c", &mount, "sh"];
    let server = Served::try_start(Served::command(&become_it, &world, &data), &data).unwrap();
    let mut acknowledged = vec![make(&server, 0).unwrap()];
    let filler = server.data_as_seen().join("filler");
    // All of what is left, in ever smaller pieces.
    let full = {
        use std::io::Write as _;
        let mut file = fs::File::create(&filler).unwrap();
        let piece = [1; 4096];
        while file.write_all(&piece).is_ok() {}
        make_until_refused(&server, &mut acknowledged)
    };
    assert_eq!(full.status, 503, "{full:?}");
    assert!(full.body.contains("\"disk-full\""), "{full:?}");
    let there = ids(&server);
    assert!(acknowledged.iter().all(|id| there.contains(id)), "what is there can be read");
    assert_eq!(make(&server, 999).unwrap_err().status, 503, "it stays so while the disk is full");
    fs::remove_file(&filler).unwrap();
    acknowledged.push(make(&server, 1000).unwrap());
    let there = ids(&server);
    assert!(acknowledged.iter().all(|id| there.contains(id)), "it goes on as soon as there is room");
    server.leaves_its_disk(".");
    everything_is_there(&world, &data, &acknowledged, "after a full disk");
}

fn make_until_refused(server: &Served, acknowledged: &mut Vec<String>) -> Answered {
    for number in 1..5000 {
        match make(server, number) {
            Ok(id) => acknowledged.push(id),
            Err(refused) => return refused,
        }
    }
    panic!("the disk is never full")
}
