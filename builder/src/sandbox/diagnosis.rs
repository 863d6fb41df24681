//! What this host can isolate, one mechanism after another, for people who want to know why it can't.
//!
//! A trial step looks around in a sandbox and says what it sees: what holds there is at work. Where no sandbox can be made,
//! the kernel's own lists say at least what it knows.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path, sync::Arc};

use staith_model::Network;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{BuiltInSandbox, probe, supervise, sys};
use crate::{
    engine::{EngineError, StepExit, StepSpec, Support},
    proxies::{BadProxy, Proxies},
};

/// How well something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// As it should.
    Ok,
    /// Not in full, or it could not be seen at work.
    Limited,
    /// Not at all.
    Missing,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing, in a word or two.
    pub of: String,
    /// How well it works.
    pub health: Health,
    /// What was seen, in a sentence.
    pub says: String,
    /// What to do about it, where something should be done.
    pub remedy: Option<String>,
}

impl Finding {
    /// It works.
    pub fn ok(of: impl Into<String>, says: impl Into<String>) -> Self {
        Self { of: of.into(), health: Health::Ok, says: says.into(), remedy: None }
    }

    /// It does not, or not in full.
    pub fn bad(
        of: impl Into<String>,
        health: Health,
        says: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { of: of.into(), health, says: says.into(), remedy: Some(remedy.into()) }
    }
}

/// Each line of what this prints is a fact's name, a space, and the fact. It needs a shell and nothing else.
const LOOK_AROUND: &str = r#"
while read -r name value rest; do
  case $name in Seccomp:|NoNewPrivs:|CapEff:|CapBnd:) echo "$name $value";; esac
done < /proc/self/status
while read -r line; do
  case $line in *" /workspace "*" - overlay "*) echo "overlay yes";; esac
done < /proc/self/mountinfo
echo written > /workspace/tried && echo "writes yes"
( echo no > /usr/tried ) 2>/dev/null || echo "readonly yes"
for file in kcore keys sysrq-trigger timer_list; do
  if ( read -r some < /proc/$file ) 2>/dev/null && test -n "$(head -c 1 /proc/$file 2>/dev/null)"; then echo "unmasked $file"; fi
done
processes=0; for process in /proc/[0-9]*; do processes=$((processes + 1)); done; echo "processes $processes"
while read -r interface rest; do case $interface in *:*) echo "interface $interface";; esac; done < /proc/net/dev
test -n "$HTTPS_PROXY$https_proxy" && echo "proxy yes"
"#;

/// A kernel from here on has all that is used.
const NEWEST_NEED: (u32, u32) = (5, 13);
/// One before this can't make a sandbox.
const OLDEST: (u32, u32) = (5, 12);

impl BuiltInSandbox {
    /// Tries a sandbox anew and says what works in it, one mechanism after another. The first finding is about the whole.
    pub async fn diagnose(&self) -> Vec<Finding> {
        let tried = self.look_around().await;
        let mut findings = vec![whole(&tried)];
        findings.push(kernel(&fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()));
        match &tried {
            Ok(facts) => findings.extend(seen_at_work(facts, sys::landlock_abi())),
            Err(_) => findings.extend(known_to_the_kernel(sys::landlock_abi())),
        }
        findings.extend(self.limits().await);
        findings.extend(reached_through(&Proxies::from_environment()));
        findings
    }

    async fn look_around(&self) -> Result<Facts, EngineError> {
        // A trial that was remembered is no trial.
        let _ = probe::forget_marks(&self.shared.state);
        let scratch = probe::scratch(&self.shared).map_err(|error| EngineError::Setup {
            doing: format!("making a directory to try the sandbox in, below {}", self.shared.state.display()),
            why: error.to_string(),
        })?;
        let step = StepSpec {
            argv: ["/bin/sh", "-c", LOOK_AROUND].map(OsString::from).to_vec(),
            network: Network::Outbound,
            ..probe::trial(scratch.path())
        };
        let (output, mut said) = mpsc::channel(16);
        let never = CancellationToken::new;
        let watched = supervise::supervise(Arc::clone(&self.shared), step, output, never(), never());
        let mut heard = Vec::new();
        let listen = async {
            while let Some(chunk) = said.recv().await {
                heard.extend(chunk.bytes);
            }
        };
        let (exit, ()) = tokio::join!(watched, listen);
        let text = String::from_utf8_lossy(&heard).into_owned();
        match exit? {
            StepExit::Code(_) if text.contains("writes yes") => Ok(Facts::read(&text)),
            other => Err(EngineError::Unsupported {
                what: format!("a trial step ended with {other:?}: {text}"),
                remedy: "run it by hand with STAITH_LOG=debug, and report this".to_owned(),
            }),
        }
    }

    async fn limits(&self) -> Vec<Finding> {
        let cgroups = match self.shared.cgroups().await {
            Ok(cgroups) => cgroups,
            Err(error) => {
                let remedy = "run as root, or in a session that systemd manages";
                return vec![Finding::bad("limits", Health::Limited, error.to_string(), remedy)];
            }
        };
        let of = |limit: &str, support: &Support, without: &str| match support {
            Support::Enforced => Finding::ok(format!("{limit} limit"), "control groups enforce it"),
            Support::Absent(why) => Finding::bad(
                format!("{limit} limit"),
                Health::Limited,
                format!("{why}; {without}"),
                "run as root, or let your user manage control groups: `systemd-run --user --scope -p Delegate=yes staith ...`",
            ),
        };
        let refused = "a step that asks for one is refused";
        vec![
            of("memory", &cgroups.memory, refused),
            of("cpu", &cgroups.cpu, refused),
            of("process", &cgroups.processes, "the kernel's limit for each user holds instead"),
        ]
    }
}

/// What a trial step said.
#[derive(Debug, Default)]
struct Facts(BTreeMap<String, Vec<String>>);

impl Facts {
    fn read(text: &str) -> Self {
        let mut facts = Self::default();
        for (name, fact) in text.lines().filter_map(|line| line.split_once(' ')) {
            facts.0.entry(name.to_owned()).or_default().push(fact.to_owned());
        }
        facts
    }

    fn is(&self, name: &str, fact: &str) -> bool {
        self.0.get(name).is_some_and(|facts| facts.iter().any(|one| one == fact))
    }

    fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

fn whole(tried: &Result<Facts, EngineError>) -> Finding {
    match tried {
        Ok(_) => Finding::ok("built-in sandbox", "a step ran in it"),
        Err(error) => Finding {
            of: "built-in sandbox".to_owned(),
            health: Health::Missing,
            says: error.to_string(),
            remedy: error.remedy().map(str::to_owned),
        },
    }
}

fn kernel(release: &str) -> Finding {
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let says = format!("Linux {release}");
    let remedy = format!("update the kernel to {}.{} or newer", NEWEST_NEED.0, NEWEST_NEED.1);
    if version >= NEWEST_NEED {
        Finding::ok("kernel", says)
    } else if version >= OLDEST {
        Finding::bad("kernel", Health::Limited, format!("{says} has no Landlock"), remedy)
    } else {
        Finding::bad("kernel", Health::Missing, format!("{says} is too old"), remedy)
    }
}

/// What each mechanism showed in the sandbox.
fn seen_at_work(facts: &Facts, landlock_abi: u32) -> Vec<Finding> {
    let report = "this is a mistake in Staith: please report it";
    let holds = |of: &str, holds: bool, yes: &str, no: &str| {
        if holds { Finding::ok(of, yes) } else { Finding::bad(of, Health::Missing, no, report) }
    };
    let processes = facts.all("processes").first().and_then(|count| count.parse::<u32>().ok());
    let only_its_own = processes.is_some_and(|count| count < 10);
    let only_loopback = facts.all("interface").iter().all(|name| name == "lo:");
    let no_capabilities = ["CapEff:", "CapBnd:"].iter().all(|set| facts.is(set, "0000000000000000"));
    let unmasked = facts.all("unmasked");
    vec![
        holds(
            "namespaces",
            only_its_own && only_loopback,
            "a step sees its own processes and its own network",
            "a step sees processes or networks of the host",
        ),
        holds(
            "overlay",
            facts.is("overlay", "yes"),
            "the workspace is an overlay",
            "the workspace is no overlay",
        ),
        holds("root file system", facts.is("readonly", "yes"), "it is read-only", "a step can write to it"),
        holds(
            "privileges",
            no_capabilities && facts.is("NoNewPrivs:", "1"),
            "a step has no capability and can gain none",
            "a step has capabilities or can gain some",
        ),
        holds(
            "seccomp",
            facts.is("Seccomp:", "2"),
            "system calls are filtered",
            "system calls are not filtered",
        ),
        landlock(landlock_abi),
        holds(
            "/proc masks",
            unmasked.is_empty(),
            "what tells of the host is masked",
            &format!("a step can read {}", unmasked.join(", ")),
        ),
        holds(
            "egress",
            facts.is("proxy", "yes"),
            "a step with outbound network has a proxy as its only way out",
            "a step with outbound network has no way out",
        ),
    ]
}

/// The proxies that this host reaches others through, where it does.
fn reached_through(proxies: &Proxies) -> Vec<Finding> {
    let one = |described: Result<String, BadProxy>| match described {
        Ok(place) => {
            Finding::ok("proxy", format!("what leaves this host goes through {place}, steps' requests too"))
        }
        Err(bad) => Finding::bad(
            "proxy",
            Health::Limited,
            format!("{bad}"),
            "correct the variable; until then nothing that would go through it is reached",
        ),
    };
    proxies.described().into_iter().map(one).collect()
}

fn landlock(abi: u32) -> Finding {
    match abi {
        0 => Finding::bad(
            "landlock",
            Health::Limited,
            "the kernel has none; steps lack the second wall around their files",
            "boot with `lsm=landlock,...` and CONFIG_SECURITY_LANDLOCK, Linux 5.13 or newer",
        ),
        abi => Finding::ok("landlock", format!("ABI {abi}")),
    }
}

/// What the kernel says that it has, where it could not be seen at work.
fn known_to_the_kernel(landlock_abi: u32) -> Vec<Finding> {
    let has = |of: &str, is_there: bool, remedy: &str| {
        if is_there {
            let unseen = "the kernel has it, but no sandbox could be made to see it at work";
            Finding::bad(of, Health::Limited, unseen, "see the first line")
        } else {
            Finding::bad(of, Health::Missing, "the kernel does not have it", remedy)
        }
    };
    let all = ["user", "mnt", "pid", "net", "ipc", "uts"];
    let namespaces = all.iter().all(|name| Path::new("/proc/self/ns").join(name).exists());
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let overlay = filesystems.lines().any(|line| line.split_whitespace().next_back() == Some("overlay"));
    let seccomp = Path::new("/proc/sys/kernel/seccomp/actions_avail").exists();
    vec![
        has("namespaces", namespaces, "use a kernel with CONFIG_NAMESPACES and CONFIG_USER_NS"),
        has("overlay", overlay, "`modprobe overlay`, or use a kernel with CONFIG_OVERLAY_FS"),
        has("seccomp", seccomp, "use a kernel with CONFIG_SECCOMP_FILTER"),
        landlock(landlock_abi),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_WELL: &str = "Seccomp: 2\nNoNewPrivs: 1\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\noverlay yes\n\
                            writes yes\nreadonly yes\nprocesses 3\ninterface lo:\nproxy yes\n";

    fn health(text: &str) -> Vec<(String, Health)> {
        seen_at_work(&Facts::read(text), 4).into_iter().map(|found| (found.of, found.health)).collect()
    }

    #[test]
    fn each_fact_decides_its_line() {
        assert!(health(ALL_WELL).iter().all(|(_, health)| *health == Health::Ok));
        for (was, is, line) in [
            ("Seccomp: 2", "Seccomp: 0", "seccomp"),
            ("NoNewPrivs: 1", "NoNewPrivs: 0", "privileges"),
            ("CapEff: 0000000000000000", "CapEff: 0000000000000001", "privileges"),
            ("overlay yes\n", "", "overlay"),
            ("readonly yes\n", "", "root file system"),
            ("processes 3", "processes 214", "namespaces"),
            ("interface lo:", "interface eth0:", "namespaces"),
            ("writes yes", "unmasked kcore", "/proc masks"),
            ("proxy yes\n", "", "egress"),
        ] {
            let found = health(&ALL_WELL.replace(was, is));
            let bad: Vec<&str> =
                found.iter().filter(|(_, health)| *health != Health::Ok).map(|(of, _)| of.as_str()).collect();
            assert_eq!(bad, [line], "{was} -> {is}");
        }
    }

    #[test]
    fn kernels_are_told_apart_by_their_version() {
        for (release, health) in [
            ("6.18.0-1-amd64\n", Health::Ok),
            ("5.13.0", Health::Ok),
            ("5.12.19", Health::Limited),
            ("5.4.0-150-generic", Health::Missing),
            ("", Health::Missing),
        ] {
            assert_eq!(kernel(release).health, health, "{release}");
        }
    }

    #[test]
    fn what_could_not_be_seen_is_never_ok() {
        let kernel_knows = known_to_the_kernel(0);
        assert!(kernel_knows.iter().all(|found| found.health != Health::Ok && found.remedy.is_some()));
    }
}
