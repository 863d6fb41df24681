//! What a run would do, for `staith plan`.

mod graph;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal as _, Write},
};

use serde::Serialize;
use staith_builder::outlook::{Outlook, Standing};
use staith_model::{
    JobCut, Name, Network, PackagePlan, Placement, Plan, Readiness, RunId, ServicePlan, StepKind, StepPlan,
};

pub(crate) use self::graph::{Graph, plan_graph};
use super::{
    clean::clean_word,
    human,
    look::{Look, Mark, Tone},
    sink::Sink,
    table, words,
};
use crate::workshop::Prospect;

/// A plan with what is known of its steps.
pub(crate) struct PlanView<'a> {
    /// The plan.
    pub(crate) plan: &'a Plan,
    /// What a run would do with each step.
    pub(crate) prospect: &'a Prospect,
    /// How many files of the source each step sees.
    pub(crate) inputs: &'a BTreeMap<&'a Name, usize>,
    /// In milliseconds since 1970.
    pub(crate) now: u64,
}

/// Shows a plan on standard output: for people, or as one JSON value.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn plan(view: &PlanView<'_>, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        out.line(&serde_json::to_string(&told(view)).unwrap_or_default());
    } else {
        let look = Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok());
        show(&mut out, view, look);
    }
    out.written()
}

#[derive(Serialize)]
struct Told<'a> {
    digest: String,
    plan: &'a Plan,
    steps: Vec<ToldStep<'a>>,
    /// What a server's runners do, where that is more than one job.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    jobs: Vec<ToldJob>,
}

#[derive(Serialize)]
struct ToldJob {
    name: Name,
    runner: Placement,
    needs: BTreeSet<Name>,
    steps: Vec<Name>,
    packs: bool,
}

#[derive(Serialize)]
struct ToldStep<'a> {
    step: &'a Name,
    standing: &'static str,
    inputs: usize,
    #[serde(skip_serializing_if = "<[Name]>::is_empty")]
    after: &'a [Name],
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

fn told<'a>(view: &'a PlanView<'a>) -> Told<'a> {
    let step = |one: &'a Outlook| {
        let made = if let Standing::Known(record) = &one.standing { record.made.as_ref() } else { None };
        let after: &[Name] = if let Standing::After(steps) = &one.standing { steps } else { &[] };
        ToldStep {
            step: &one.step,
            standing: standing_word(&one.standing),
            inputs: view.inputs.get(&one.step).copied().unwrap_or_default(),
            after,
            run: made.map(|made| &made.run),
            at: made.map(|made| made.at),
        }
    };
    Told {
        digest: view.plan.digest().to_string(),
        plan: view.plan,
        steps: view.prospect.steps.iter().map(step).collect(),
        jobs: view.plan.jobs().unwrap_or_default().into_iter().filter_map(told_job).collect(),
    }
}

fn told_job(JobCut { name, placement, needs, part }: JobCut) -> Option<ToldJob> {
    let part = part?;
    Some(ToldJob { name, runner: placement, needs, steps: part.steps, packs: part.packs })
}

/// What a run would do with a step, in a word for programs.
pub(super) const fn standing_word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Known(_) => "cached",
        Standing::Runs => "runs",
        Standing::After(_) => "depends",
        Standing::NoImage => "unknown",
    }
}

fn show(out: &mut Sink<impl Write>, view: &PlanView<'_>, look: Look) {
    let plan = view.plan;
    out.line(&look.tint(Tone::Strong, &words::subject(plan).join(look.dot())));
    out.line(&occasion(plan, look));
    out.line(&format!("{} {}", look.tint(Tone::Quiet, "plan"), plan.digest()));
    out.line("");
    let head = ["", "step", "kind", "needs", "image", "network", "sees", "now"];
    let mut rows = vec![head.map(|text| look.tint(Tone::Quiet, text)).to_vec()];
    let steps = plan.steps.iter().zip(&view.prospect.steps);
    rows.extend(steps.map(|(step, outlook)| row(step, outlook, view, look)));
    table::lines(&rows).iter().for_each(|line| out.line(line));
    let known = view.prospect.steps.iter().filter(|one| matches!(one.standing, Standing::Known(_))).count();
    out.line("");
    out.line(&format!("{known} of {} cached", human::count(plan.steps.len(), "step")));
    extras(view).into_iter().for_each(|line| out.line(&line));
}

fn occasion(plan: &Plan, look: Look) -> String {
    let trigger = &plan.trigger;
    let mut parts = vec![format!("event {}", trigger.kind.as_str())];
    let names = [("branch", &trigger.branch), ("into", &trigger.target), ("tag", &trigger.tag)];
    parts.extend(
        names.into_iter().filter_map(|(word, name)| Some(format!("{word} {}", clean_word(name.as_ref()?)))),
    );
    look.tint(Tone::Quiet, &parts.join(", "))
}

fn row(step: &StepPlan, outlook: &Outlook, view: &PlanView<'_>, look: Look) -> Vec<String> {
    let needs: Vec<&str> = step.needs.iter().map(Name::as_str).collect();
    let mark = match outlook.standing {
        Standing::Known(_) => Mark::Cached,
        _ => Mark::Waiting,
    };
    vec![
        look.mark(mark),
        step.name.to_string(),
        kind(&step.kind).to_owned(),
        if needs.is_empty() { "-".to_owned() } else { needs.join(", ") },
        step.image.as_deref().map_or_else(|| "host".to_owned(), clean_word),
        network(step),
        human::count(view.inputs.get(&step.name).copied().unwrap_or_default(), "file"),
        standing(&outlook.standing, view.now),
    ]
}

/// A kind as pipelines write it.
pub(super) fn kind(kind: &StepKind) -> &str {
    match kind {
        StepKind::Lint => "lint",
        StepKind::Restore => "restore",
        StepKind::Build => "build",
        StepKind::UnitTest => "unit-test",
        StepKind::IntegrationTest => "integration-test",
        StepKind::Other(name) => name.as_str(),
    }
}

fn network(step: &StepPlan) -> String {
    match step.network {
        Network::None => "none".to_owned(),
        Network::Loopback => "loopback".to_owned(),
        Network::Outbound if step.allow.is_empty() => "outbound".to_owned(),
        Network::Outbound => step.allow.iter().map(|host| clean_word(host)).collect::<Vec<_>>().join(", "),
    }
}

fn standing(standing: &Standing, now: u64) -> String {
    match standing {
        Standing::Known(record) => match &record.made {
            Some(made) => format!("cached, ran {} ago", human::millis(now.saturating_sub(made.at))),
            None => "cached".to_owned(),
        },
        Standing::Runs => "will run".to_owned(),
        Standing::After(steps) => {
            let steps: Vec<&str> = steps.iter().map(Name::as_str).collect();
            format!("depends on the outputs of {}", steps.join(", "))
        }
        Standing::NoImage => "depends on its image".to_owned(),
    }
}

/// What is left out and why, services, the package, and what can't be said.
fn extras(view: &PlanView<'_>) -> Vec<String> {
    let plan = view.plan;
    let mut lines: Vec<String> = Vec::new();
    lines.extend(
        plan.left_out.iter().map(|left| format!("left out: {}, {}", left.step, clean_word(&left.why))),
    );
    lines.extend(plan.services.iter().map(service));
    lines.extend(plan.packages.iter().map(package));
    lines.extend(jobs(plan));
    lines.extend(view.prospect.unclear.iter().map(|why| format!("not clear: {}", clean_word(why))));
    lines
}

fn package(package: &PackagePlan) -> String {
    let from: Vec<&str> = package.layers.iter().map(Name::as_str).collect();
    let from =
        if from.is_empty() { "the source".to_owned() } else { format!("the outputs of {}", from.join(", ")) };
    let root = package.root.as_ref().map(|root| format!(", the content of {}", clean_word(root.as_str())));
    format!("package: {} from {from}{}", package.name, root.unwrap_or_default())
}

/// What a server makes of it, where the pipeline says anything about that.
fn jobs(plan: &Plan) -> Vec<String> {
    if plan.steps.iter().all(|step| step.runner.is_anywhere()) {
        return Vec::new();
    }
    match plan.jobs() {
        Ok(jobs) => {
            let mut lines: Vec<String> = jobs.iter().map(job).collect();
            lines.push(
                "jobs are for a server's runners; `staith run` runs all steps on this machine".to_owned(),
            );
            lines
        }
        Err(uncuttable) => {
            vec![format!("not clear: a server can't make jobs of it: {uncuttable}; {}", uncuttable.remedy())]
        }
    }
}

fn job(job: &JobCut) -> String {
    let after = match job.needs.is_empty() {
        true => String::new(),
        false => format!(", after {}", job.needs.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")),
    };
    let does: Vec<&str> = match &job.part {
        None => vec!["all steps"],
        Some(part) => {
            part.steps.iter().map(Name::as_str).chain(part.packs.then_some("what is packed")).collect()
        }
    };
    format!("job: {} on {}{after}: {}", job.name, job.placement, does.join(", "))
}

fn service(service: &ServicePlan) -> String {
    let image = service.image.as_deref().map_or_else(|| "the host's programs".to_owned(), clean_word);
    let ready = match &service.ready {
        Readiness::Port(port) => format!("it answers on port {port}"),
        Readiness::Command(_) => "its command succeeds".to_owned(),
    };
    format!("service: {}, {image}, ready when {ready}", service.name)
}
