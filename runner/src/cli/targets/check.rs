//! `staith targets check`.

use std::time::Duration;

use clap::Args;
use staith_model::{Access, Exit, Name, Service, Target};
use staith_releaser::fleet::machine::{Facts, MachineError};

use super::{Tagged, Which};
use crate::{
    fleet::Site,
    home::Home,
    interrupt,
    output::{self, CheckedTarget, OutputMode, Problem},
};

/// With less room than this, the next release may not fit, whatever it is.
const LEAST_ROOM: u64 = 256 << 20;

/// Connect to machines and say what is wrong with each: the way to it, the program on it, room, systemd
///
/// All machines are asked at once. The program for machines is brought to each over ssh, as a deployment would do; nothing else is
/// changed. Ends with 30 if something is wrong with a machine, whether or not it is in quarantine.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    tagged: Tagged,
    /// Only this machine; may be given several times
    #[arg(long = "target", value_name = "MACHINE")]
    targets: Vec<Name>,
    /// Seconds that a machine is given to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    within: u64,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen()?;
        let checked = tokio::select! {
            checked = self.checked(&stop.cancel) => checked?,
            () = stop.cancel.cancelled() => return Ok(Exit::Interrupted),
        };
        output::targets_checked(&checked, mode).map_err(|lost| Problem::unwritable(&lost))?;
        let is_well = checked.iter().all(|one| one.wrong.is_empty());
        Ok(if is_well { Exit::Passed } else { Exit::Environment })
    }

    async fn checked(
        &self,
        cancel: &tokio_util::sync::CancellationToken,
    ) -> Result<Vec<CheckedTarget>, Problem> {
        let mut machines = Vec::new();
        for site in self.which.sites(&Home::find()?)? {
            let targets = site.targets_there(cancel).await?;
            machines.push((site, targets));
        }
        let all = || machines.iter().flat_map(|(_, targets)| targets).map(|target| &target.name);
        if let Some(unknown) = self.targets.iter().find(|wanted| !all().any(|known| known == *wanted)) {
            return Err(super::quarantine::unknown(unknown, all()));
        }
        self.tagged.must_choose_some(machines.iter().flat_map(|(_, targets)| targets))?;
        for (_, targets) in &mut machines {
            let is_named = |target: &Target| self.targets.is_empty() || self.targets.contains(&target.name);
            targets.retain(|target| is_named(target) && self.tagged.takes(target));
        }
        let patience = Duration::from_secs(self.within);
        let calls = machines.iter().map(|(site, targets)| async move {
            let room = room_for_a_release(site);
            let said = site.call(targets, patience).await;
            said.into_iter().map(move |(target, said)| {
                let setting = &site.environment.setting;
                let is_windows =
                    |one: &Target| one.name == target && matches!(one.access, Access::Windows { .. });
                // What the service is, is said for Linux machines.
                let service = (!targets.iter().any(is_windows)).then_some(&setting.service);
                let wrong = match &said {
                    Ok(facts) => wrong_with(facts, &setting.folder, service, room),
                    Err(error) => vec![(error.to_string(), remedy(error))],
                };
                CheckedTarget { environment: site.environment.name.clone(), target, said: said.ok(), wrong }
            })
        });
        Ok(futures_util::future::join_all(calls).await.into_iter().flatten().collect())
    }
}

/// Room that the largest release of the project may take on a machine that has none of its files, twice: packages are compressed, and
/// the one before stays.
fn room_for_a_release(site: &Site) -> u64 {
    let releases = site.shelf().all().unwrap_or_default();
    let largest = releases.iter().map(|release| release.package.size).max().unwrap_or_default();
    largest.saturating_mul(6).max(LEAST_ROOM)
}

fn remedy(error: &MachineError) -> String {
    match error {
        MachineError::Unreachable { remedy, .. } | MachineError::Refused { remedy, .. } => remedy.clone(),
        _ => "try again; if it comes again, see whether the machine and the network to it are up".to_owned(),
    }
}

/// What a machine that answered lacks, and what to do about each.
fn wrong_with(facts: &Facts, folder: &str, service: Option<&Service>, room: u64) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    let mut tell = |what: String, remedy: &str| wrong.push((what, remedy.to_owned()));
    if facts.free_bytes < room {
        tell(
            format!(
                "there is room for {} where {} is, and a release may take {}",
                output::bytes(facts.free_bytes),
                folder,
                output::bytes(room)
            ),
            "make room there, or keep fewer releases (`keep`)",
        );
    }
    let is_unit = matches!(service, Some(Service::Systemd { .. } | Service::Unit { .. }));
    if is_unit && !facts.systemd {
        let whose = if facts.superuser { "systemd" } else { "this account's own systemd" };
        tell(
            format!("{whose} does not answer, and the service is a unit of it"),
            "use a machine with systemd, connect as root, or let `loginctl enable-linger` keep the account's own systemd",
        );
    }
    if let Some(Service::Systemd { user: Some(user), .. }) = service
        && !facts.superuser
    {
        tell(
            format!("the service is to run as `{user}`, and only the superuser can do that"),
            "connect as root, or leave out the service's `user`",
        );
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(user: Option<&str>) -> Service {
        Service::Systemd {
            unit: "shop".into(),
            command: vec!["./shop".into()],
            env: [].into(),
            user: user.map(str::to_owned),
            stop_seconds: 1,
        }
    }

    #[test]
    fn each_lack_is_told() {
        let good = Facts {
            machine_id: String::new(),
            boot_id: String::new(),
            architecture: "x86_64".into(),
            system: "Debian".into(),
            superuser: true,
            free_bytes: 1 << 40,
            systemd: true,
        };
        let of = |facts: &Facts, user| -> Vec<String> {
            wrong_with(facts, "/srv/shop", Some(&unit(user)), LEAST_ROOM)
                .into_iter()
                .map(|(what, _)| what)
                .collect()
        };
        assert_eq!(of(&good, Some("shop")), [] as [&str; 0]);
        let full = Facts { free_bytes: 1 << 20, ..good.clone() };
        assert!(of(&full, None)[0].contains("room for 1.0 MiB where /srv/shop is"), "{:?}", of(&full, None));
        let plain = Facts { systemd: false, ..good.clone() };
        assert!(of(&plain, None)[0].contains("systemd does not answer"));
        let somebody = Facts { superuser: false, ..good };
        assert!(of(&somebody, Some("shop"))[0].contains("as `shop`"));
        assert_eq!(of(&somebody, None), [] as [&str; 0]);
        assert_eq!(wrong_with(&plain, "/srv/shop", Some(&Service::Files), LEAST_ROOM), []);
        assert_eq!(wrong_with(&plain, "C:/srv/shop", None, LEAST_ROOM), [], "Windows has no systemd to lack");
    }
}
