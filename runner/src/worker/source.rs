//! The source of a job, from its server.

use std::time::Duration;

use serde::Serialize;
use staith_builder::source::{NotReceived, Resolved};
use staith_model::{Digest, Exit, Plan, Secret};

use crate::{
    client::{Ask, Client, Patience, Refused},
    output::Problem,
    workshop::Workshop,
};

/// Contents that are asked for at once.
const AT_ONCE: usize = 2_000;
/// And how many bytes of them; one that is larger comes alone.
const BYTES_AT_ONCE: u64 = 16 << 20;
/// How long contents may be on their way: a slow link has its time.
const ON_THE_WAY: Duration = Duration::from_secs(110);
/// How often the same is asked again when the server is away.
const TRIES: u32 = 12;

/// Which contents are wanted.
#[derive(Debug, Serialize)]
struct ContentsAsked {
    /// Their ids in git, 40 hexadecimal digits each.
    ids: Vec<String>,
}

/// Where a job's source is had.
pub(super) struct SourceOfJob<'a> {
    pub(super) client: &'a Client,
    pub(super) token: &'a Secret,
    pub(super) attempt: &'a str,
}

impl SourceOfJob<'_> {
    /// The source of a plan, with all its contents in the store of this home.
    ///
    /// # Errors
    /// It can't be had, or it is not the one that the plan was made for.
    pub(super) async fn fetch(&self, workshop: &Workshop, plan: &Plan) -> Result<Resolved, Problem> {
        let path = format!("/api/v1/attempts/{}/source", self.attempt);
        let list = self.patiently(Ask::get(path).waiting(ON_THE_WAY)).await?;
        let sources = workshop.sources();
        let source = tokio::task::block_in_place(|| sources.received(&list))?;
        check(workshop, plan, &source)?;
        let missing = tokio::task::block_in_place(|| sources.missing(&source));
        for some in portions(&source, &missing) {
            let path = format!("/api/v1/attempts/{}/source/contents", self.attempt);
            let ask = Ask::post(path, &ContentsAsked { ids: some }).waiting(ON_THE_WAY);
            let bytes = self.patiently(ask).await?;
            tokio::task::block_in_place(|| sources.take_contents(&source, &mut bytes.as_slice()))?;
        }
        let left = tokio::task::block_in_place(|| sources.missing(&source));
        match left.first() {
            None => Ok(source),
            Some(id) => Err(Problem::new(Exit::Environment, "the server has not sent all of the source")
                .with_why(format!("{} contents did not come, {id} among them", left.len()))
                .with_remedy("see the server's log; trying the run again asks for them again")),
        }
    }

    async fn patiently(&self, ask: Ask) -> Result<Vec<u8>, Refused> {
        let (ask, mut patience) = (ask.with(self.token), Patience::default());
        let mut tries = 0;
        loop {
            match self.client.bytes(&ask).await {
                Err(refused) if refused.may_pass() && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(patience.failed()).await;
                }
                answered => return answered,
            }
        }
    }
}

/// The missing contents in portions that are asked for at once.
fn portions(source: &Resolved, missing: &[staith_builder::source::ObjectId]) -> Vec<Vec<String>> {
    let sizes: std::collections::BTreeMap<_, _> =
        source.files.iter().map(|(_, entry)| (entry.blob, entry.size)).collect();
    let (mut portions, mut bytes) = (Vec::<Vec<String>>::new(), 0_u64);
    for id in missing {
        let size = sizes.get(id).copied().unwrap_or_default();
        let fits = portions.last().is_some_and(|last| last.len() < AT_ONCE && bytes + size <= BYTES_AT_ONCE);
        if !fits {
            portions.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(last) = portions.last_mut() {
            last.push(id.to_string());
        }
    }
    portions
}

/// What comes must be what the plan was made for: the tree's name, and for each step the digest of what it will see.
fn check(workshop: &Workshop, plan: &Plan, source: &Resolved) -> Result<(), Problem> {
    let other = |why: String| {
        Problem::new(Exit::Environment, "the source that the server sent is not that of the plan")
            .with_why(why)
            .with_remedy("nothing was run; see the server's log, and report this")
    };
    if source.source != plan.source {
        return Err(other(format!(
            "the plan is for tree {}, and this is tree {}",
            plan.source.tree, source.source.tree
        )));
    }
    let mut known = std::collections::BTreeMap::<&[String], Digest>::new();
    for step in &plan.steps {
        let seen = match known.get(step.inputs.as_slice()) {
            Some(seen) => *seen,
            None => {
                let seen = workshop.sources().input_digest(source, &step.inputs);
                let seen = seen.map_err(|bad| Problem::new(Exit::Configuration, bad.to_string()))?;
                known.insert(&step.inputs, seen);
                seen
            }
        };
        if seen != step.input_tree {
            return Err(other(format!("step `{}` would see other files than the plan says", step.name)));
        }
    }
    Ok(())
}

impl From<NotReceived> for Problem {
    fn from(not: NotReceived) -> Self {
        Self::new(Exit::Environment, not.to_string())
            .with_remedy("nothing was run; trying the run again asks for the source again")
    }
}
