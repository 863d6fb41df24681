//! A server that is killed while it brings its database to its own version finds, when it is started again, either the version before or
//! its own, and goes on from there. Killed at every write and every sync.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rusqlite::Connection;
use staith_server::store::Sqlite;

/// Names the database that [`the_process_that_is_killed`] opens.
const DATABASE: &str = "STAITH_TEST_DATABASE";
/// A database with more writes than this would be a surprise.
const MOST: u32 = 400;

/// All scripts, in their order.
fn scripts() -> Vec<String> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<PathBuf> = fs::read_dir(place).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// A database of the version before this one, with something in it.
fn of_the_version_before(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    let scripts = scripts();
    let before = scripts.len() - 1;
    for script in &scripts[..before] {
        connection.execute_batch(script).unwrap();
    }
    if before > 0 {
        connection.execute("INSERT INTO meta (key, value) VALUES ('kept', 'x')", []).unwrap();
    }
    connection.pragma_update(None, "user_version", before).unwrap();
}

/// The tables and indexes, and how many rows there are.
fn seen(path: &Path) -> (Vec<String>, u64, u32) {
    let connection = Connection::open(path).unwrap();
    let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    let mut schema =
        connection.prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name").unwrap();
    let schema = schema.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let rows = connection.query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap();
    (schema, rows, connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap())
}

/// Not a test by itself: what [`killed_at_any_write`] starts, and kills.
#[test]
#[ignore = "started by another test"]
fn the_process_that_is_killed() {
    drop(Sqlite::open(Path::new(&std::env::var(DATABASE).unwrap())).unwrap());
}

/// Opens the database in a process that is killed at so many calls of the system. Whether it was.
fn opened_and_killed(path: &Path, calls: &str, when: u32) -> bool {
    let inject = format!("inject={calls}:signal=KILL:when={when}");
    let ended = Command::new("strace")
        .args(["-f", "-D", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed", "--ignored", "--quiet"])
        .env(DATABASE, path)
        .output()
        .expect("strace is needed: apt-get install strace")
        .status;
    assert!(ended.success() || ended.signal() == Some(9), "{ended:?}");
    !ended.success()
}

#[test]
fn killed_at_any_write() {
    let place = tempfile::tempdir().unwrap();
    let untouched = place.path().join("untouched.db");
    of_the_version_before(&untouched);
    drop(Sqlite::open(&untouched).unwrap());
    let expected = seen(&untouched);
    assert_eq!(expected.2 as usize, scripts().len());
    for calls in ["fsync,fdatasync", "pwrite64,ftruncate"] {
        let (mut killed, mut half_way) = (0, 0);
        for when in 1..MOST {
            let path = place.path().join(format!("{}-{when}.db", calls.len()));
            of_the_version_before(&path);
            if !opened_and_killed(&path, calls, when) {
                break;
            }
            killed += 1;
            let version: u32 = Connection::open(&path)
                .unwrap()
                .pragma_query_value(None, "user_version", |row| row.get(0))
                .unwrap();
            half_way += u32::from((version as usize) < scripts().len());
            drop(Sqlite::open(&path).unwrap());
            assert_eq!(seen(&path), expected, "killed at {calls} {when}");
        }
        assert!(killed < MOST - 1, "{calls}: it was killed each time");
        assert!(killed > 0 && half_way > 0, "{calls}: killed {killed} times, {half_way} of them half-way");
    }
}
