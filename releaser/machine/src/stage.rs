//! Puts a release's files in place: built beside, verified, made durable, then named. In reading order:
//!
//! 1. `reuse`: the tree is made of the spare one, where there is one.
//! 2. `contents`: which contents there are on the machine, and which have to come.
//! 3. `receive`: takes what comes, and verifies it while it is written.
//! 4. `publish`: makes it durable and gives it its name.

mod contents;
mod publish;
mod receive;
mod reuse;

pub(crate) use publish::remove_beside;

use std::{collections::HashSet, fs, path::PathBuf, sync::Arc, time::Duration};

use staith_model::{Digest, Entry, Manifest, RelPath, Service};

use crate::{
    account, durable, escape,
    layout::Layout,
    lock::Lock,
    point::point,
    protocol::{
        Asked, Inspected, Lacks, ManifestBy, Reply, Stage,
        content::{self, MANIFEST, Packing},
        delta::{self, Delta},
    },
    refusal::{self, Outcome},
    service,
    session::{Flags, Said, Session},
    spec::{self, Manifests, Spec},
    state::{State, pointed},
    tree,
    verified::{Mark, Verified},
};
use contents::Contents;
use reuse::Kept;

/// Longest manifest that is taken, packed.
const LONGEST_MANIFEST: usize = 64 << 20;

/// How long another program may be at work.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who may read the files that hold secrets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Private {
    pub(crate) group: Option<u32>,
}

/// One staging under way.
struct Site<'a> {
    layout: &'a Layout,
    session: &'a Session,
    stage: &'a Stage,
    manifest: &'a Manifest,
    /// The manifest as it is written.
    json: &'a [u8],
    /// The manifest's entries by their places.
    entries: Vec<(&'a RelPath, &'a Entry)>,
    private: Private,
    scratch: PathBuf,
}

/// Stages a release.
pub(crate) fn stage(
    layout: &Layout,
    session: &Session,
    stage: &Stage,
    manifests: &mut Manifests,
) -> Outcome<Reply> {
    let delivered = receive_manifest(session, stage)?;
    let _lock = Lock::wait(layout, PATIENCE, session.flags())?;
    State::admit(layout, &stage.order)?;
    let Some(Meant { manifest, json, base }) = manifest_of(layout, stage, &delivered, manifests)? else {
        return Ok(Reply::NoManifest);
    };
    let private = check(stage, &manifest)?;
    spec::clear_leftovers(layout)?;
    let mut verified = if stage.every_byte { Verified::default() } else { Verified::read(layout) };
    if is_whole(layout, stage, &manifest, &mut verified, session.flags())? {
        let already = publish::beside_whole(layout, stage)?;
        return Ok(Reply::Staged { already, files: 0, bytes: 0 });
    }
    let scratch = layout.scratch(&stage.order.operation);
    let entries = manifest.entries.iter().collect();
    let json = json.map_or_else(|| written(&manifest), Ok)?;
    let site = Site { layout, session, stage, manifest: &manifest, json: &json, entries, private, scratch };
    let built = site.build(base, manifests, &mut verified);
    // What is half-written goes, so that a full disk has its room back; after success, it is the tree that was replaced. Its files are
    // those of other releases, too.
    let cleared = if site.scratch.exists() { spec::clear_leftovers(layout) } else { Ok(()) };
    if built.is_err() {
        let _ = spec::clear_leftovers(layout);
        if !layout.release(&stage.release).exists() {
            let _ = publish::remove_beside(layout, &stage.release);
        }
    }
    let reply = built?;
    cleared?;
    Ok(reply)
}

impl Site<'_> {
    /// How many entries the manifest has.
    fn all(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    fn build(
        &self,
        base: Option<Digest>,
        manifests: &mut Manifests,
        verified: &mut Verified,
    ) -> Outcome<Reply> {
        let releases = self.layout.releases();
        durable::create_folder(&releases, 0o755).map_err(refusal::io("create", &releases))?;
        let kept = reuse::begin(self, verified)?;
        point("stage-begun");
        self.folders(&kept)?;
        point("stage-folders");
        let mut contents = Contents::plan(self, base, manifests, &kept)?;
        let mut marks = contents.link(self, verified)?;
        point("stage-linked");
        let lacking = contents.lacking();
        let ahead: HashSet<u32> = self.stage.ahead.places(self.all()).collect();
        let asked: Vec<u32> = lacking.iter().copied().filter(|place| !ahead.contains(place)).collect();
        if !asked.is_empty() {
            self.session.say(&Reply::Lacks(Lacks::of(asked.iter().copied())));
        }
        let coming = receive::Coming { lacking: &lacking, ahead, asked: !asked.is_empty() };
        let mut received = receive::receive(self, &coming, contents.linked())?;
        marks.append(&mut received.marks);
        marks.append(&mut contents.repeat(self)?);
        self.links()?;
        point("stage-received");
        self.note_what_is_replaced()?;
        publish::publish(self)?;
        remember(self.layout, self.stage, verified, marks);
        point("stage-recorded");
        Ok(Reply::Staged { already: false, files: lacking.len() as u64, bytes: received.bytes })
    }

    /// What runs from files that are about to be replaced has to be restarted, whoever comes next: written down first.
    fn note_what_is_replaced(&self) -> Outcome<()> {
        if pointed(&self.layout.current())? != Some(self.stage.release) {
            return Ok(());
        }
        let mut state = State::read(self.layout)?;
        state.replaced = true;
        state.under_way = Some(self.stage.order.operation);
        state.write(self.layout)
    }

    fn folders(&self, kept: &Kept) -> Outcome<()> {
        let mut last = None;
        for (path, entry) in &self.manifest.entries {
            let folder = if *entry == Entry::Directory { Some(path.clone()) } else { path.parent() };
            if folder == last {
                continue;
            }
            if let Some(folder) = folder.as_ref().filter(|folder| !kept.folder(folder.as_str())) {
                let at = self.scratch.join(folder.as_str());
                fs::create_dir_all(&at).map_err(refusal::io("create", &at))?;
            }
            last = folder;
        }
        Ok(())
    }

    fn links(&self) -> Outcome<()> {
        for (path, entry) in &self.manifest.entries {
            if let Entry::Symlink { target } = entry {
                let at = self.scratch.join(path.as_str());
                std::os::unix::fs::symlink(target, &at).map_err(refusal::io("create the link", &at))?;
            }
        }
        Ok(())
    }
}

/// How the files of a release are. What was verified and not touched since is taken for right, unless every byte is to be read.
pub(crate) fn inspect(
    layout: &Layout,
    release: &Digest,
    every_byte: bool,
    manifests: &mut Manifests,
    flags: &Flags,
) -> Outcome<Reply> {
    let Some(spec) = Spec::read(layout, release)? else { return Ok(Reply::Inspected(Inspected::Absent)) };
    let Some(manifest) = manifests.find(layout, spec.manifest)? else {
        return Ok(Reply::Inspected(Inspected::Damaged(
            "the manifest beside it is missing or another one".into(),
        )));
    };
    let verified = (!every_byte).then(|| Verified::read(layout));
    let found = tree::look(&layout.release(release), &manifest, verified.as_ref(), flags)?.damage;
    Ok(Reply::Inspected(match found.as_slice() {
        [] => Inspected::Whole,
        [(path, what)] => Inspected::Damaged(format!("`{path}`: {what}")),
        [(path, what), more @ ..] => Inspected::Damaged(format!("`{path}`: {what}, and {} more", more.len())),
    }))
}

/// Takes the manifest that follows the request, packed.
fn receive_manifest(session: &Session, stage: &Stage) -> Outcome<Vec<u8>> {
    let mut packed = Vec::new();
    if stage.by == ManifestBy::Digest {
        return Ok(packed);
    }
    loop {
        let frame = match session.next() {
            Some(Said::Content(frame)) => frame,
            Some(Said::Request(_)) | None => return Err(Asked::Cancelled),
        };
        let pieces = content::pieces(&frame).map_err(|error| refusal::ours(error.to_string()))?;
        for piece in pieces {
            if piece.place != MANIFEST || piece.packing != Packing::Deflated {
                return Err(refusal::ours("something else came in place of the manifest"));
            }
            packed.extend_from_slice(&frame[piece.bytes]);
            if packed.len() > LONGEST_MANIFEST {
                return Err(refusal::ours("the manifest is longer than anybody sends"));
            }
            if piece.last {
                return Ok(packed);
            }
        }
    }
}

/// The manifest that is meant, whichever way it came.
struct Meant {
    manifest: Arc<Manifest>,
    /// As it is written, where it had to be written to be held against its digest.
    json: Option<Vec<u8>>,
    /// The one that most of it comes from.
    base: Option<Digest>,
}

fn manifest_of(
    layout: &Layout,
    stage: &Stage,
    delivered: &[u8],
    manifests: &mut Manifests,
) -> Outcome<Option<Meant>> {
    let garbled = |error: crate::protocol::FrameError| refusal::ours(format!("the manifest: {error}"));
    let (manifest, base) = match stage.by {
        ManifestBy::Digest => {
            let found = manifests.find(layout, stage.manifest)?;
            return Ok(found.map(|manifest| Meant { manifest, json: None, base: None }));
        }
        ManifestBy::Whole => (delta::unpack::<Manifest>(delivered).map_err(garbled)?, None),
        ManifestBy::Delta(base) => {
            let Some(old) = manifests.find(layout, base)? else { return Ok(None) };
            (delta::unpack::<Delta>(delivered).map_err(garbled)?.apply(&old), Some(base))
        }
    };
    let json = written(&manifest)?;
    if Manifest::digest_of_json(&json) != stage.manifest {
        return Err(refusal::ours("the manifest that came is not the one that was announced"));
    }
    let manifest = manifests.learn(stage.manifest, manifest);
    Ok(Some(Meant { manifest, json: Some(json), base }))
}

fn written(manifest: &Manifest) -> Outcome<Vec<u8>> {
    serde_json::to_vec(manifest).map_err(|error| refusal::ours(error.to_string()))
}

fn check(stage: &Stage, manifest: &Manifest) -> Outcome<Private> {
    escape::check(manifest).map_err(|refused| {
        refusal::project(
            format!(
                "the package's entry `{}` was refused: {}; nothing was unpacked",
                refused.entry, refused.why
            ),
            "leave that entry out of the package, or make the link point to something inside it",
        )
    })?;
    if u32::try_from(manifest.entries.len()).is_err() {
        return Err(refusal::project("the package has more entries than can be counted", "make it smaller"));
    }
    for path in &stage.private {
        if !matches!(manifest.entries.get(path), Some(Entry::File { .. })) {
            return Err(refusal::project(
                format!("`{path}` is to be private, and is no file of the release"),
                "render files only that the package has",
            ));
        }
    }
    service::check(&stage.service)?;
    let superuser = rustix::process::geteuid().is_root();
    let group = match &stage.service {
        Service::Systemd { user: Some(user), .. } if superuser => Some(account::find(user)?.group),
        _ => None,
    };
    Ok(Private { group })
}

/// Marks files as verified, beside those of which it was known before.
fn remember(
    layout: &Layout,
    stage: &Stage,
    verified: &mut Verified,
    marks: impl IntoIterator<Item = (u64, Mark)>,
) {
    if stage.every_byte {
        // Nothing was taken from there, but it still holds for other releases.
        *verified = Verified::read(layout);
    }
    verified.extend(marks);
    verified.write(layout);
}

/// Whether the release is there as it is to be, every file verified now or before and not touched since.
fn is_whole(
    layout: &Layout,
    stage: &Stage,
    manifest: &Manifest,
    verified: &mut Verified,
    flags: &Flags,
) -> Outcome<bool> {
    let Some(spec) = Spec::read(layout, &stage.release)? else { return Ok(false) };
    if spec.manifest != stage.manifest || spec.private != stage.private {
        return Ok(false);
    }
    let found = tree::look(&layout.release(&stage.release), manifest, Some(verified), flags)?;
    if !found.marks.is_empty() {
        remember(layout, stage, verified, found.marks);
    }
    Ok(found.damage.is_empty())
}
