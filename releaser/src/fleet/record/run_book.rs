//! How an environment is released to, as a page for the people who have to do it at night. Made from what is configured, so that it
//! is never behind it.

use serde::{Deserialize, Serialize};
use staith_model::{
    Access, Amount, Approvals, AtDeadline, Check, Digest, FleetEnvironment, FleetRelease, Hook, HookPoint,
    Inventory, Metric, Name, Protection, Queue, Rollout, Service, TrafficSpec,
};

use super::markdown::{code, text};

/// A run-book, as people and programs are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBook {
    /// The environment that it is about.
    pub environment: Name,
    /// The page.
    pub markdown: String,
}

/// By whom an environment is released to: which commands a page names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Whoever has the project's directory and the keys of machines.
    Hand,
    /// A server's deployer; people ask the server.
    Server,
}

impl By {
    const fn command(self) -> &'static str {
        match self {
            Self::Hand => "staith release",
            Self::Server => "staith server release",
        }
    }
}

/// What a run-book is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The project.
    pub project: &'a Name,
    /// The environment.
    pub environment: &'a FleetEnvironment,
    /// What protects it.
    pub protection: &'a Protection,
    /// The release that is to go there, where there is one.
    pub release: Option<&'a FleetRelease>,
    /// The plan that would be carried out, where one was made.
    pub plan: Option<&'a Digest>,
    /// By whom it is released to.
    pub by: By,
}

/// The page, in Markdown. The same subject gives the same page.
pub fn run_book(subject: &Subject<'_>) -> String {
    let Subject { project, environment, protection, release, plan, by } = *subject;
    let mut page = Page::default();
    page.line(format!("# Releasing {project} to {}", environment.name));
    page.section(
        "What",
        [
            release.map(|release| {
                let package = &release.package;
                let commit = release.source.commit.as_deref().unwrap_or("none");
                format!(
                    "Release {}: package {}, commit {}.",
                    code(&release.digest().short()),
                    code(&format!("{}@{}", package.name, package.version)),
                    code(commit)
                )
            }),
            plan.map(|plan| {
                format!("Plan {}. Approvals are for this plan and no other.", code(&plan.to_string()))
            }),
        ]
        .into_iter()
        .flatten(),
    );
    page.section("Before it may begin", before(protection));
    page.section("Stages", stages(environment));
    page.section("Programs that run", environment.setting.hooks.iter().map(hook));
    page.section("Machines", machines(environment));
    page.section("Going back", going_back(environment, by.command()));
    page.section("Looking", looking(project, &environment.name, by));
    page.text()
}

#[derive(Default)]
struct Page(Vec<String>);

impl Page {
    fn line(&mut self, line: String) {
        self.0.push(line);
    }

    /// A list under a title; nothing where there is nothing to list.
    fn section(&mut self, title: &str, items: impl IntoIterator<Item = String>) {
        let items: Vec<String> = items.into_iter().map(|item| format!("- {item}")).collect();
        if !items.is_empty() {
            self.0.extend([String::new(), format!("## {title}"), String::new()]);
            self.0.extend(items);
        }
    }

    fn text(mut self) -> String {
        self.0.push(String::new());
        self.0.join("\n")
    }
}

fn before(protection: &Protection) -> Vec<String> {
    let mut found: Vec<String> = protection.approvals.iter().flat_map(approvals).collect();
    found.extend(protection.checks.iter().map(check));
    if !protection.branches.is_empty() {
        let patterns: Vec<String> = protection.branches.iter().map(|pattern| code(pattern)).collect();
        found.push(format!("The release is of a branch {}.", patterns.join(" or ")));
    }
    let trust = protection.trust.map(staith_model::service::Trust::as_str);
    found.extend(trust.map(|least| format!("Its package was made of {least} code; nobody goes past that.")));
    found.extend(
        protection
            .after
            .iter()
            .map(|name| format!("This very release has succeeded in {}.", code(name.as_str()))),
    );
    found.extend(protection.hours.iter().map(|hours| {
        let days: Vec<&str> = hours.days.iter().map(String::as_str).collect();
        format!(
            "It is {}, from {} until {} ({}).",
            text(&days.join(", ")),
            text(&hours.from),
            text(&hours.until),
            text(&hours.zone)
        )
    }));
    found.extend(protection.freezes.iter().map(|freeze| {
        format!("It is not from {} until {}: {}.", text(&freeze.from), text(&freeze.until), text(&freeze.why))
    }));
    if found.is_empty() {
        found.push("Nothing: this environment is open.".to_owned());
    }
    found.push(match protection.queue {
        Queue::NewestWins => "Of deployments that wait, the newest takes the place of the others.".to_owned(),
        Queue::InOrder => "Deployments that wait come in their order.".to_owned(),
    });
    found
}

fn approvals(approvals: &Approvals) -> Vec<String> {
    let people: Vec<String> = approvals.people.iter().map(|person| text(person)).collect();
    let requester = if approvals.requester_may {
        "who asked for it may be one"
    } else {
        "who asked for it is none of them"
    };
    let mut found = vec![format!(
        "{} of {} approve the plan within {} seconds; {requester}. {}",
        approvals.needed,
        people.join(", "),
        approvals.deadline_seconds,
        match approvals.at_deadline {
            AtDeadline::Expire => "After that it expires.",
            AtDeadline::Deploy => {
                "If none of them has said no by then, it is deployed where all else holds, which has a day from then on."
            }
        }
    )];
    if !approvals.instructions.is_empty() {
        found.push(format!("What approvers look at: {}", text(&approvals.instructions)));
    }
    found
}

fn check(check: &Check) -> String {
    match check {
        Check::Http { url, status } => format!("{} answers with {status}.", code(url)),
        Check::Metric { metric } => format!("{}.", metric_holds(metric)),
        Check::Health => "All machines of the environment are healthy.".to_owned(),
    }
}

fn metric_holds(metric: &Metric) -> String {
    let side = match metric.holds {
        staith_model::Comparison::Below => "below",
        staith_model::Comparison::Above => "above",
    };
    let only_told = if metric.dry_run { " (only told)" } else { "" };
    format!(
        "{} is {side} {}: {}{only_told}",
        text(metric.name.as_str()),
        text(&metric.limit),
        code(&metric.query)
    )
}

fn stages(environment: &FleetEnvironment) -> Vec<String> {
    let mut found =
        vec!["Every machine gets the files, verified; nothing that anybody could see changes.".to_owned()];
    match &environment.rollout {
        Rollout::AllAtOnce { .. } => found.push("All machines switch at once.".to_owned()),
        Rollout::Rolling { max_unavailable, .. } => {
            found.push(format!(
                "Machines are switched in turn, at most {} at a time.",
                amount(*max_unavailable)
            ));
        }
        Rollout::Canary { steps, max_unavailable, .. } => {
            found.extend(steps.iter().map(|step| {
                format!(
                    "{} run the new release, and are watched for {} seconds.",
                    amount(step.targets),
                    step.bake_seconds
                )
            }));
            found.push(format!("All others follow, {} at a time, at most.", amount(*max_unavailable)));
        }
        Rollout::BlueGreen { pools: [one, other], keep_warm_seconds, .. } => {
            found.push(format!("Of the pools {one} and {other}, the one without requests gets the release, then the requests."));
            found.push(match keep_warm_seconds {
                Some(seconds) => format!(
                    "The pool that served is kept as it is for {seconds} seconds; then its services are stopped, and a swap back starts them again."
                ),
                None => "The pool that served is kept as it is until the next deployment.".to_owned(),
            });
        }
    }
    found.extend(watched(&environment.rollout));
    let setting = &environment.setting;
    if let Some(health) = &setting.health {
        let (path, deadline) = (code(&health.path), health.deadline_seconds);
        found.push(format!(
            "A machine is healthy when {path} answers for this release within {deadline} seconds, and stays so for {} seconds.",
            setting.min_healthy_seconds
        ));
    }
    found.push(service(&setting.service));
    if let Some(traffic) = &environment.traffic {
        found.push(format!(
            "{} Requests in flight have {} seconds.",
            provider(traffic),
            environment.drain_seconds
        ));
    }
    found
}

/// What is looked at when all have changed, and what decides.
fn watched(rollout: &Rollout) -> Vec<String> {
    let mut found = Vec::new();
    if rollout.bake_seconds() > 0 {
        found
            .push(format!("When all have changed, they are watched for {} seconds.", rollout.bake_seconds()));
    }
    let what = if matches!(rollout, Rollout::Canary { .. }) { "A step holds" } else { "The release stays" };
    let metrics = rollout.analysis().into_iter().flat_map(|analysis| &analysis.metrics);
    found.extend(metrics.map(|metric| format!("{what} while {}.", metric_holds(metric))));
    found
}

fn amount(amount: Amount) -> String {
    match amount {
        Amount::Count(1) => "1 machine".to_owned(),
        Amount::Count(count) => format!("{count} machines"),
        Amount::Percent(percent) => format!("{percent} % of the machines"),
    }
}

fn service(service: &Service) -> String {
    match service {
        Service::Systemd { unit, .. } => format!("The unit {} is written and restarted.", code(unit)),
        Service::Supervised { command, .. } => {
            format!(
                "{} is restarted, and kept running by Staith's program on the machine.",
                code(&command.join(" "))
            )
        }
        Service::Unit { unit } => format!("The unit {} is restarted.", code(unit)),
        Service::Command { restart, .. } => format!("{} restarts it.", code(&restart.join(" "))),
        Service::Files => "Nothing is restarted: something else serves the files.".to_owned(),
    }
}

fn provider(traffic: &TrafficSpec) -> String {
    match traffic {
        TrafficSpec::Haproxy { nodes, backend } => {
            let nodes: Vec<String> = nodes.iter().map(|node| code(&node.runtime)).collect();
            format!("HAProxy ({}) sends requests to its backend {}.", nodes.join(", "), code(backend))
        }
        TrafficSpec::BuiltIn { nodes, backend } => {
            let nodes: Vec<String> = nodes.iter().map(|node| code(node)).collect();
            format!(
                "The built-in proxy ({}) sends requests to its backend {}.",
                nodes.join(", "),
                code(backend)
            )
        }
        TrafficSpec::Dns { server, record, ttl_seconds, .. } => format!(
            "The record {} at {} names the machines; answers are kept for {ttl_seconds} seconds.",
            code(record),
            code(server)
        ),
        TrafficSpec::TrafficManager { profile, .. } => {
            format!("Traffic Manager {} names the machines.", code(profile))
        }
    }
}

fn hook(hook: &Hook) -> String {
    let at = match hook.at {
        HookPoint::BeforeSwitch => "before any machine switches",
        HookPoint::BeforeRestart => "on a machine before it switches",
        HookPoint::AfterRestart => "on a machine that is healthy, before it gets requests",
        HookPoint::AfterSwitch => "after the last machine switched",
    };
    let once = if hook.once { ", on the first machine only" } else { "" };
    let again = if hook.repeatable {
        "may be repeated"
    } else {
        "must not run twice: if its machine dies in it, a person decides"
    };
    format!(
        "{}, {at}{once}: {} ({} seconds; {again}).",
        text(hook.name.as_str()),
        code(&hook.command.join(" ")),
        hook.timeout_seconds
    )
}

fn machines(environment: &FleetEnvironment) -> Vec<String> {
    let mut found: Vec<String> = environment
        .targets
        .iter()
        .map(|target| {
            let how = match &target.access {
                Access::Ssh { host, .. } => format!("by ssh to {}", code(host)),
                Access::Local => "this machine".to_owned(),
                Access::Pull => "asks for its deployments".to_owned(),
                Access::Windows { host, gets, .. } => {
                    format!("Windows at {}, {}", code(host), text(&gets.to_string()))
                }
            };
            let pool = target.pool.as_ref().map(|pool| format!(", pool {pool}")).unwrap_or_default();
            format!("{}: {how}{pool}", text(target.name.as_str()))
        })
        .collect();
    match &environment.inventory {
        Some(Inventory::Command(command)) => {
            found.push(format!("and those that {} prints", code(&command.join(" "))))
        }
        Some(Inventory::File(file)) => found.push(format!("and those in {}", code(file))),
        None => {}
    }
    found
}

fn looking(project: &Name, environment: &Name, by: By) -> Vec<String> {
    let command = by.command();
    let (told, verified) = match by {
        By::Hand => (
            format!("staith audit show {project} --environment {environment}"),
            format!("staith audit verify {project} --environment {environment}"),
        ),
        By::Server => (format!("{command} history {environment}"), "staith server audit verify".to_owned()),
    };
    vec![
        format!("{}: who did what, when.", code(&told)),
        format!("{}: whether that record is whole.", code(&verified)),
        format!(
            "{}: which release serves, and where a deployment stands.",
            code(&format!("{command} status {environment}"))
        ),
    ]
}

fn going_back(environment: &FleetEnvironment, command: &str) -> Vec<String> {
    let name = &environment.name;
    vec![
        format!(
            "By itself: when a machine is not healthy, the smoke test fails, or somebody aborts with {}.",
            code(&format!("{command} abort {name}"))
        ),
        format!("By hand: {} goes to the release before.", code(&format!("{command} rollback {name}"))),
        format!(
            "{} goes to an earlier one; the last {} are on each machine, and going back to them moves no bytes and needs no approval.",
            code(&format!("{command} rollback {name} --to RELEASE")),
            environment.keep_releases
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use staith_model::{CanaryStep, ReleaseSetting, Target};

    use super::*;

    fn environment() -> FleetEnvironment {
        FleetEnvironment {
            name: "production".parse().unwrap(),
            targets: vec![Target {
                name: "web1".parse().unwrap(),
                access: Access::Ssh {
                    host: "web1.example.org".into(),
                    user: None,
                    port: None,
                    host_key: None,
                    superuser: false,
                },
                pool: None,
                tags: [].into(),
                roles: [].into(),
                variables: BTreeMap::new(),
                serves_at: None,
            }],
            inventory: Some(Inventory::Command(vec!["./machines".into()])),
            setting: ReleaseSetting {
                folder: "/srv/shop".into(),
                service: Service::Unit { unit: "shop".into() },
                health: None,
                port: Some(80),
                min_healthy_seconds: 3,
                variables: BTreeMap::new(),
                role_variables: BTreeMap::new(),
                secrets: BTreeMap::new(),
                rendered: vec![],
                schema: None,
                hooks: vec![Hook {
                    name: "migrate".parse().unwrap(),
                    at: HookPoint::BeforeSwitch,
                    command: vec!["./migrate".into(), "up".into()],
                    repeatable: false,
                    once: true,
                    roles: [].into(),
                    timeout_seconds: 60,
                }],
            },
            rollout: Rollout::Canary {
                steps: vec![CanaryStep { targets: Amount::Count(1), bake_seconds: 30 }],
                max_unavailable: Amount::Percent(25),
                analysis: None,
                bake_seconds: 0,
            },
            traffic: None,
            drain_seconds: 10,
            keep_releases: 5,
        }
    }

    fn page(environment: &FleetEnvironment, protection: &Protection) -> String {
        let project = "shop".parse().unwrap();
        run_book(&Subject {
            project: &project,
            environment,
            protection,
            release: None,
            plan: None,
            by: By::Hand,
        })
    }

    #[test]
    fn the_page_changes_when_an_approval_is_added() {
        let open = page(&environment(), &Protection::default());
        assert!(open.contains("this environment is open") && open.contains("## Stages"), "{open}");
        let approvals = Approvals {
            people: ["anna".to_owned()].into(),
            needed: 1,
            requester_may: false,
            deadline_seconds: 600,
            at_deadline: AtDeadline::Expire,
            instructions: "Look at <the> dashboard".into(),
        };
        let guarded =
            page(&environment(), &Protection { approvals: Some(approvals), ..Protection::default() });
        assert!(guarded.contains("- 1 of anna approve the plan within 600 seconds"), "{guarded}");
        assert!(guarded.contains("What approvers look at: Look at &lt;the&gt; dashboard"));
        assert!(!guarded.contains("environment is open"));
    }

    #[test]
    fn a_person_finds_stages_hooks_machines_and_the_way_back() {
        let page = page(&environment(), &Protection::default());
        for part in [
            "# Releasing shop to production",
            "- 1 machine run the new release, and are watched for 30 seconds.",
            "- All others follow, 25 % of the machines at a time, at most.",
            "- migrate, before any machine switches, on the first machine only: `./migrate up` (60 seconds; must not run twice: if its machine dies in it, a person decides).",
            "- web1: by ssh to `web1.example.org`",
            "- and those that `./machines` prints",
            "`staith release rollback production --to RELEASE`",
        ] {
            assert!(page.contains(part), "{part}\n\n{page}");
        }
    }
}
