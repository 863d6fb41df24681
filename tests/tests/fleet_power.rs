//! A virtual machine loses its power at each point of a switch: it starts into a whole release, the old one before the pointer has moved
//! and the new one from there on, and the switch is finished by asking for it again.
//!
//! The program on the machine is the one that the releaser's tests break, which dies at a point by its name. Nothing writes after it, so
//! that the power goes with everything unwritten that was unwritten at that point.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use staith_model::{DeploymentId, Digest, Entry, Manifest, RelPath, Service};
use staith_releaser::{
    fleet::{
        machine::{Load, Machine as _, MachineError, Order, Serving},
        remote::RemoteMachine,
        way::{Child, Way},
    },
    host::PackageFiles,
};
use staith_tests::{vm::VirtualMachine, wait, world::staith_binary};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Points, and whether the machine starts into the new release from there. Two machines share them.
const POINTS: [[(&str, bool); 3]; 2] = [
    [("stage-durable", false), ("switch-previous", false), ("switch-unit", true)],
    [("switch-noted", false), ("switch-current", true), ("switch-restarted", true)],
];

/// Where releases are on the machine.
const FOLDER: &str = "/srv/bell";

/// A release with a few files, each of which says which release it is of.
struct Release {
    manifest: Manifest,
    contents: BTreeMap<RelPath, Vec<u8>>,
}

impl Release {
    fn new(name: &str) -> Self {
        let mut release = Self { manifest: Manifest::default(), contents: BTreeMap::new() };
        release.add("run", 0o755, b"#!/bin/sh\nexec sleep 1000000\n");
        let sums: String = (0..12)
            .map(|nth| {
                let (path, bytes) = (format!("file{nth}"), format!("{name} {nth} ").repeat(3000));
                release.add(&path, 0o644, bytes.as_bytes());
                format!("{}  {path}\n", Digest::of(bytes.as_bytes()).hex())
            })
            .collect();
        release.add("sums", 0o644, sums.as_bytes());
        release.add("name", 0o644, name.as_bytes());
        release
    }

    fn add(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        let path: RelPath = path.try_into().unwrap();
        let entry = Entry::File { mode, size: bytes.len() as u64, digest: Digest::of(bytes) };
        self.manifest.entries.insert(path.clone(), entry);
        self.contents.insert(path, bytes.to_vec());
    }
}

impl PackageFiles for Release {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn copy_file(
        &self,
        path: &RelPath,
        to: &mut dyn Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(to.write_all(self.contents.get(path).ok_or("no such file")?)?)
    }
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn load(name: &str, release: &Release) -> Load {
    Load {
        release: digest(name),
        manifest: Arc::new(release.manifest.clone()),
        every_byte: false,
        service: Service::Systemd {
            unit: "bell".into(),
            command: vec!["./run".into()],
            env: BTreeMap::new(),
            user: None,
            stop_seconds: 5,
        },
        secrets: Vec::new(),
        private: BTreeSet::new(),
    }
}

/// A machine with the program that can be told to die, reached by OpenSSH.
struct Breakable {
    vm: VirtualMachine,
    place: TempDir,
}

impl Breakable {
    fn new() -> Self {
        let mut vm = VirtualMachine::new();
        vm.power_on();
        vm.wait_until_ready();
        let one = Self { vm, place: tempfile::tempdir().unwrap() };
        let options = "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o LogLevel=ERROR -o UserKnownHostsFile=/dev/null";
        let script = format!(
            "#!/bin/sh\nexec ssh {options} -i {} -p {} root@127.0.0.1 \"STAITH_MACHINE_STOP_AT=$STAITH_MACHINE_STOP_AT /root/program $*\"\n",
            one.vm.key().display(),
            one.vm.ssh.port()
        );
        fs::write(one.way(), script).unwrap();
        fs::set_permissions(one.way(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = fs::File::open(staith_binary().with_file_name("staith-machine-tested")).unwrap();
        let mut copy = Command::new("ssh");
        copy.args(options.split(' ')).arg("-i").arg(one.vm.key());
        copy.args(["-p", &one.vm.ssh.port().to_string(), "root@127.0.0.1"]);
        copy.arg("cat >/root/program && chmod 755 /root/program && sync").stdin(Stdio::from(program));
        assert!(copy.status().unwrap().success());
        one
    }

    fn way(&self) -> PathBuf {
        self.place.path().join("way")
    }

    fn machine(&self, dies_at: &str) -> RemoteMachine {
        let child = Child {
            program: Some(self.way()),
            env: vec![("STAITH_MACHINE_STOP_AT".into(), dies_at.into())],
            ..Child::default()
        };
        RemoteMachine::new("vm", Way::Child(child), FOLDER)
    }

    fn loses_its_power(&mut self) {
        self.vm.power_off();
        self.vm.power_on();
        self.vm.wait_until_ready();
    }

    /// The name of the release that it serves, every byte of which is right, by what the system itself says.
    fn serves(&self) -> String {
        let says = format!(
            "cd {FOLDER}/current && sha256sum --quiet -c sums && cat name && \
             [ \"$(readlink /proc/$(systemctl show -p MainPID --value bell)/cwd)\" = \"$(pwd -P)\" ]"
        );
        wait::until("the service is up", || {
            let said = self.vm.sh(&says);
            said.status.success().then(|| String::from_utf8(said.stdout).unwrap().trim().to_owned())
        })
    }
}

/// An order of a deployment, and of one thing in it.
fn order(deployment: usize, what: &str) -> Order {
    Order {
        epoch: 1,
        deployment: DeploymentId::new(1, [7; 10]),
        operation: Digest::of(format!("{deployment} {what}").as_bytes()),
    }
}

async fn brings(machine: &RemoteMachine, nth: usize, release: Release) -> Result<(), MachineError> {
    let name = nth.to_string();
    let load = load(&name, &release);
    let token = CancellationToken::new();
    machine.stage(&order(nth, "stage"), &load, Arc::new(release), Arc::new(|_| {}), token).await?;
    machine.switch(&order(nth, "switch"), Some(&digest(&name))).await?;
    Ok(())
}

async fn loses_power_at(points: [(&str, bool); 3]) {
    let mut breakable = Breakable::new();
    brings(&breakable.machine(""), 0, Release::new("0")).await.unwrap();
    assert_eq!(breakable.serves(), "0");
    for (nth, (point, moved)) in (1..).zip(points) {
        let (old, new) = ((nth - 1).to_string(), nth.to_string());
        let died = brings(&breakable.machine(point), nth, Release::new(&new)).await;
        assert!(matches!(died, Err(MachineError::Lost { .. })), "{point}: {died:?}");
        breakable.loses_its_power();
        assert_eq!(breakable.serves(), if moved { new.clone() } else { old }, "{point}");
        let machine = breakable.machine("");
        let unfinished = machine.observe().await.unwrap().unfinished;
        let switching = point.starts_with("switch").then(|| order(nth, "switch").operation);
        assert_eq!(unfinished, switching, "{point}: it knows what was under way");
        brings(&machine, nth, Release::new(&new)).await.unwrap();
        let state = machine.observe().await.unwrap();
        assert_eq!((state.current, state.unfinished), (Some(digest(&new)), None), "{point}");
        assert_eq!(state.serving, Some(Serving::Up(Some(digest(&new)))), "{point}");
        assert_eq!(breakable.serves(), new, "{point}");
    }
}

#[test]
fn a_machine_that_loses_its_power_in_a_switch_starts_into_a_whole_release() {
    let machines = POINTS.map(|points| {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(loses_power_at(points));
        })
    });
    for machine in machines {
        machine.join().unwrap();
    }
}
