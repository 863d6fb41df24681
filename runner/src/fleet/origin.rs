//! Where what is released came from.

use std::path::Path;

use staith_builder::source::{CommitsBetween, committed_at};
use staith_model::{Digest, SourceOfRelease, TriggerKind, service::Trust};
use staith_packager::{
    seal::{attached, key::Keys, label},
    store::{Published, Store},
};
use staith_releaser::fleet::record::notes::{Commit, Found};

use crate::{home::Home, records};

/// When a commit was made, as far as the repository of the project in `folder` knows. Off the runtime: opening a repository takes its
/// time, and signals are heard meanwhile.
pub(crate) async fn when_committed(folder: &Path, commit: Option<&str>) -> Option<u64> {
    let (folder, commit) = (folder.to_owned(), commit?.to_owned());
    let asked = tokio::task::spawn_blocking(move || committed_at(&folder, &commit).ok().flatten());
    asked.await.ok().flatten()
}

/// Commits as notes of releases tell of them.
pub(crate) fn as_told(between: CommitsBetween) -> Found {
    let commits = between.new.into_iter().map(|commit| Commit {
        id: commit.id,
        author: commit.author,
        subject: commit.subject,
        body: commit.body,
    });
    Found { new: commits.collect(), more: between.more, gone: between.gone }
}

/// Where a package came from, as far as this home and the repository of the project in `folder` know.
pub(crate) async fn source_of(home: &Home, folder: &Path, published: &Published) -> SourceOfRelease {
    let trust = trust_of(home, published.package.digest).await;
    let plan = published.origin.as_ref().and_then(|origin| records::plan_of(&home.runs(), &origin.run));
    match plan {
        Some(plan) => SourceOfRelease {
            // What can't be told now may be told later, by a repository that has the commit.
            committed_at: when_committed(folder, plan.source.commit.as_deref()).await,
            commit: plan.source.commit,
            // What the branch of a pull request is called was chosen by whoever asks for the merge: `main`, for all they like.
            branch: plan.trigger.branch.filter(|_| plan.trigger.kind != TriggerKind::PullRequest),
            dirty: plan.source.dirty,
            trust,
        },
        // It was made elsewhere: nothing is known, and nothing is claimed.
        None => SourceOfRelease { commit: None, branch: None, dirty: false, committed_at: None, trust },
    }
}

/// Whose code a package of this home was made of, as far as what lies beside it tells. What can't be read tells nothing, and is refused
/// where somebody asks.
async fn trust_of(home: &Home, package: Digest) -> Option<Trust> {
    let home = home.clone();
    let told = tokio::task::spawn_blocking(move || {
        let keys = Keys::in_directory(&home.keys()).trusted().ok()?;
        let store = Store::open(&home.packages()).ok()?;
        label(&package, &attached::provenance(&store, &package).ok()?, &keys)
    });
    told.await.ok().flatten()
}
