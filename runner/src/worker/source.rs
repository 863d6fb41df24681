//! The source of a job, from its server.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader},
    path::Path,
    time::Duration,
};

use serde::Serialize;
use staith_builder::source::{NotReceived, ObjectId, Resolved};
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
/// What stands before each content on its way: an id and a length.
const BEFORE_EACH: u64 = 28;
/// How long contents may be on their way, beside a second for each of so many bytes: a slow link has its time.
const ON_THE_WAY: Duration = Duration::from_secs(110);
const BYTES_A_SECOND: u64 = 256 << 10;
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
    /// A directory for what is on its way.
    pub(super) scratch: &'a Path,
}

/// Contents that are asked for at once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Portion {
    ids: Vec<String>,
    /// How many bytes they have, as the list of the source says.
    bytes: u64,
}

impl Portion {
    /// How long an answer about it is at most.
    fn on_the_way(&self) -> u64 {
        self.bytes + BEFORE_EACH * self.ids.len() as u64
    }
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
        let mut file = tempfile::tempfile_in(self.scratch).map_err(|refused| no_room(&refused))?;
        for some in portions(&source, &missing) {
            self.bring(&some, &mut file).await?;
            // Each content is held against its id.
            let mut bytes = BufReader::with_capacity(64 << 10, &file);
            tokio::task::block_in_place(|| sources.take_contents(&source, &mut bytes))?;
        }
        let left = tokio::task::block_in_place(|| sources.missing(&source));
        match left.first() {
            None => Ok(source),
            Some(id) => Err(Problem::new(Exit::Environment, "the server has not sent all of the source")
                .with_why(format!("{} contents did not come, {id} among them", left.len()))
                .with_remedy("see the server's log; trying the run again asks for them again")),
        }
    }

    /// Contents as they are sent, in a file: a portion may be one content that is larger than memory.
    async fn bring(&self, some: &Portion, to: &mut File) -> Result<(), Problem> {
        let path = format!("/api/v1/attempts/{}/source/contents", self.attempt);
        let most = some.on_the_way();
        let long = ON_THE_WAY + Duration::from_secs(most / BYTES_A_SECOND);
        let ask = Ask::post(path, &ContentsAsked { ids: some.ids.clone() }).waiting(long).with(self.token);
        let mut waits = Waits::default();
        loop {
            match self.client.bytes_to(&ask, to, most).await {
                Ok(written) => return written.map(drop).map_err(|refused| no_room(&refused)),
                Err(refused) => waits.after(refused).await?,
            }
        }
    }

    async fn patiently(&self, ask: Ask) -> Result<Vec<u8>, Refused> {
        let (ask, mut waits) = (ask.with(self.token), Waits::default());
        loop {
            match self.client.bytes(&ask).await {
                Ok(bytes) => return Ok(bytes),
                Err(refused) => waits.after(refused).await?,
            }
        }
    }
}

/// Waits until the same may be asked again, so often and no oftener.
#[derive(Default)]
struct Waits {
    patience: Patience,
    tries: u32,
}

impl Waits {
    /// # Errors
    /// It is not to be asked again.
    async fn after(&mut self, refused: Refused) -> Result<(), Refused> {
        if !refused.may_pass() || self.tries >= TRIES {
            return Err(refused);
        }
        self.tries += 1;
        tokio::time::sleep(self.patience.failed()).await;
        Ok(())
    }
}

fn no_room(refused: &io::Error) -> Problem {
    Problem::new(Exit::Environment, "the source can't be kept on this host")
        .with_why(refused.to_string())
        .with_remedy("make room on the disk of Staith's home; the run is tried again")
}

/// The missing contents in portions that are asked for at once.
fn portions(source: &Resolved, missing: &[ObjectId]) -> Vec<Portion> {
    // Of a pointer and what it stands for, the larger one may come.
    let mut sizes = BTreeMap::<ObjectId, u64>::new();
    for (_, entry) in &source.files {
        let size = sizes.entry(entry.blob).or_default();
        *size = entry.size.max(*size);
    }
    let of = |id: &ObjectId| (id.to_string(), sizes.get(id).copied().unwrap_or_default());
    in_portions(missing.iter().map(of))
}

fn in_portions(sizes: impl Iterator<Item = (String, u64)>) -> Vec<Portion> {
    let mut portions = Vec::<Portion>::new();
    for (id, size) in sizes {
        let fits = |last: &Portion| last.ids.len() < AT_ONCE && last.bytes + size <= BYTES_AT_ONCE;
        if !portions.last().is_some_and(fits) {
            portions.push(Portion::default());
        }
        if let Some(last) = portions.last_mut() {
            last.ids.push(id);
            last.bytes += size;
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
    let mut known = BTreeMap::<&[String], Digest>::new();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_come_in_portions_and_a_large_one_alone() {
        let sizes = [(3, 5_u64), (1, BYTES_AT_ONCE + 1), (2, BYTES_AT_ONCE / 2), (1, 1)];
        let all = sizes.into_iter().flat_map(|(many, size)| (0..many).map(move |_| ("id".to_owned(), size)));
        let portions: Vec<_> = in_portions(all).iter().map(|one| (one.ids.len(), one.bytes)).collect();
        assert_eq!(portions, [(3, 15), (1, BYTES_AT_ONCE + 1), (2, BYTES_AT_ONCE), (1, 1)]);
        let many = in_portions((0..=AT_ONCE).map(|_| ("id".to_owned(), 0)));
        assert_eq!(many.iter().map(|one| one.ids.len()).collect::<Vec<_>>(), [AT_ONCE, 1]);
        assert_eq!(many[1].on_the_way(), BEFORE_EACH);
    }
}
