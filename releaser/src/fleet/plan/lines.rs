//! A plan in lines that people read.

use std::collections::BTreeMap;

use staith_model::{
    Access, Direction, FleetPlan, HookPoint, Name, PaceKind, SchemaChange, Service, TargetAction, TargetPlan,
    Wave, WindowsWay,
};

use crate::fleet::machine::MachineState;

/// Of so many machines that were not reached, a plan tells why: the others have the same reason, as a rule.
const MOST_REASONS: usize = 3;

/// The plan, line by line, the most important first.
pub fn lines(plan: &FleetPlan) -> Vec<String> {
    let verb = if plan.direction == Direction::Back { "back to" } else { "to" };
    let mut lines = vec![format!("{}: {verb} release {}", plan.environment, plan.release.short())];
    match plan.previous {
        Some(previous) => lines.push(format!("  if it fails, back to release {}", previous.short())),
        None => lines.push("  if it fails, there is no release to go back to".into()),
    }
    lines.extend(floor(plan));
    lines.push(format!("  {}", pace(plan)));
    lines.extend(plan.targets.iter().map(target));
    for (number, wave) in plan.waves.iter().enumerate() {
        let watched = match (watched_seconds(plan, wave), wave.analysed) {
            (0, true) => ", measured".to_owned(),
            (0, false) => String::new(),
            (seconds, true) => format!(", measured for {seconds} s"),
            (seconds, false) => format!(", watched for {seconds} s"),
        };
        let share = match &plan.traffic {
            Some(_) => format!(" with {} of the requests", in_ten_thousand(wave.share)),
            None => String::new(),
        };
        let who = if wave.targets.is_empty() { "no further machine".into() } else { names(&wave.targets) };
        lines.push(format!("  wave {}: {who}{share}{watched}", number + 1));
    }
    for hook in &plan.hooks {
        let when = match hook.hook.at {
            HookPoint::BeforeSwitch => "before anything switches",
            HookPoint::BeforeRestart => "before each switches",
            HookPoint::AfterRestart => "after each is healthy",
            HookPoint::AfterSwitch => "after the last switched",
        };
        lines.push(format!("  hook {} {when} on {}", hook.hook.name, names(&hook.targets)));
    }
    if let Some(traffic) = &plan.traffic {
        let linger = match traffic.linger_seconds {
            0 => String::new(),
            seconds => format!(", then {seconds} s in which clients may still believe earlier answers"),
        };
        lines.push(format!("  requests in flight are given {} s{linger}", traffic.drain_seconds));
    }
    lines.extend(plan.warnings.iter().map(|warning| format!("  warning: {warning}")));
    lines.push(format!("  plan {}", plan.digest()));
    lines
}

fn floor(plan: &FleetPlan) -> Vec<String> {
    let Some(floor) = &plan.floor else { return Vec::new() };
    let change = match floor.change {
        SchemaChange::None => "",
        SchemaChange::Expand => "; it expands the schema",
        SchemaChange::Contract => "; it contracts the schema",
    };
    let mut lines = vec![format!(
        "  rollback floor {}, set by release {}{change}",
        floor.version.as_str(),
        floor.by.short()
    )];
    lines.extend(floor.refused.iter().map(|why| format!("  REFUSED: {why}")));
    let stops = floor.undo_refused.iter();
    lines.extend(
        stops.map(|why| format!("  if it fails, it stops for people and does not go back by itself: {why}")),
    );
    lines
}

fn pace(plan: &FleetPlan) -> String {
    match &plan.pace.kind {
        PaceKind::Pools { to, from: Some(from) } if to == from => format!("pool {to} serves and stays"),
        PaceKind::Pools { to, from: Some(from) } => {
            let kept = match plan.pace.keep_warm_seconds {
                Some(seconds) => format!("stays as it is for {seconds} s, then its services are stopped"),
                None => "stays as it is".to_owned(),
            };
            format!("pool {to} gets the release, then the requests; pool {from} {kept}")
        }
        PaceKind::Pools { to, from: None } => format!("pool {to} gets the release, then the requests"),
        PaceKind::InPlace => {
            let out = if plan.pace.drains { ", out of traffic first" } else { ", in place" };
            format!("at most {} out of service at once{out}", plan.pace.max_unavailable)
        }
    }
}

fn target(one: &TargetPlan) -> String {
    let before = one.before.map_or_else(|| "nothing".into(), |before| before.short());
    let bytes = if one.staged { "" } else { ", files to bring" };
    let what = match one.action {
        TargetAction::Unchanged => "unchanged: it runs the release".into(),
        TargetAction::Repair => {
            let damage = one.damage.as_deref().unwrap_or("its files are not the release's");
            format!("repaired: {damage}; its files are brought anew, and it is restarted")
        }
        TargetAction::First if one.staged => "starts the release, which is there".into(),
        TargetAction::First => format!("first release{bytes}"),
        TargetAction::Switch => format!("switches from {before}{bytes}"),
        TargetAction::Unreachable => "unreachable now; nothing shows anywhere before it answers".into(),
        TargetAction::Quarantined => "quarantined: left alone, and out of traffic".into(),
        TargetAction::Kept => format!("keeps {before}"),
    };
    format!("  {}: {what}{}", one.target.name, windows(one))
}

/// What is different about a Windows machine.
fn windows(one: &TargetPlan) -> String {
    match &one.target.access {
        Access::Windows { gets, .. } if changes(one) => {
            let how = match gets.way {
                WindowsWay::Directory => "",
                WindowsWay::Msdeploy => ", not at one instant",
            };
            format!("; Windows, {gets}{how}")
        }
        _ => String::new(),
    }
}

const fn changes(one: &TargetPlan) -> bool {
    matches!(
        one.action,
        TargetAction::First | TargetAction::Switch | TargetAction::Repair | TargetAction::Unreachable
    )
}

fn names(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// For how long a wave is watched at least: until there are as many measurements as would be enough to say no.
fn watched_seconds(plan: &FleetPlan, wave: &Wave) -> u64 {
    let Some(analysis) = plan.analysis.as_ref().filter(|_| wave.analysed) else { return wave.bake_seconds };
    let first = wave.bake_seconds.min(analysis.interval_seconds);
    let others = analysis.interval_seconds.saturating_mul(analysis.failure_limit.into());
    wave.bake_seconds.max(first.saturating_add(others))
}

/// `2500` is `25 %`.
pub fn in_ten_thousand(share: u32) -> String {
    let (whole, rest) = (share / 100, share % 100);
    match rest {
        0 => format!("{whole} %"),
        rest if rest % 10 == 0 => format!("{whole}.{} %", rest / 10),
        rest => format!("{whole}.{rest:02} %"),
    }
}

/// What a person should know before saying yes.
pub(super) fn warnings(
    plan: &FleetPlan,
    machines: &BTreeMap<Name, Result<MachineState, String>>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let changes = plan.members().any(|one| one.action != TargetAction::Unchanged);
    if changes && plan.traffic.is_some() && plan.pace.kind == PaceKind::InPlace && !plan.pace.drains {
        warnings.push(
            "machines are restarted while they get requests, because nobody else would be left to answer: some requests will fail"
                .into(),
        );
    }
    if !plan.undo_moves_bytes.is_empty() {
        let without: Vec<Name> = plan.undo_moves_bytes.iter().cloned().collect();
        warnings.push(format!(
            "what runs on {} is not among the releases there, so they can't be taken back",
            names(&without)
        ));
    }
    warnings.extend(windows_warnings(plan));
    warnings.extend(unreached(plan, machines));
    warnings
}

/// Which machines were not reached, why in the words of who tried, and what comes of it.
fn unreached(plan: &FleetPlan, machines: &BTreeMap<Name, Result<MachineState, String>>) -> Option<String> {
    let unreached = plan.targets.iter().filter(|one| one.action == TargetAction::Unreachable);
    let unreached: Vec<Name> = unreached.map(|one| one.target.name.clone()).collect();
    let why = |name: &Name| {
        let why = machines.get(name)?.as_ref().err()?;
        Some(why.strip_prefix(&format!("{name} can't be reached: ")).unwrap_or(why).to_owned())
    };
    let why = match unreached.as_slice() {
        [] => return None,
        [one] => why(one).map(|why| format!(": {why}")).unwrap_or_default(),
        several => {
            let each = several.iter().filter_map(|name| Some(format!("{name}: {}", why(name)?)));
            let each: Vec<String> = each.take(MOST_REASONS).collect();
            if each.is_empty() { String::new() } else { format!(" ({})", each.join("; ")) }
        }
    };
    Some(format!(
        "{} can't be reached{why}; unless that changes, the deployment ends before anything shows: quarantine or skip what is to be left out",
        names(&unreached)
    ))
}

fn windows_warnings(plan: &FleetPlan) -> Vec<String> {
    let of_windows = plan.targets.iter().filter(|one| changes(one));
    let machines: Vec<_> = of_windows
        .filter_map(|one| match &one.target.access {
            Access::Windows { gets, .. } => Some((one.target.name.clone(), gets.way)),
            _ => None,
        })
        .collect();
    if machines.is_empty() {
        return Vec::new();
    }
    let all: Vec<Name> = machines.iter().map(|(name, _)| name.clone()).collect();
    let mut warnings = vec![format!(
        "Windows machines were never verified against a real one: {}; try a release there where nobody is served first",
        names(&all)
    )];
    let slow: Vec<Name> =
        machines.into_iter().filter(|(_, way)| *way == WindowsWay::Msdeploy).map(|(name, _)| name).collect();
    if !slow.is_empty() {
        warnings.push(format!(
            "msdeploy changes files one after the other on {}: the site is offline meanwhile, and so it is when it goes back",
            names(&slow)
        ));
    }
    let has_environment = matches!(&plan.setting.service, Service::Systemd { env, .. } if !env.is_empty());
    if has_environment || !plan.setting.secrets.is_empty() {
        warnings.push(format!(
            "on {} nothing gets the environment variables of the service, nor secrets except in files that `render` names",
            names(&all)
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use staith_model::{
        Digest, FleetEnvironment, ReleaseSetting, Rollout, SecretVersion, Target, WindowsRelease,
    };

    use super::*;
    use crate::fleet::{
        machine::MachineState,
        plan::{Situation, plan},
    };

    fn target(name: &str, way: Option<WindowsWay>) -> Target {
        let host = name.to_owned();
        let access = match way {
            None => Access::Ssh { host, user: None, port: None, host_key: None, superuser: false },
            Some(way) => {
                let gets = WindowsRelease { site: Some("Shop".into()), way, ..WindowsRelease::default() };
                Access::Windows { host, user: None, port: None, host_key: None, gets }
            }
        };
        Target {
            name: name.parse().unwrap(),
            access,
            pool: None,
            tags: BTreeSet::new(),
            roles: BTreeSet::new(),
            variables: BTreeMap::new(),
            serves_at: None,
        }
    }

    fn told(secrets: bool, states: &[(&str, Option<WindowsWay>, MachineState)]) -> Vec<String> {
        let version = SecretVersion { name: "db".into(), version: String::new() };
        let setting = ReleaseSetting {
            folder: "/srv/shop".into(),
            service: Service::Files,
            health: None,
            port: None,
            min_healthy_seconds: 0,
            variables: BTreeMap::new(),
            role_variables: BTreeMap::new(),
            secrets: secrets.then(|| ("DB".to_owned(), version)).into_iter().collect(),
            rendered: Vec::new(),
            schema: None,
            hooks: Vec::new(),
        };
        let targets: Vec<Target> = states.iter().map(|(name, way, _)| target(name, *way)).collect();
        let environment = FleetEnvironment {
            name: "production".parse().unwrap(),
            targets: targets.clone(),
            inventory: None,
            setting: setting.clone(),
            rollout: Rollout::AllAtOnce { watch: None },
            traffic: None,
            drain_seconds: 0,
            keep_releases: 3,
        };
        let machines = states.iter().map(|(name, _, state)| (name.parse().unwrap(), Ok(state.clone())));
        let plan = plan(&Situation {
            environment: &environment,
            targets: &targets,
            release: Digest::of(b"new"),
            setting: &setting,
            direction: Direction::Forward,
            machines: &machines.collect(),
            traffic: None,
            out: &BTreeSet::new(),
            history: &[],
            damaged: &BTreeMap::new(),
            floors: &BTreeMap::new(),
            versions: &BTreeMap::new(),
        });
        lines(&plan.unwrap())
    }

    fn at(release: Option<&[u8]>) -> MachineState {
        let current = release.map(Digest::of);
        MachineState { current, releases: current.into_iter().collect(), ..MachineState::default() }
    }

    #[test]
    fn a_plan_that_mixes_linux_and_windows_says_what_is_different() {
        let (directory, msdeploy) = (Some(WindowsWay::Directory), Some(WindowsWay::Msdeploy));
        let mixed = told(
            true,
            &[("web1", None, at(None)), ("win1", directory, at(None)), ("win2", msdeploy, at(Some(b"old")))],
        );
        let has = |end: &str| assert!(mixed.iter().any(|line| line.contains(end)), "{end}: {mixed:#?}");
        has("web1: first release, files to bring");
        has("win1: first release, files to bring; Windows, site Shop");
        has("files to bring; Windows, site Shop by msdeploy, not at one instant");
        has("never verified against a real one: win1, win2;");
        has("msdeploy changes files one after the other on win2:");
        has("on win1, win2 nothing gets the environment variables");
        assert!(!mixed.iter().any(|line| line.contains("web1") && line.contains("Windows")), "{mixed:#?}");
    }

    #[test]
    fn nothing_is_said_of_windows_where_nothing_of_it_changes() {
        let same =
            told(true, &[("web1", None, at(None)), ("win1", Some(WindowsWay::Msdeploy), at(Some(b"new")))]);
        assert!(!same.iter().any(|line| line.contains("Windows") || line.contains("msdeploy")), "{same:#?}");
        let plain = told(false, &[("win1", Some(WindowsWay::Directory), at(None))]);
        assert!(!plain.iter().any(|line| line.contains("environment variables")), "{plain:#?}");
    }
}
