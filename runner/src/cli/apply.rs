//! `staith apply`.

mod material;
mod watch;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use clap::Args;
use staith_model::{Exit, RelPath};
use staith_packager::apply::{
    Applied, ApplyOptions, BackupOptions, OFFLINE_PAGE, PackageSource, PlanOptions, SkipRule, Snapshot,
    Source, apply, what_if,
};

use self::{material::Material, watch::Watched};
use super::{offered, parameters::ValueArguments};
use crate::{
    clock, interrupt,
    output::{self, Counting, OutputMode, Problem},
};

/// Apply a package to a directory: add, replace and delete until its content is there, and nothing else
///
/// Compares as Web Deploy does, by length and time, and says what was done as Web Deploy does. Every file is verified and
/// complete before the first one is replaced; each is replaced in one step; what fails or is interrupted is taken back. Applied
/// again, nothing changes. A package's providers that no directory can take (applications, access rights, databases, commands)
/// are refused unless they are named with --skip-provider.
///
/// While it is at work, unfinished files lie in `.staith-apply` in the directory. What a killed apply has left there, and its
/// app_offline.htm, is removed by the next one. An app_offline.htm that somebody else put there stays.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The package: a file, or NAME@VERSION, NAME@CHANNEL, NAME@DIGEST or NAME (its latest version) of this machine's store
    #[arg(value_name = "PACKAGE", required_unless_present = "restore", add = offered::files_and_packages())]
    package: Option<String>,
    /// The directory that the content belongs in; for a package of a single file, that file
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Bring back what a backup holds: a snapshot, or a directory of snapshots (its newest)
    #[arg(long, value_name = "BACKUP", conflicts_with_all = ["package", "set_files", "set", "content", "skip_provider"])]
    restore: Option<PathBuf>,
    #[command(flatten)]
    values: ValueArguments,
    /// Go on where a parameter matches nothing
    #[arg(long)]
    allow_unmatched: bool,
    /// Only say what would be done
    #[arg(long)]
    what_if: bool,
    /// Compare contents instead of lengths and times
    #[arg(long)]
    checksum: bool,
    /// Delete nothing
    #[arg(long)]
    no_delete: bool,
    /// Replace no file that is newer than the package's
    #[arg(long)]
    skip_newer: bool,
    /// Leave something alone, as Web Deploy's -skip does: `objectName=filePath,absolutePath=\\logs\\.*,skipAction=Delete`
    #[arg(long, value_name = "RULE")]
    skip: Vec<SkipRule>,
    /// Leave out a provider that a directory can't take, such as setAcl
    #[arg(long, value_name = "NAME")]
    skip_provider: Vec<String>,
    /// Which content, where the package has several: the path that it has in the package
    #[arg(long, value_name = "PATH")]
    content: Option<String>,
    /// Keep a snapshot of what was there before in this directory
    #[arg(long, value_name = "DIR")]
    backup: Option<PathBuf>,
    /// How many snapshots to keep there
    #[arg(long, value_name = "N", default_value = "4", requires = "backup")]
    keep: NonZeroUsize,
    /// Apply also when no snapshot can be made
    #[arg(long, requires = "backup")]
    without_backup: bool,
    /// Put app_offline.htm in the directory while files change
    #[arg(long)]
    app_offline: bool,
    /// Say each change
    #[arg(long, short)]
    verbose: bool,
}

/// What was applied, for people and programs.
#[derive(Debug)]
pub(crate) struct Told {
    /// What was done, or would be.
    pub(crate) applied: Applied,
    /// Whether nothing was done.
    pub(crate) what_if: bool,
    /// Whether each change is to be said.
    pub(crate) verbose: bool,
    /// What people should know.
    pub(crate) notes: Vec<String>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let cancel = interrupt::listen_for_an_end()?;
        let material = match &self.package {
            Some(package) => Some(Material::gather(package.clone(), &self).await?),
            None => None,
        };
        let counting = Counting::new(mode, "applying");
        let work = move || {
            let is_stopped = || cancel.is_cancelled();
            let watched = Watched::new(&counting, &is_stopped);
            self.work(material.as_ref(), &watched)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let told = done.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        output::applied(&told, mode.is_json()).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }

    fn work(&self, material: Option<&Material>, watched: &Watched<'_>) -> Result<Told, Problem> {
        let Some(material) = material else {
            let restored = self.restore.as_deref().unwrap_or_else(|| Path::new(""));
            if !restored.exists() {
                let what = format!("there is no backup {}", restored.display());
                return Err(Problem::new(Exit::Usage, what)
                    .with_remedy("name a snapshot, or the directory that --backup keeps snapshots in"));
            }
            let snapshot = Snapshot::open(restored)?;
            let notes = vec![format!("restored from {}", snapshot.path().display())];
            return self.carry_out(&snapshot, &self.to, None, notes, watched);
        };
        let roots = material.package.reader.content_roots();
        let root = material.choose(&roots, self.content.as_deref())?;
        let (to, only) = self.place(root.kind)?;
        let source =
            PackageSource::new(&material.package.reader, root, Some(&material.resolved), only.as_ref())?;
        let notes = material.settle(&roots, root, self.allow_unmatched)?;
        self.carry_out(&source, &to, only, notes, watched)
    }

    fn carry_out(
        &self,
        source: &dyn Source,
        to: &Path,
        only: Option<RelPath>,
        mut notes: Vec<String>,
        watched: &Watched<'_>,
    ) -> Result<Told, Problem> {
        let options = self.options(only);
        let applied = if self.what_if {
            let plan = what_if(source, to, &options)?;
            Applied { plan, backup: None, stays_offline: false, notes: Vec::new() }
        } else {
            apply(source, to, &options, watched)?
        };
        notes.extend(applied.notes.iter().cloned());
        if applied.stays_offline {
            notes
                .push("an app_offline.htm was there already; it stays, and so the site stays offline".into());
        }
        Ok(Told { applied, what_if: self.what_if, verbose: self.verbose, notes })
    }

    fn options(&self, only: Option<RelPath>) -> ApplyOptions {
        let backup = self.backup.as_ref().map(|directory| BackupOptions {
            directory: directory.clone(),
            keep: self.keep.get(),
            label: clock::utc_label(),
            go_on_without: self.without_backup,
        });
        ApplyOptions {
            plan: PlanOptions {
                checksum: self.checksum,
                do_not_delete: self.no_delete,
                skip_newer: self.skip_newer,
                skips: self.skip.clone(),
            },
            app_offline: self.app_offline.then(|| OFFLINE_PAGE.as_bytes().to_vec()),
            backup,
            only: only.map(String::from),
            ..ApplyOptions::default()
        }
    }

    /// Where content of this kind goes: a directory, or a name in one.
    fn place(
        &self,
        kind: staith_packager::web_deploy::RootKind,
    ) -> Result<(PathBuf, Option<RelPath>), Problem> {
        use staith_packager::web_deploy::RootKind;
        if kind == RootKind::Directory {
            return Ok((self.to.clone(), None));
        }
        let name = self.to.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| RelPath::try_from(name).ok()).filter(|_| !self.to.is_dir());
        let Some(name) = name else {
            let what = format!("the package holds a single file, and {} can't be one", self.to.display());
            return Err(
                Problem::new(Exit::Usage, what).with_remedy("give the path that the file itself is to have")
            );
        };
        let above = self.to.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((above.to_owned(), Some(name)))
    }
}
