//! `staith pack`.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use staith_builder::source::Globs;
use staith_model::{Companion, Digest, Exit, Name, Package, PackagePlan, RelPath, Version};
use staith_packager::{
    parameters::Declarations,
    seal::{
        beside::{self, Beside},
        key::Keys,
        provenance::{Build, BuildType},
        sbom::{self, Bill, LockFile},
    },
    web_deploy::{self, Content, Written},
};

use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::sbom::lock_files;
use crate::{
    home::Home,
    interrupt,
    output::{self, Counting, OutputMode, Problem},
    packing::{self, Tree},
    sealing::{builder, subject},
    workshop::Workshop,
};

/// Pack a directory, without a pipeline
///
/// Writes NAME-VERSION-DIGEST.zip, and beside it the content manifest, NAME.SetParameters.xml, a CycloneDX bill of materials from
/// the lock files in the directory, and a statement that says it was packed by hand. The same content gives the same package on
/// any machine, any day; owners and times of files mean nothing. Whatever is in a directory `.git` is left out.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The directory, or the digest of what a step left, as the events of a run tell it (`layer`)
    #[arg(value_name = "DIR|LAYER")]
    from: String,
    /// What the package is called
    #[arg(long)]
    name: Name,
    /// Its version
    #[arg(long)]
    version: Version,
    /// Pack only files that match this glob; may be given more than once
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Don't pack files that match this glob; may be given more than once
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// A file that declares what can be set when the package is applied, in the form of Web Deploy's parameters.xml
    #[arg(long, value_name = "FILE")]
    parameters: Option<PathBuf>,
    /// Sign the statement with this machine's key
    #[arg(long)]
    sign: bool,
    /// Where the package is written
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
}

/// A package that was packed by hand.
pub(crate) struct Packed {
    pub(crate) package: Package,
    pub(crate) path: PathBuf,
    pub(crate) companions: Vec<Companion>,
    /// What its bill of materials lacks.
    pub(crate) gaps: Vec<String>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let (stop, counting) = (interrupt::listen_for_an_end()?, Counting::new(mode, "packing"));
        let work = tokio::task::spawn_blocking(move || self.pack(&counting, &stop));
        let packed = work.await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        for gap in &packed.gaps {
            output::notice(&format!("the bill of materials is incomplete: {gap}"), mode);
        }
        output::packed(&packed, mode.is_json()).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }

    fn pack(&self, counting: &Counting, stop: &CancellationToken) -> Result<Packed, Problem> {
        let (tree, locks) = self.read(stop)?;
        let parameters = match &self.parameters {
            Some(file) if !file.exists() => {
                let absent = io::Error::from(io::ErrorKind::NotFound);
                return Err(Problem::unreadable(file, &absent));
            }
            Some(file) => packing::declarations(file, &file.display().to_string())?,
            None => Declarations::default(),
        };
        let plan = self.plan();
        let content = packing::choose(&plan, tree, Tree::default())
            .map_err(|bad| Problem::new(Exit::Configuration, bad.to_string()))?;
        let content = Content { parameters, ..content };
        fs::create_dir_all(&self.to).map_err(|refused| self.unwritable(&refused))?;
        let (package, staged) = self.write(&content, counting, stop)?;
        let bill = sbom::bill(&subject(&package), &locks);
        let companions = self.beside(&package, &content, &bill)?;
        // Last, so that a package is never there without what lies beside it.
        let path = self.to.join(package.file_name());
        staged.persist(&path).map_err(|lost| self.unwritable(&lost.error))?;
        let gaps = bill.gaps.iter().map(ToString::to_string).collect();
        Ok(Packed { package, path, companions, gaps })
    }

    /// What is packed, and the lock files beside it.
    fn read(&self, stop: &CancellationToken) -> Result<(Tree, Vec<LockFile>), Problem> {
        let directory = Path::new(&self.from);
        if let (false, Ok(layer)) = (directory.exists(), self.from.parse::<Digest>()) {
            let tree = Workshop::open(&Home::find()?)?.left_as(&layer)?;
            return Ok((tree, Vec::new()));
        }
        if !directory.is_dir() {
            return Err(Problem::new(Exit::Usage, format!("there is no directory {}", directory.display()))
                .with_remedy("name a directory, or the digest of what a step left: `sha256:...`"));
        }
        self.refuse_itself(directory)?;
        let glob = |patterns: &[String]| {
            Globs::new(patterns).map_err(|bad| Problem::new(Exit::Usage, bad.to_string()))
        };
        let (include, exclude) = (glob(&self.include)?, glob(&self.exclude)?);
        let is_wanted = |path: &RelPath| {
            // The history of a source is nobody's to release by accident.
            let is_history = path.as_str().split('/').any(|part| part == ".git");
            let is_included = self.include.is_empty() || include.matches(path.as_str());
            is_included && !is_history && !exclude.matches(path.as_str())
        };
        let tree = packing::read_tree(directory, &is_wanted, stop).map_err(|refused| {
            if stop.is_cancelled() {
                return interrupt::stopped("no package was written");
            }
            Problem::new(Exit::Configuration, format!("{} can't be packed", directory.display()))
                .with_why(refused.to_string())
                .with_remedy("leave it out with --exclude, or see to its permissions")
        })?;
        Ok((tree, lock_files(directory)?))
    }

    /// A package inside of what is packed would be part of the next one.
    fn refuse_itself(&self, directory: &Path) -> Result<(), Problem> {
        let (Ok(from), Ok(to)) = (directory.canonicalize(), self.to.canonicalize()) else { return Ok(()) };
        if !to.starts_with(&from) {
            return Ok(());
        }
        let what = format!("the package would be written into {}, which is packed", directory.display());
        Err(Problem::new(Exit::Usage, what)
            .with_why("it would be part of the next package")
            .with_remedy("name another directory with --to"))
    }

    fn plan(&self) -> PackagePlan {
        PackagePlan {
            name: self.name.clone(),
            layers: Vec::new(),
            root: None,
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            source: Vec::new(),
            parameters: None,
        }
    }

    /// Writes the package file, which has no name yet, and goes when it gets none.
    fn write(
        &self,
        content: &Content,
        counting: &Counting,
        stop: &CancellationToken,
    ) -> Result<(Package, NamedTempFile), Problem> {
        let mut staged = NamedTempFile::new_in(&self.to).map_err(|refused| self.unwritable(&refused))?;
        let Written { digest, size } =
            web_deploy::write(content, staged.as_file_mut(), &counting.until(stop))?;
        let package = Package {
            name: self.name.clone(),
            version: self.version.clone(),
            digest,
            content: content.manifest.digest(),
            size,
        };
        let file = staged.as_file();
        let finished = file.set_permissions(Permissions::from_mode(0o644)).and_then(|()| file.sync_all());
        finished.map_err(|refused| self.unwritable(&refused))?;
        Ok((package, staged))
    }

    fn beside(&self, package: &Package, content: &Content, bill: &Bill) -> Result<Vec<Companion>, Problem> {
        let key = if self.sign { Some(Keys::in_directory(&Home::find()?.keys()).own()?) } else { None };
        let build = Build {
            build_type: BuildType::ByHand,
            external_parameters: BTreeMap::new(),
            dependencies: Vec::new(),
            // Nobody who does not sign says who they are.
            builder: key.as_ref().map_or("urn:staith:by-hand".to_owned(), |key| builder(&key.public().id())),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            invocation: None,
            started: None,
            finished: None,
        };
        let files = beside::beside(package, content, bill, &build, key.as_ref());
        beside::write_all(&self.to, &files)?;
        let told = |file: &Beside| Companion {
            kind: file.kind,
            path: self.to.join(&file.name).display().to_string(),
            digest: Digest::of(&file.bytes),
            size: file.bytes.len() as u64,
        };
        Ok(files.iter().map(told).collect())
    }

    fn unwritable(&self, refused: &std::io::Error) -> Problem {
        Problem::new(Exit::Environment, format!("{} can't be written to", self.to.display()))
            .with_why(refused.to_string())
            .with_remedy("see to its permissions and its room, or name another directory with --to")
    }
}
