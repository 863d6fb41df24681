//! Bringing the program to a machine.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, SystemTime},
};

use staith_releaser::fleet::ssh::{Program, SshWay};
use tokio::io::AsyncReadExt as _;

use crate::{
    ECHO, echo, line,
    server::{STAND_IN, World, free_port},
    tells, told,
};

fn name() -> String {
    format!("staith-machine-{}", staith_model::Digest::of(STAND_IN.as_bytes()).hex())
}

/// A program as big as a real one.
fn big(way: &mut SshWay) -> String {
    let mut bytes = format!("{STAND_IN}exit\n").into_bytes();
    bytes.resize(3 << 20, b'#');
    let digest = staith_model::Digest::of(&bytes);
    way.program = Program::new(bytes, digest).into();
    format!("staith-machine-{}", digest.hex())
}

#[tokio::test]
async fn absent_present_and_damaged() {
    let world = World::new();
    let (_server, way) = world.simple("");
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    assert_eq!(world.programs(), [name()]);
    let there = world.path("programs").join(name());
    assert_eq!(fs::read_to_string(&there).unwrap(), STAND_IN);
    assert_eq!(fs::metadata(&there).unwrap().permissions().mode() & 0o777, 0o755);
    let before = fs::metadata(&there).unwrap().modified().unwrap();
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    assert_eq!(
        fs::metadata(&there).unwrap().modified().unwrap(),
        before,
        "what is there is not brought again"
    );
    fs::write(&there, format!("{STAND_IN} ")).unwrap();
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    assert_eq!(fs::read_to_string(&there).unwrap(), STAND_IN);
    // One that may not be run is not there.
    fs::set_permissions(&there, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
}

#[tokio::test]
async fn one_that_was_proven_is_read_again_when_it_or_its_folder_was_touched_or_others_may_write() {
    let world = World::new();
    let (bin, calls) = (world.path("bin"), world.path("calls"));
    fs::create_dir(&bin).unwrap();
    let hash = bin.join("sha256sum");
    let script = format!("#!/bin/sh\necho . >>{}\nPATH=/usr/bin:/bin exec sha256sum\n", calls.display());
    fs::write(&hash, script).unwrap();
    fs::set_permissions(&hash, fs::Permissions::from_mode(0o755)).unwrap();
    let (_server, way) = world.simple(&format!("SetEnv PATH={}:/usr/bin:/bin", bin.display()));
    let read = || fs::read_to_string(&calls).unwrap().lines().count();
    let there = world.path("programs").join(name());
    let mode = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    // As it comes, and before it runs for the first time.
    for _ in 0..3 {
        assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
        assert_eq!(read(), 2);
    }
    let touches: [&dyn Fn(); 5] = [
        &|| fs::write(&there, STAND_IN).unwrap(),
        &|| mode(&there, 0o700),
        &|| fs::write(world.path("programs/other"), "").unwrap(),
        &|| {
            fs::remove_file(world.path("programs").join(name().replace("staith-machine", ".proven"))).unwrap()
        },
        &|| {
            let note = world.path("programs").join(name().replace("staith-machine", ".proven"));
            let text = fs::read_to_string(&note).unwrap();
            // As it would be after the machine was started anew.
            let (_, rest) = text.split_once('\n').unwrap();
            fs::write(&note, format!("another start\n{rest}")).unwrap();
        },
    ];
    for (nth, touch) in touches.iter().enumerate() {
        touch();
        for _ in 0..2 {
            assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
            assert_eq!(read(), 3 + nth, "{nth}");
        }
    }
    mode(&world.path("programs"), 0o775);
    for nth in 8..10 {
        assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
        assert_eq!(read(), nth);
    }
    // One that was changed after it was proven does not run.
    mode(&world.path("programs"), 0o755);
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    fs::write(&there, STAND_IN.replace("hello", "HELLO")).unwrap();
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    assert_eq!(fs::read_to_string(&there).unwrap(), STAND_IN);
}

#[tokio::test]
async fn a_big_one_and_what_others_left_half_done() {
    let world = World::new();
    let (_server, mut way) = world.simple("");
    let big = big(&mut way);
    let programs = world.path("programs");
    fs::create_dir(&programs).unwrap();
    fs::create_dir(world.path("units")).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
    for (left, old) in [
        (".upload-old-1", true),
        (".upload-new-1", false),
        ("staith-machine-old", true),
        ("staith-machine-recent", false),
        ("staith-machine-in-unit", true),
        ("something-else", true),
    ] {
        let path = programs.join(left);
        fs::write(&path, "half").unwrap();
        if old {
            fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        }
    }
    let unit = format!("ExecStart={}/staith-machine-in-unit supervise\n", programs.display());
    fs::write(world.path("units").join("staith-web.service"), unit).unwrap();
    assert_eq!(line(&mut way.open().await.unwrap()).await, "hello serve --folder it's here\n");
    let mut left = vec![
        ".upload-new-1",
        "something-else",
        "staith-machine-in-unit",
        "staith-machine-recent",
        big.as_str(),
    ];
    left.sort_unstable();
    assert_eq!(world.programs(), left);
}

#[tokio::test]
async fn what_a_login_shell_says_first_is_passed_over() {
    let world = World::new();
    let rc = "ForceCommand echo Welcome to web; printf \"%3000s\" tired; eval \"$SSH_ORIGINAL_COMMAND\"";
    let (_server, way) = world.simple(rc);
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
}

#[tokio::test]
async fn a_forced_command_is_told() {
    let world = World::new();
    let (_server, way) = world.simple("ForceCommand echo only backups here; exit 9");
    tells!(told(way.open().await), "REFUSED", "only backups here", "exit code 9", "forced command");
}

#[tokio::test]
async fn how_a_program_ends_is_told() {
    let world = World::new();
    let (_server, mut way) = world.simple("");
    way.arguments = vec!["fail".into()];
    let mut wire = way.open().await.unwrap();
    let error = wire.from.read_to_end(&mut Vec::new()).await.unwrap_err().to_string();
    assert_eq!(error, "the program ended: exit code 3: oops");
}

#[tokio::test]
async fn a_machine_of_another_kind_is_told() {
    let world = World::new();
    let (_server, mut way) = world.simple("");
    let mut other = (*way.program).clone();
    other.architecture = "riscv64";
    way.program = other.into();
    tells!(told(way.open().await), "REFUSED", "for Linux on riscv64 only", std::env::consts::ARCH);
    assert_eq!(world.programs(), [""; 0]);
}

#[tokio::test]
async fn the_next_folder_is_taken_where_one_can_not_be_used() {
    let world = World::new();
    let (_server, mut way) = world.simple("");
    // Nothing can be made below a file, not even by the superuser.
    fs::write(world.path("file"), "").unwrap();
    let file = world.path("file").join("programs").display().to_string();
    way.places.programs.insert(0, file.clone());
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    way.places.programs = vec![file.clone()];
    tells!(
        told(way.open().await),
        "REFUSED",
        "no place for Staith's program",
        format!("{file} can not be written to")
    );
}

/// In a mount namespace of its own, where the test can fill disks and have users. Needs the superuser.
fn inside(world: &World, setup: &str, more: &str) -> Option<(crate::server::Server, SshWay)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let script = format!("set -e; {setup}\nexec \"$@\"");
    let before = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    let server = world.server_at("web", free_port(), more, &before);
    world.host(&server, "");
    world.know(&server);
    let way = world.way("web");
    Some((server, way))
}

#[tokio::test]
async fn a_full_disk_and_a_mount_where_nothing_may_be_run() {
    let world = World::new();
    let (full, noexec) = (world.path("programs"), world.path("noexec"));
    fs::create_dir(&full).unwrap();
    fs::create_dir(&noexec).unwrap();
    let setup = format!(
        "mount -t tmpfs -o size=256k none {}; mount -t tmpfs -o noexec none {}",
        full.display(),
        noexec.display()
    );
    let Some((_server, mut way)) = inside(&world, &setup, "") else { return };
    let small = way.program.clone();
    big(&mut way);
    tells!(told(way.open().await), "REFUSED", "writing to", "No space left on device", "df");
    // What was written of it does not stay: a small one has room.
    way.program = small;
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    way.places.programs = vec![noexec.display().to_string()];
    tells!(told(way.open().await), "REFUSED", "noexec");
}

#[tokio::test]
async fn an_ordinary_user_and_one_who_becomes_the_superuser() {
    let world = World::new();
    let home = world.path("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(4242), Some(4242)).ok();
    let passwd = format!(
        "root:x:0:0::/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\ndeploy:x:4242:4242::{}:/bin/sh\n",
        home.display()
    );
    fs::write(world.path("passwd"), passwd).unwrap();
    fs::create_dir(world.path("bin")).unwrap();
    let sudo = world.path("bin/sudo");
    fs::write(&sudo, "#!/bin/sh\n[ \"$1\" = -n ] || exit 1\nshift\nexport BY=sudo\nexec \"$@\"\n").unwrap();
    fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
    let setup = format!("mount --bind {} /etc/passwd", world.path("passwd").display());
    let path = format!("SetEnv PATH={}:/usr/bin:/bin", world.path("bin").display());
    let Some((_server, mut way)) = inside(&world, &setup, &path) else { return };
    way.destination.user = Some("deploy".into());
    way.places.programs.clear();
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    let there = home.join(".local/lib/staith").join(name());
    assert_eq!(fs::read_to_string(&there).unwrap(), STAND_IN);
    way.superuser = true;
    way.arguments = vec!["by".into()];
    assert_eq!(line(&mut way.open().await.unwrap()).await, "by sudo\n");
    // Now there is none, or one that wants a password.
    fs::remove_file(&sudo).unwrap();
    tells!(told(way.open().await), "REFUSED", "sudo", "NOPASSWD");
}
