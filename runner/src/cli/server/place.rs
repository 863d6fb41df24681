//! Where a server keeps what it knows.

use std::{
    fs::{self, DirBuilder},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use staith_model::Exit;
use staith_server::{
    clock::Clock,
    site::Site,
    store::{Sqlite, StoreError},
};

use crate::{home::Home, output::Problem};

/// The directory of a server.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The server's directory; by default `server` in Staith's home
    #[arg(long, value_name = "DIRECTORY", global = true)]
    data: Option<PathBuf>,
}

impl Place {
    /// Whether somebody said which.
    pub(super) fn is_named(&self) -> bool {
        self.data.is_some()
    }

    /// The directory as an absolute path.
    pub(super) fn find(&self) -> Result<PathBuf, Problem> {
        match &self.data {
            Some(data) => std::path::absolute(data).map_err(|refused| Problem::unreadable(data, &refused)),
            None => Ok(Home::find()?.path().join("server")),
        }
    }

    /// The same, which must be there.
    pub(super) fn known(&self) -> Result<PathBuf, Problem> {
        let data = self.find()?;
        if database(&data).is_file() {
            return Ok(data);
        }
        Err(Problem::new(Exit::Usage, format!("there is no server's database in {}", data.display()))
            .with_remedy("say where the server keeps it: --data DIRECTORY; `staith server start` makes one"))
    }
}

/// The database in a server's directory.
pub(super) fn database(data: &Path) -> PathBuf {
    data.join("staith.db")
}

/// The file that has the first administrator's token.
pub(super) fn first_token(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// Makes the directory where it is not there, for its owner only.
pub(super) fn make(data: &Path) -> Result<(), Problem> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data).and_then(|()| {
        let rights = fs::metadata(data)?.permissions();
        // One that a person made, and that others may enter.
        if rights.mode() & 0o077 == 0 {
            Ok(())
        } else {
            fs::set_permissions(data, fs::Permissions::from_mode(0o700))
        }
    });
    made.map_err(|refused| {
        Problem::new(Exit::Environment, format!("{} can't be made for its owner only", data.display()))
            .with_why(refused.to_string())
            .with_remedy("say another directory: --data DIRECTORY")
    })
}

/// Opens the database, for this process only.
pub(super) fn open(data: &Path) -> Result<Arc<Sqlite>, Problem> {
    Sqlite::open(&database(data)).map(Arc::new).map_err(|error| refused(&error, data))
}

/// A server's parts, without its entrances.
pub(super) fn site(store: Arc<Sqlite>, data: PathBuf) -> Site {
    Site::new(store, data, Clock::of_this_machine())
}

/// A store that can't be opened, for people.
pub(super) fn refused(error: &StoreError, data: &Path) -> Problem {
    let problem = Problem::new(Exit::Environment, error.to_string());
    match error {
        StoreError::InUse(_) => problem
            .with_remedy("stop that server first, or give this one a directory of its own: --data DIRECTORY"),
        StoreError::TooNew { .. } => {
            problem.with_remedy("use the version of Staith that wrote it, or a later one")
        }
        StoreError::Full => problem.with_remedy("make room on the disk, then start it again"),
        _ => problem.with_why(format!("the server's directory is {}", data.display())),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub(super) fn write_for_owner(at: &Path, text: &str) -> std::io::Result<()> {
    let directory = at.parent().unwrap_or(Path::new("."));
    // Made with the rights 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(at)?;
    fs::File::open(directory)?.sync_all()
}
