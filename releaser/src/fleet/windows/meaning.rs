//! What the program's words mean here: facts, states, and refusals with what to do about them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use staith_model::Blame;

use super::{
    session::Unheard,
    words::{Not, Ran, State, System, Up},
};
use crate::fleet::machine::{Facts, HookOutcome, MachineError, MachineState, Serving};

/// What a machine is asked to do, for people.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand {
    pub(super) what: &'static str,
    /// Whether asking again can do no harm.
    pub(super) reads_only: bool,
}

const ADMINISTRATOR: &str =
    "let a member of the machine's group Administrators log in: IIS's settings and services are theirs alone";
const REPORT: &str =
    "deploy again; if it comes again, please report it: Windows machines are not verified yet";

impl Errand {
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, reads_only: false }
    }

    pub(super) const fn reading(what: &'static str) -> Self {
        Self { what, reads_only: true }
    }

    pub(super) fn lost(self, target: &str, why: &str) -> MachineError {
        MachineError::Lost { target: target.to_owned(), what: self.what, why: why.to_owned() }
    }

    fn not_done(self, target: &str, why: String, remedy: &str, blame: Blame) -> MachineError {
        MachineError::Refused {
            target: target.to_owned(),
            what: self.what,
            why,
            remedy: remedy.into(),
            blame,
        }
    }

    pub(super) fn unexpected(self, target: &str, why: &str) -> MachineError {
        let why: String = why.chars().take(500).collect();
        let why = format!("what answers is not the program that it should be: {}", why.escape_debug());
        self.not_done(target, why, "see what the machine prints when somebody logs in", Blame::Environment)
    }

    /// The program said nothing at all.
    pub(super) fn silent(self, target: &str, unheard: &Unheard) -> MachineError {
        let (why, noise) = match unheard {
            Unheard::Ended { why, noise } => (why, noise),
            Unheard::Strange(what) => return self.unexpected(target, what),
        };
        let said = format!("{why} {noise}");
        let mentions = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let remedy = if mentions(&["core types", "language mode"]) {
            "a policy (AppLocker, WDAC) holds PowerShell in its constrained language mode for this user; exempt the user that deploys"
        } else if mentions(&["not recognized", "not found", "exit code 127"]) {
            "this is no Windows machine, or it has no powershell.exe in its PATH; a Linux machine is a target without `site`"
        } else if mentions(&["the connection broke"]) {
            return self.lost(target, why);
        } else {
            "see that `ssh HOST powershell.exe -Version 5.1 -Command 1` works for the user, and prints 1"
        };
        let noise =
            if noise.is_empty() { String::new() } else { format!("; it said: {}", noise.escape_debug()) };
        self.not_done(
            target,
            format!("PowerShell did not start ({}){noise}", why.trim()),
            remedy,
            Blame::Environment,
        )
    }

    pub(super) fn refused(self, target: &str, not: Not) -> MachineError {
        match not {
            Not::TooLate { seen, asked } => MachineError::Fenced { target: target.to_owned(), seen, asked },
            Not::Undecided => MachineError::Undecided { target: target.to_owned(), hook: String::new() },
            Not::Cancelled => MachineError::Cancelled,
            Not::Impossible { kind, text } => {
                let text: String = text.chars().take(2_000).collect();
                let (why, remedy, blame) = refusal(&kind, text.trim());
                self.not_done(target, why, remedy, blame)
            }
        }
    }
}

/// Why, what to do, and whose fault it is.
fn refusal(kind: &str, text: &str) -> (String, &'static str, Blame) {
    use Blame::{Environment, Project};
    match kind {
        "access-denied" => (format!("access is denied: {text}"), ADMINISTRATOR, Environment),
        "no-iis" => (
            format!("IIS can't be asked: {text}"),
            "install IIS with its scripts there: Install-WindowsFeature Web-Server, Web-Scripting-Tools",
            Environment,
        ),
        "no-site" => (
            format!("IIS has no site `{text}`"),
            "create the site once, or correct `site` of the target in runner.toml (Get-Website lists what is there)",
            Environment,
        ),
        "no-service" => (
            format!("there is no Windows service `{text}`"),
            "install the service once, with a program below `current`, or correct `windows-service` of the target",
            Environment,
        ),
        "no-msdeploy" => (
            format!("msdeploy.exe is not there (looked in {text})"),
            "install Web Deploy 3.6 or newer on the machine, or write `way = \"directory\"` for the target",
            Environment,
        ),
        "msdeploy-failed" => (
            format!("msdeploy.exe failed: {text}"),
            "the site's folder may hold files of two releases now; going back applies the earlier package",
            Environment,
        ),
        "path-too-long" => (
            format!("a path is too long for Windows: {text}"),
            "give the environment a shorter `folder`, such as C:/s",
            Project,
        ),
        "disk-full" => {
            (format!("its disk is full: {text}"), "make room, or keep fewer releases (`keep`)", Environment)
        }
        "in-use" => (
            format!("a file is in use: {text}"),
            "find who holds it open (a virus scanner, a shell in that folder, an old worker process), and deploy again",
            Environment,
        ),
        "busy" => (text.to_owned(), "wait for it, or end its PowerShell on the machine", Environment),
        "state-damaged" => (
            format!("{text} is damaged"),
            "look at what the site's path is and remove that file, then deploy again",
            Environment,
        ),
        "current-is-a-folder" => (
            format!("{text} is a folder, where a junction to the release belongs"),
            "move what is in it elsewhere, and remove the folder",
            Environment,
        ),
        "not-staged" => (
            format!("release {} is not on this machine", text.chars().take(12).collect::<String>()),
            "stage the release first",
            Environment,
        ),
        "content-differs" => (
            format!("the content of `{text}` is not what the release promises"),
            "make the package again; this file of it is damaged",
            Project,
        ),
        "leaves-folder" => (
            format!("`{text}` would leave the release's folder"),
            "correct that path in the package",
            Project,
        ),
        "no-program" => (
            format!("a hook can't be started: {text}"),
            "let the hook's command in runner.toml name a program that the package or the machine has",
            Project,
        ),
        _ => (text.to_owned(), REPORT, Environment),
    }
}

pub(super) fn facts(system: System) -> Facts {
    let architecture = match system.architecture.as_str() {
        "AMD64" => "x86_64".to_owned(),
        "ARM64" => "aarch64".to_owned(),
        _ => system.architecture,
    };
    Facts {
        machine_id: system.machine,
        boot_id: system.boot,
        architecture,
        system: system.system,
        superuser: system.administrator,
        free_bytes: system.free,
        systemd: false,
    }
}

pub(super) fn state(state: State) -> MachineState {
    let current = state.current.map(|hex| hex.0);
    MachineState {
        epoch: state.epoch,
        releases: state.releases.into_iter().map(|hex| hex.0).collect(),
        current,
        previous: state.previous.map(|hex| hex.0),
        serving: Some(match state.serving {
            Up::Up => Serving::Up(current),
            Up::Down => Serving::Down,
        }),
        unfinished: state.unfinished.map(|hex| hex.0),
    }
}

pub(super) fn outcome(ran: Ran) -> Result<HookOutcome, String> {
    let said = STANDARD.decode(&ran.said).map_err(|error| error.to_string())?;
    Ok(HookOutcome { code: ran.code, timed_out: ran.timed_out, said, already: ran.already })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERRAND: Errand = Errand::new("x");

    fn told(error: MachineError) -> String {
        match error {
            MachineError::Refused { why, remedy, .. } => format!("{why}\n{remedy}"),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_kind_of_refusal_of_the_program_has_a_remedy_of_its_own() {
        let program = super::super::program::program();
        let kinds = program
            .split("Deny-Request '")
            .skip(1)
            .chain(program.split("kind = '").skip(1))
            .filter_map(|rest| rest.split('\'').next());
        let mut seen = 0;
        for kind in kinds.filter(|kind| *kind != "other") {
            assert_ne!(refusal(kind, "t").1, REPORT, "{kind}");
            seen += 1;
        }
        assert!(seen > 15, "{seen}");
    }

    #[test]
    fn what_does_not_start_says_what_is_missing() {
        let silent = |why: &str, noise: &str| {
            told(ERRAND.silent("win1", &Unheard::Ended { why: why.into(), noise: noise.into() }))
        };
        let linux = silent("the program ended: exit code 127: sh: 1: powershell.exe: not found", "");
        assert!(linux.contains("no Windows machine"), "{linux}");
        let held = silent(
            "the program ended: exit code 1: Cannot create type. Only core types are supported in this language mode.",
            "",
        );
        assert!(held.contains("AppLocker"), "{held}");
        let noisy = silent("the program ended", "This service allows sftp connections only.");
        assert!(noisy.contains("it said: This service"), "{noisy}");
    }
}
