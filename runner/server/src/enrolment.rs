//! How hosts become runners, and prove from then on who they are.
//!
//! An administrator asks for a code, which is valid for some minutes and used once. The host makes a key pair, and shows with the code
//! that it has the private half. With that key it signs for sessions, whose tokens are valid for ten minutes each. Nothing lasting
//! that a thief could use ever goes over the network.
//!
//! 1. `proof`: what is signed. 2. `sessions`. 3. Here: codes, enrolment, and what administrators do with runners.

mod proof;
mod sessions;

use axum::{
    Extension, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use staith_model::{
    Digest, RunnerId,
    service::{
        EnrolAsked, Enrolled, EnrolmentAsked, EnrolmentMade, RunnerChange, RunnerPage, RunnerState, TargetOf,
    },
};

use crate::{
    api::{Answer, Asked, Body, Caller, Made, Part, Permission, Problem, Scope, ShownOnce},
    site::Site,
    store::{Actor, Applicant, Application, StoreError, page},
    targets::Standing,
    tokens::{Kind, Word, chance},
};

/// How long a code is valid if nothing is said, in milliseconds.
pub const CODE_VALID: u64 = 600_000;
/// How long it may be: time to copy it, and not to forget it somewhere.
const VALID: std::ops::RangeInclusive<u64> = 60_000..=86_400_000;
/// The most labels of a runner.
const MOST_LABELS: usize = 64;
/// The longest version of a program, in bytes.
const LONGEST_VERSION: usize = 100;

/// The routes of enrolment, sessions and runners.
pub fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/enrolments", post(code))
        .route("/api/v1/runners", get(list).post(enrol))
        .route("/api/v1/runners/{runner}/sessions", post(sessions::open))
        .route("/api/v1/runners/{runner}/drain", post(drain))
        .route("/api/v1/runners/{runner}/resume", post(resume))
        .route("/api/v1/runners/{runner}/revoke", post(revoke))
}

/// Makes a code and keeps its digest.
///
/// # Errors
/// It is to be valid for too long or too short; the store refuses.
pub async fn make_code(site: &Site, asked: EnrolmentAsked, by: Actor) -> Result<EnrolmentMade, Problem> {
    let valid_millis = asked.valid_millis.unwrap_or(CODE_VALID);
    if !VALID.contains(&valid_millis) {
        return Err(Problem::new(
            400,
            "bad-validity",
            "a code is valid for a minute at least, and a day at most",
        )
        .with_remedy("say another time; a code that has expired is soon replaced by another"));
    }
    let now = site.clock.unix_millis();
    let word = Word::new(Kind::Enrolment)?;
    site.store.add_enrolment(word.digest(), asked, now + valid_millis, by, now).await?;
    Ok(EnrolmentMade { code: word.tell(), valid_millis })
}

async fn code(
    State(site): State<Site>,
    caller: Caller,
    Body(asked): Body<EnrolmentAsked>,
) -> Result<(Extension<ShownOnce>, Made<EnrolmentMade>), Problem> {
    match &asked.target {
        None => caller.must(Permission::Administer, Scope::Server)?,
        Some(target) => may_be_given(&site, &caller, target).await?,
    }
    few_labels(asked.labels.len())?;
    let made = make_code(&site, asked, caller.actor()).await?;
    Ok((Extension(ShownOnce), Made(made)))
}

/// Who administers an environment says which hosts are its machines.
async fn may_be_given(site: &Site, caller: &Caller, target: &TargetOf) -> Result<(), Problem> {
    caller.must(Permission::Administer, Scope::Environment(&target.project, &target.environment))?;
    let known = site.store.project(&target.project).await?;
    let unknown = || StoreError::Unknown { what: "project", name: target.project.to_string() };
    known.map(|_| ()).ok_or_else(|| unknown().into())
}

async fn enrol(
    State(site): State<Site>,
    caller: Caller,
    Body(asked): Body<EnrolAsked>,
) -> Result<Made<Enrolled>, Problem> {
    let from = caller.actor().from;
    site.guard.limits.enrolment(from.as_deref(), site.clock.steady())?;
    few_labels(asked.labels.len())?;
    a_version(&asked.version)?;
    let key = proof::Key::read(&asked.public_key)?;
    key.check(&proof::of_enrolment(&asked), &asked.proof)?;
    let now = site.clock.unix_millis();
    let applicant = Applicant {
        code: Digest::of(asked.code.as_bytes()),
        id: RunnerId::new(now, chance()?),
        name: asked.name,
        public_key: key.text(),
        labels: asked.labels,
        version: asked.version,
        from,
    };
    let enrolled = answer(site.store.enrol(applicant, now).await?)?;
    // A host that was it before may ask again what it was told then.
    let counts = site.store.known_runner(&enrolled.runner).await?;
    let counts = counts.is_some_and(|known| known.state != RunnerState::Revoked);
    if let Some(target) = enrolled.target.as_ref().filter(|_| counts) {
        site.relay.belongs_to(target, &enrolled.runner, site.clock.steady());
    }
    Ok(Made(enrolled))
}

/// Whoever has a code knows that it was one, so that what became of it is told to nobody who could not know.
fn answer(application: Application) -> Result<Enrolled, Problem> {
    let again = "ask an administrator of the server for another: `staith server runner-code` makes one";
    match application {
        Application::Taken(enrolled) => Ok(enrolled),
        Application::UnknownCode => {
            Err(Problem::new(403, "code-unknown", "the server did not give this code").with_remedy(
                "compare it with what the administrator gave you; the address of the server as well",
            ))
        }
        Application::ExpiredCode => Err(Problem::new(403, "code-expired", "the code is no longer valid")
            .with_why("a code is valid for ten minutes, if nothing else was said when it was made")
            .with_remedy(again)),
        Application::UsedCode => Err(Problem::new(403, "code-used", "the code was used before")
            .with_why("a code makes one host a runner, once")
            .with_remedy(again)),
        Application::KnownKey => {
            Err(Problem::new(409, "key-known", "this host's key belongs to a runner already")
                .with_why("the code was not used up")
                .with_remedy("go on as that runner, or make a new key for this one"))
        }
    }
}

/// A runner of this server's own line of versions: both read plans alike.
pub(crate) fn a_version(version: &str) -> Result<(), Problem> {
    const OWN: &str = env!("CARGO_PKG_VERSION");
    let fine = version.len() <= LONGEST_VERSION && version.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    if !fine {
        return Err(Problem::new(
            400,
            "bad-version",
            "the version of the program is no short, printable text",
        ));
    }
    if line_of(version).is_some_and(|line| Some(line) == line_of(OWN)) {
        return Ok(());
    }
    Err(Problem::new(409, "other-version", format!("the runner is Staith {version}, and the server is {OWN}"))
        .with_why("a plan may mean something else to another version")
        .with_remedy(format!(
            "install Staith {OWN} on the runner's host, and start the runner again: jobs that it has go on meanwhile"
        )))
}

/// What versions that work together have in common: the first number, or the first two while the first is 0.
fn line_of(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
    match (parts.next()??, parts.next()) {
        (0, minor) => Some((0, minor??)),
        (major, _) => Some((major, 0)),
    }
}

fn few_labels(labels: usize) -> Result<(), Problem> {
    let many = || Problem::new(400, "many-labels", format!("a runner has {MOST_LABELS} labels at most"));
    (labels <= MOST_LABELS).then_some(()).ok_or_else(many)
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Asked(part): Asked<Part<RunnerId>>,
) -> Result<Answer<RunnerPage>, Problem> {
    caller.must(Permission::See, Scope::Server)?;
    let rest = site.store.runners().await?;
    let rest = rest.into_iter().filter(|runner| part.after.as_ref().is_none_or(|after| runner.id < *after));
    let (mut runners, next) = page::cut(rest, part.most(), |runner| runner.id.clone());
    let now = (site.clock.steady(), site.clock.unix_millis());
    // The store hears of them with each session; the relay all the time.
    let is_here = |target: &TargetOf| site.relay.standing(target, now.0) == Standing::Here;
    for runner in runners.iter_mut().filter(|runner| runner.state != RunnerState::Revoked) {
        if runner.target.as_ref().is_some_and(is_here) {
            runner.seen = now.1;
        }
    }
    Ok(Answer(RunnerPage { runners, next }))
}

async fn drain(state: State<Site>, caller: Caller, runner: Path<String>) -> Result<StatusCode, Problem> {
    change(state, caller, runner, RunnerChange::Drain).await
}

async fn resume(state: State<Site>, caller: Caller, runner: Path<String>) -> Result<StatusCode, Problem> {
    change(state, caller, runner, RunnerChange::Resume).await
}

async fn revoke(state: State<Site>, caller: Caller, runner: Path<String>) -> Result<StatusCode, Problem> {
    change(state, caller, runner, RunnerChange::Revoke).await
}

/// Administrators may; and a runner may drain itself, when its host is to go.
async fn change(
    State(site): State<Site>,
    caller: Caller,
    Path(runner): Path<String>,
    change: RunnerChange,
) -> Result<StatusCode, Problem> {
    let itself = caller.runner().is_ok_and(|own| own.as_str() == runner);
    if !(itself && change != RunnerChange::Revoke) {
        caller.must(Permission::Administer, Scope::Server)?;
    }
    let id = runner_id(&runner)?;
    let after = site.store.change_runner(&id, change, caller.actor(), site.clock.unix_millis()).await?;
    match after {
        RunnerState::Active => site.bells.jobs.ring(),
        RunnerState::Draining => {}
        RunnerState::Revoked => site.relay.revoked(&id, site.clock.steady()),
    }
    Ok(StatusCode::NO_CONTENT)
}

fn runner_id(text: &str) -> Result<RunnerId, Problem> {
    text.parse().map_err(|_| StoreError::Unknown { what: "runner", name: text.to_owned() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_line_work_together() {
        for (one, other, together) in [
            ("0.1.0", "0.1.7-rc.1", true),
            ("0.1.0", "0.2.0", false),
            ("1.4.0", "1.0.2", true),
            ("1", "1.9", true),
            ("1.0.0", "2.0.0", false),
            ("0.1.0", "1.1.0", false),
        ] {
            assert_eq!(line_of(one) == line_of(other), together, "{one} {other}");
        }
        for bad in ["", "0", "x", "0.x", "v1"] {
            assert_eq!(line_of(bad), None, "{bad}");
        }
    }
}
