//! A run's packages, with what lies beside them. Blocks.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use serde_json::json;
use staith_builder::{execute::Workbench, source::Resolved, upkeep::Allowance};
use staith_model::{
    Companion, CompanionKind, Exit, Name, Package, PackagePlan, Passed, Plan, RelPath, RunId, TriggerKind,
    Version, service::Trust,
};
use staith_packager::{
    parameters::Declarations,
    seal::{
        self, Sealed, attached, beside,
        key::Keys,
        provenance::{Build, BuildType, Resource, TRUST},
        sbom::{self, Gap, LockFile, MAX_LOCK_BYTES, Subject},
    },
    stopping::unwatched,
    store::Store,
    web_deploy::Content,
};
use tokio_util::sync::CancellationToken;

use crate::{clock, home::Home, output::Problem, packing};

/// Lock files that are checked out together: a set of a million globs would take long to make.
const LOCK_FILES_AT_ONCE: usize = 500;

/// What all packages of a run are made from.
pub(crate) struct Sealing {
    pub(crate) run: RunId,
    pub(crate) plan: Arc<Plan>,
    pub(crate) source: Arc<Resolved>,
    pub(crate) bench: Arc<Workbench>,
    pub(crate) home: Home,
    pub(crate) allowance: Arc<dyn Allowance>,
    /// When the run began, in milliseconds since 1970.
    pub(crate) started: u64,
    /// The proof that all steps passed.
    pub(crate) passed: Passed,
    /// Whose code it is, if a server said so.
    pub(crate) trust: Option<Trust>,
}

/// A package with what lies beside it.
pub(crate) struct Made {
    pub(crate) sealed: Sealed,
    pub(crate) companions: Vec<Companion>,
    /// What its bill of materials lacks.
    pub(crate) gaps: Vec<Gap>,
}

impl Sealing {
    /// Makes a package of the plan.
    pub(crate) fn make(&self, wanted: &PackagePlan) -> Result<Made, Problem> {
        let content = self.content(wanted)?;
        let version: Version = self.plan.version.parse().map_err(|bad| Problem::bug(format!("{bad}")))?;
        let store = Store::open(&self.home.packages())?;
        // A package is smaller than what is in it, but for what it says of each file.
        let most = content.manifest.bytes() + 4096 * (content.manifest.entries.len() as u64 + 1);
        self.allowance.admit(most)?;
        let sealed = seal::seal(&self.passed, &wanted.name, &version, &content, &store, &unwatched);
        let added = sealed.as_ref().map_or(0, |new| if new.cached { 0 } else { new.published.package.size });
        self.allowance.settle(added, most.saturating_sub(added));
        let sealed = sealed?;
        let package = &sealed.published.package;
        let there = attached::find(&store, &sealed.published)?;
        // It is attached last. A package that is made again says how it was made first.
        if there.iter().any(|one| one.kind == CompanionKind::Provenance) {
            return Ok(Made { sealed, companions: there, gaps: Vec::new() });
        }
        let bill = sbom::bill(&subject(package), &self.lock_files()?);
        let key = Keys::in_directory(&self.home.keys()).own()?;
        let build = self.build(wanted, &key.public().id());
        let files = beside::beside(package, &content, &bill, &build, Some(&key));
        attached::attach(&store, &sealed.published, &files)?;
        let companions = attached::find(&store, &sealed.published)?;
        Ok(Made { sealed, companions, gaps: bill.gaps })
    }

    fn content(&self, wanted: &PackagePlan) -> Result<Content, Problem> {
        let left = |step: &Name| self.passed.report().steps.get(step)?.layer;
        let layers = wanted.layers.iter().filter_map(left).collect::<Vec<_>>();
        let outputs = self.bench.layers.merged(&layers)?;
        let beside = match wanted.source.is_empty() {
            true => packing::Tree::default(),
            false => {
                let checkout = self.bench.sources.checkout(&self.source, &wanted.source)?;
                packing::read_tree(&checkout, &|_| true, &CancellationToken::new()).map_err(|refused| {
                    Problem::new(Exit::Environment, "the source files of the package can't be read")
                        .with_why(refused.to_string())
                })?
            }
        };
        let parameters = match &wanted.parameters {
            None => Declarations::default(),
            Some(path) => self.declarations(path, &outputs)?,
        };
        let content = packing::choose(wanted, outputs, beside)
            .map_err(|bad| Problem::new(Exit::Configuration, bad.to_string()))?;
        Ok(Content { parameters, ..content })
    }

    /// The declarations of the file at `path`: what the steps left there, or else what the source has there.
    fn declarations(&self, path: &RelPath, outputs: &packing::Tree) -> Result<Declarations, Problem> {
        let place = match outputs.1.get(path) {
            Some(place) => place.clone(),
            None if self.source.files.iter().any(|(file, _)| file == path) => {
                self.bench.sources.checkout(&self.source, &[literally(path)])?.join(path.as_str())
            }
            None => {
                return Err(Problem::new(
                    Exit::Configuration,
                    format!("there is no `{path}`, which should declare the package's parameters"),
                )
                .with_why("neither have the steps of the package left it, nor is it in the source")
                .with_remedy("see `parameters` in [package] of runner.toml"));
            }
        };
        packing::declarations(&place, path.as_str())
    }

    /// The lock files of the source.
    fn lock_files(&self) -> Result<Vec<LockFile>, Problem> {
        let is_one = |path: &RelPath, size: u64| sbom::is_lock_file(path) && size <= MAX_LOCK_BYTES;
        let files = self.source.files.iter().filter(|(path, file)| is_one(path, file.size));
        let paths: Vec<&RelPath> = files.map(|(path, _)| path).collect();
        let mut found = Vec::new();
        for some in paths.chunks(LOCK_FILES_AT_ONCE) {
            let globs: Vec<String> = some.iter().map(|path| literally(path)).collect();
            let checkout = self.bench.sources.checkout(&self.source, &globs)?;
            for path in some {
                found.extend(lock_file(&checkout, path)?);
            }
        }
        Ok(found)
    }

    /// What the provenance says of the run.
    fn build(&self, wanted: &PackagePlan, key: &str) -> Build {
        let trigger = &self.plan.trigger;
        let mut external = BTreeMap::from([
            ("event".to_owned(), json!(trigger.kind.as_str())),
            ("package".to_owned(), json!(wanted.name)),
            ("plan".to_owned(), json!(self.plan.digest())),
            ("project".to_owned(), json!(self.plan.project)),
            ("uncommittedChanges".to_owned(), json!(self.plan.source.dirty)),
        ]);
        let branch = trigger.branch.as_ref().map(|branch| format!("refs/heads/{branch}"));
        let tag = trigger.tag.as_ref().map(|tag| format!("refs/tags/{tag}"));
        let reference = if trigger.kind == TriggerKind::Tag { tag.or(branch) } else { branch.or(tag) };
        external.extend(reference.map(|reference| ("ref".to_owned(), json!(reference))));
        external.extend(self.trust.map(|trust| (TRUST.to_owned(), json!(trust.as_str()))));
        external.extend(trigger.target.iter().map(|target| ("target".to_owned(), json!(target))));
        Build {
            build_type: BuildType::Run,
            external_parameters: external,
            dependencies: self.dependencies(),
            builder: builder(key),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            invocation: Some(self.run.to_string()),
            started: Some(self.started),
            finished: Some(clock::unix_millis()),
        }
    }

    /// What went in: the commit, the tree, what each step saw of it, and the images.
    fn dependencies(&self) -> Vec<Resource> {
        let source = &self.plan.source;
        let commit = source.commit.iter().map(|commit| Resource::from("git:commit", "gitCommit", commit));
        let tree = Resource::from("git:tree", "gitTree", &source.tree);
        let steps = self.plan.steps.iter();
        let inputs = steps
            .map(|step| Resource::named(format!("source that step {} sees", step.name), &step.input_tree));
        let images = self.bench.images.iter().map(|(name, image)| {
            let name = name.as_deref().unwrap_or("of this host");
            Resource::named(format!("image {name}"), &image.digest)
        });
        commit.chain([tree]).chain(inputs).chain(images).collect()
    }
}

/// Who builds here: a host is known by its key, not by its name.
pub(crate) fn builder(key: &str) -> String {
    format!("urn:staith:host:{key}")
}

/// What a bill of materials of a package is about.
pub(crate) fn subject(package: &Package) -> Subject {
    let (name, version) = (package.name.to_string(), Some(package.version.to_string()));
    Subject { name, version, digest: Some(package.digest) }
}

/// A lock file below `root`; none where a symbolic link or something else lies there.
pub(crate) fn lock_file(root: &Path, path: &RelPath) -> Result<Option<LockFile>, Problem> {
    let place = root.join(path.as_str());
    let unreadable = |refused: std::io::Error| {
        Problem::new(
            Exit::Environment,
            format!("{} can't be read for the bill of materials", place.display()),
        )
        .with_why(refused.to_string())
    };
    let found = fs::symlink_metadata(&place).map_err(unreadable)?;
    if !found.is_file() {
        return Ok(None);
    }
    // One that is too long is read as far as it shows that.
    let mut bytes = Vec::new();
    let file = fs::File::open(&place).map_err(unreadable)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_LOCK_BYTES + 1), &mut bytes)
        .map_err(unreadable)?;
    Ok(Some(LockFile { path: path.clone(), bytes }))
}

/// The glob that matches this path only.
pub(crate) fn literally(path: &RelPath) -> String {
    let one = |c: char| if "*?[]{}\\".contains(c) { format!("[{c}]") } else { c.to_string() };
    path.as_str().chars().map(one).collect()
}
