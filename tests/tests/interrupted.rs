//! Ctrl-C while packages are made, read and carried: it ends soon, says so, and leaves nothing half done.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    net::TcpListener,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Child,
};

use rustix::process::{Pid, Signal, kill_process};
use staith_tests::{
    wait,
    world::{Said, World},
};

/// A directory that keeps this machine busy for a while, whatever is done with it: many bytes that no compression makes fewer.
fn heavy(world: &World) -> PathBuf {
    let directory = world.scratch().join("heavy");
    fs::create_dir(&directory).unwrap();
    let mut state = 1_u64;
    let block: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(1 << 20)
    .collect();
    for name in ["a", "b"] {
        let mut file = File::create(directory.join(name)).unwrap();
        (0..64).for_each(|_| file.write_all(&block).unwrap());
    }
    directory
}

fn pack(directory: &Path, to: &Path) -> Vec<String> {
    let (directory, to) = (directory.display().to_string(), to.display().to_string());
    ["pack", &directory, "--name", "heavy", "--version", "1.0", "--to", &to].map(str::to_owned).to_vec()
}

fn start(world: &World, arguments: &[String]) -> Child {
    world.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn packed(world: &World) -> PathBuf {
    let to = world.scratch().join("packed");
    let arguments = pack(&heavy(world), &to);
    world.staith(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    let names = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path());
    names.into_iter().find(|path| path.extension().is_some_and(|end| end == "zip")).unwrap()
}

/// What a process that is in the middle of its work says to Ctrl-C.
fn interrupted(process: Child) -> Said {
    let id = Pid::from_child(&process);
    // Held where it is, it can't be done before the signal arrives.
    kill_process(id, Signal::STOP).unwrap();
    kill_process(id, Signal::INT).unwrap();
    kill_process(id, Signal::CONT).unwrap();
    Said::of(&process.wait_with_output().unwrap())
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn one_line(said: Said) {
    assert_eq!(said.err.trim().lines().count(), 1, "{}", said.err);
    assert_eq!(said.out, "");
}

#[test]
fn packing_leaves_no_package_and_no_part_of_one() {
    let world = World::new();
    let to = world.scratch().join("to");
    let packing = start(&world, &pack(&heavy(&world), &to));
    wait::until("something is written", || (!names(&to).is_empty()).then_some(()));
    one_line(interrupted(packing).exits(130).says("stopped as asked; no package was written"));
    assert_eq!(names(&to), Vec::<String>::new());
}

#[test]
fn extracting_verifying_and_applying_end_with_nothing_half_done() {
    let world = World::new();
    let package = packed(&world).display().to_string();
    let (scratch, to) = (world.scratch().join("out"), world.scratch().join("out/x").display().to_string());
    fs::create_dir(&scratch).unwrap();
    let extracting = world.start(&["extract", &package, "--to", &to]);
    wait::until("something is extracted", || {
        names(&scratch).iter().any(|name| name.ends_with(".partial")).then_some(())
    });
    one_line(interrupted(extracting).exits(130).says("stopped as asked; nothing was extracted"));
    assert_eq!(names(&scratch), Vec::<String>::new());

    let verifying = world.start(&["verify", &package, &package]);
    let open = PathBuf::from(format!("/proc/{}/fd", verifying.id()));
    wait::until("the package is open", || {
        let links = fs::read_dir(&open).unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        links.into_iter().find(|link| *link == Path::new(&package)).map(drop)
    });
    one_line(interrupted(verifying).exits(130).says("stopped as asked; not all of"));

    let applying = world.start(&["apply", &package, "--to", &to]);
    let work = Path::new(&to).join(".staith-apply");
    wait::until("something is applied", || (!names(&work).is_empty()).then_some(()));
    one_line(interrupted(applying).exits(130).says("stopped as asked; the destination is as it was"));
    assert_eq!(names(Path::new(&to)), Vec::<String>::new());
}

#[test]
fn pulling_from_a_store_leaves_no_part_of_a_file() {
    let world = World::new();
    let package = packed(&world).display().to_string();
    let store = world.scratch().join("store").display().to_string();
    world.staith(&["push", &package, "--to", &store]).exits(0);
    let to = world.scratch().join("to");
    let words = ["pull", "heavy@1.0", "--from", &store, "--to", to.to_str().unwrap()];
    let pulling = world.start(&words);
    wait::until("something is here", || (!names(&to).is_empty()).then_some(()));
    one_line(interrupted(pulling).exits(130).says("stopped as asked"));
    assert_eq!(names(&to), Vec::<String>::new());
    world.staith(&words).exits(0);
}

#[test]
fn a_registry_that_says_nothing_is_not_waited_for() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("oci://{}", silent.local_addr().unwrap());
    let sample = staith_tests::world::repository().join("packager/tests/samples/contentpath.zip");
    let sample = sample.display().to_string();
    let to = world.scratch().join("to");
    for words in [
        vec!["pull", "shop@1.0", "--from", &place, "--to", to.to_str().unwrap()],
        vec!["push", &sample, "shop@1.0", "--to", &place],
    ] {
        let carrying = world.start(&words);
        let _asked = silent.accept().unwrap();
        one_line(interrupted(carrying).exits(130).says("the same command goes on from there"));
        assert_eq!(names(&to), Vec::<String>::new());
    }
}

#[test]
fn the_second_signal_does_not_wait() {
    let world = World::new();
    world.write("site/index.html", "page");
    // Declarations that never come: nothing can be said to a process that waits for them.
    let pipe = world.scratch().join("parameters.xml");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let to = world.scratch().join("to").display().to_string();
    let words = ["pack", "site", "--name", "site", "--version", "1", "--to", &to, "--parameters"];
    let packing = world.start(&[&words[..], &[pipe.to_str().unwrap()]].concat());
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    // Opens as soon as somebody reads.
    let _writer = wait::until("the parameters are read", || {
        OpenOptions::new().write(true).custom_flags(nonblocking).open(&pipe).ok()
    });
    for signal in [Signal::INT, Signal::TERM] {
        kill_process(Pid::from_child(&packing), signal).unwrap();
    }
    Said::of(&packing.wait_with_output().unwrap()).exits(130);
}
