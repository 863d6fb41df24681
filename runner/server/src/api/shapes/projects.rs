//! Shapes of what is about projects and what happens to them.

use serde_json::{Value, json};
use staith_model::{
    ArrivalId, Digest, Name, RunId,
    service::{
        Arrival, ArrivalPage, ArrivalState, Arrived, Concurrency, ExplainAsked, Explanation, ForgeKind,
        ForgeSettings, Happening, Priority, Project, ProjectAsked, ProjectPage, ProjectSettings, RunAsked,
        RunSetOff, Schedule, Trust,
    },
};

use super::{ANY, AT, name, value};
use crate::triggers::Approved;

/// Examples of a shape, the fullest first. `None` if there is no such shape.
pub(super) fn examples(shape: &str) -> Option<Vec<Value>> {
    let digest = Digest::of(b"");
    let id = ArrivalId::new(AT, [5; 10]);
    Some(match shape {
        "ProjectAsked" => {
            let origin = "https://example.net/blog.git".to_owned();
            let asked = ProjectAsked { name: name("blog")?, origin, settings: ProjectSettings::default() };
            let mut asked = value(&asked);
            asked["settings"] = json!({});
            vec![asked, json!({ "name": "blog", "origin": "https://example.net/blog.git" })]
        }
        "ProjectPart" => vec![json!({})],
        "Project" => projects()?.iter().map(value).collect(),
        "ProjectPage" => vec![
            value(&ProjectPage { projects: projects()?.into(), next: name("shop") }),
            value(&ProjectPage { projects: Vec::new(), next: None }),
        ],
        "Arrived" => vec![value(&Arrived { arrivals: vec![id] })],
        "Arrival" => arrivals()?,
        "ArrivalPage" => vec![
            json!({ "arrivals": arrivals()?, "next": id }),
            value(&ArrivalPage { arrivals: Vec::new(), next: None }),
        ],
        "ApprovalAsked" => vec![json!({ "number": 1, "head": "0123", "pipeline": digest })],
        "Approved" => vec![value(&Approved { freed: 1 })],
        "ExplainAsked" => {
            let full = ExplainAsked {
                event: "push".to_owned(),
                branch: Some("main".to_owned()),
                tag: Some("v1".to_owned()),
                target: Some("main".to_owned()),
                fork: false,
                schedule: Some("nightly".to_owned()),
                paths: vec!["src/main.rs".to_owned()],
            };
            vec![value(&full), json!({ "event": "push" })]
        }
        "Explanation" => {
            let nothing = Explanation {
                starts: false,
                why: "`[on]` has no `push`".to_owned(),
                trust: None,
                trusted_because: None,
                plan: None,
                plan_digest: None,
                notices: vec!["…".to_owned()],
            };
            let full = Explanation {
                starts: true,
                trust: Some(Trust::Protected),
                trusted_because: Some("the branch `main` is protected by `main`".to_owned()),
                plan_digest: Some(digest),
                ..nothing.clone()
            };
            let mut full = value(&full);
            // What `staith plan --json` shows.
            full["plan"] = json!({});
            vec![full, value(&nothing)]
        }
        "RunAsked" => {
            let asked = RunAsked {
                reference: "main".to_owned(),
                settings: [(ANY.to_owned(), "yes".to_owned())].into(),
                priority: Priority::LOWEST,
            };
            vec![value(&asked), json!({ "reference": "main" })]
        }
        _ => return None,
    })
}

/// One with all that can be said of it, and one of which nothing was said.
fn projects() -> Option<[Project; 2]> {
    let some = |text: &str| Some(text.to_owned());
    let forge = ForgeSettings {
        kind: ForgeKind::Github,
        url: some("https://api.github.com"),
        repository: some("me/shop"),
        webhook_secret: some("hook"),
        status_secret: some("statuses"),
    };
    let bare = ForgeSettings {
        url: None,
        repository: None,
        webhook_secret: None,
        status_secret: None,
        ..forge.clone()
    };
    let schedule = Schedule {
        name: name("nightly")?,
        cron: "0 3 * * *".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        branch: "main".to_owned(),
        only_if_changed: true,
        priority: Priority::LOWEST,
    };
    let usual = Schedule { priority: Priority::default(), ..schedule.clone() };
    let settings = |forge, schedules, pools: Option<Name>| ProjectSettings {
        forge: Some(forge),
        schedules,
        pools: pools.into_iter().collect(),
        protected_tags: vec!["v*".to_owned()],
        poll_seconds: Some(60),
        concurrency: Concurrency::Wait,
        ..ProjectSettings::default()
    };
    let full = Project {
        name: name("shop")?,
        origin: "/srv/git/shop.git".to_owned(),
        settings: settings(forge, vec![schedule, usual], name("big")),
        created: AT,
    };
    Some([full.clone(), Project { settings: settings(bare, Vec::new(), None), ..full }])
}

/// Each kind of thing that happens; of some all is known, of some little.
fn arrivals() -> Option<Vec<Value>> {
    let (commit, branch) = ("0123…".to_owned(), "main".to_owned());
    let request = |reference| Happening::PullRequest {
        number: 7,
        branch: branch.clone(),
        head: commit.clone(),
        target: branch.clone(),
        fork: true,
        author: 1,
        reference,
    };
    let asked = |priority| Happening::Asked {
        reference: branch.clone(),
        by: "person:ann".to_owned(),
        settings: [(ANY.to_owned(), "yes".to_owned())].into(),
        priority,
    };
    let all = [
        Happening::Push { branch: branch.clone(), before: Some(commit.clone()), after: commit.clone() },
        Happening::Push { branch: branch.clone(), before: None, after: commit.clone() },
        Happening::Gone { reference: "refs/heads/topic".to_owned() },
        Happening::Tag { tag: "v1".to_owned(), commit: commit.clone() },
        request(Some("refs/pull/7/head".to_owned())),
        request(None),
        Happening::PullRequestClosed { number: 7 },
        Happening::Other { event: "star".to_owned() },
        Happening::Schedule { name: "nightly".to_owned(), branch: branch.clone(), due: AT },
        asked(Priority::LOWEST),
        asked(Priority::default()),
    ];
    let project = name("shop")?;
    let arrival = |happening| Arrival {
        id: ArrivalId::new(AT, [5; 10]),
        project: project.clone(),
        source: "github".to_owned(),
        delivery: "…".to_owned(),
        happening,
        received: AT,
        state: ArrivalState::Refused,
        why: Some("runner.toml can't work".to_owned()),
        remedy: Some("correct it".to_owned()),
        run: Some(RunSetOff { id: RunId::new(AT, [3; 10]), number: 7 }),
        tries: 1,
    };
    let least = Arrival { why: None, remedy: None, run: None, ..arrival(all[0].clone()) };
    let all: Vec<Value> = all.into_iter().map(arrival).chain([least]).map(|one| value(&one)).collect();
    Some(all)
}
