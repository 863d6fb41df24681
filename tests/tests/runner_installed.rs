//! A build host whose runner systemd keeps, by the unit that `staith runner install` writes: in a machine of the tests' own, where the
//! server is too.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

use staith_tests::{
    bare::Bare,
    vm::VirtualMachine,
    wait,
    world::{World, staith_binary},
};

/// Talks until it is ended.
const PIPELINE: &str = r#"
name = "shop"
version = "1"
[steps.talk]
run = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.5; done"
"#;

/// Where the runner has its home in the machine.
const HOME: &str = "/srv/runner";
const UNIT: &str = "/etc/systemd/system/staith-runner.service";

/// A machine with a server, and with a runner that systemd keeps.
struct Host(VirtualMachine);

impl Host {
    fn new(world: &World) -> Self {
        let mut machine = VirtualMachine::new();
        machine.power_on();
        let scratch = world.scratch();
        let (program, repository) = (scratch.join("staith"), scratch.join("shop.tar"));
        // Much of a program that was built for tests is for debuggers.
        does(Command::new("strip").arg("-o").arg(&program).arg(staith_binary()));
        let bare = Bare::with(world, PIPELINE).path;
        does(Command::new("tar").arg("-cf").arg(&repository).args(["-C", &bare, "."]));
        machine.wait_until_ready();
        machine.takes(&program, "cat >/usr/bin/staith && chmod 755 /usr/bin/staith");
        machine.takes(&repository, "mkdir /srv/shop.git && tar -xf - --no-same-owner -C /srv/shop.git");
        let host = Self(machine);
        host.0.says("systemd-run --quiet --unit=server --setenv=STAITH_HOME=/srv/people staith server start --data /srv/server --no-runner --no-deployer");
        wait::until("the server is ready", || {
            let ended =
                host.0.sh("systemctl is-failed --quiet server && journalctl --no-pager --unit server");
            assert!(!ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
            host.asks("server status").map(drop)
        });
        host
    }

    /// What a command that asks the server says, if that succeeds.
    fn asks(&self, words: &str) -> Option<String> {
        let output = self
            .0
            .sh(&format!("STAITH_HOME=/srv/people staith {words} --token-file /srv/server/admin.token"));
        if !output.status.success() {
            println!("{words}: {}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn installs_a_runner(&self) {
        let code = self.asks("server runner-code --json").unwrap();
        let code: serde_json::Value = serde_json::from_str(code.trim()).unwrap();
        let code = code["code"].as_str().unwrap().to_owned();
        let runner = format!("STAITH_HOME={HOME} staith runner");
        self.0.says(&format!("{runner} register --url http://127.0.0.1:8765 --token {code}"));
        self.0.says(&format!("{runner} install --to {UNIT}"));
        // It says what it does not understand, and takes the rest.
        assert_eq!(self.0.says(&format!("systemd-analyze verify {UNIT} 2>&1")), "");
        self.0.says("systemctl daemon-reload && systemctl enable --quiet --now staith-runner");
    }

    /// The process of the runner itself.
    fn runner(&self) -> String {
        wait::until("the runner runs", || {
            let process = self.0.says("systemctl show --property MainPID --value staith-runner");
            (process != "0").then_some(process)
        })
    }

    fn lines(&self) -> usize {
        self.asks("runs logs shop#1").unwrap_or_default().matches("line ").count()
    }

    /// Its process which keeps the job, and when that began, by the system's count.
    fn keeper(&self) -> String {
        self.0.says(&format!("cut -d ' ' -f 1,22 /proc/$(cut -d ' ' -f 1 {HOME}/runner/jobs/*/keeper)/stat"))
    }

    fn attempts(&self) -> Vec<serde_json::Value> {
        let run = self.asks("runs show shop#1 --json").unwrap();
        let run: serde_json::Value = serde_json::from_str(run.trim()).unwrap();
        run["jobs"][0]["attempts"].as_array().unwrap().clone()
    }
}

fn does(command: &mut Command) {
    let said = command.output().unwrap_or_else(|refused| panic!("{command:?}: {refused}"));
    assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn a_restart_of_the_installed_runner_leaves_its_job_running() {
    let world = World::new();
    let host = Host::new(&world);
    host.installs_a_runner();
    host.asks("project add shop /srv/shop.git").unwrap();
    host.asks("project run shop").unwrap();
    wait::until("the step talks", || (host.lines() > 0).then_some(()));

    let (runner, keeper) = (host.runner(), host.keeper());
    host.0.says("systemctl restart staith-runner");
    assert_ne!(host.runner(), runner, "it is another one");
    assert_eq!(host.keeper(), keeper, "who keeps the job is the same");
    let before = host.lines();
    wait::until("the next runner sends what the step says", || (host.lines() > before).then_some(()));
    let attempts = host.attempts();
    assert_eq!((attempts.len(), &attempts[0]["state"]), (1, &"leased".into()), "{attempts:?}");

    what_the_unit_takes_away_is_gone(&host);
    host.asks("runs cancel shop#1").unwrap();
    wait::until("nothing of the job is left", || {
        host.0.says(&format!("ls {HOME}/runner/jobs")).is_empty().then_some(())
    });
    host.0.says("systemctl stop staith-runner");
}

/// Looks at what the runner's own process may.
fn what_the_unit_takes_away_is_gone(host: &Host) {
    let within = format!("nsenter --target {} --mount", host.runner());
    for place in ["/etc", "/usr", "/srv", "/root", "/home"] {
        let said = host.0.sh(&format!("{within} touch {place}/there"));
        let said = String::from_utf8_lossy(&said.stderr);
        assert!(said.contains("Read-only file system"), "{place}: {said}");
    }
    host.0.says(&format!("{within} touch {HOME}/there /tmp/there && test ! -e /tmp/there"));
    let bounding = host.0.says(&format!("grep CapBnd /proc/{}/status", host.runner()));
    let bounding = u64::from_str_radix(bounding.split_whitespace().last().unwrap(), 16).unwrap();
    // CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_SYS_TIME, CAP_MAC_OVERRIDE, CAP_MAC_ADMIN, CAP_WAKE_ALARM, CAP_BLOCK_SUSPEND.
    for gone in [16, 17, 22, 25, 32, 33, 35, 36] {
        assert_eq!(bounding >> gone & 1, 0, "capability {gone}: {bounding:x}");
    }
    assert_eq!(bounding >> 21 & 1, 1, "CAP_SYS_ADMIN is what sandboxes are made with");
}
