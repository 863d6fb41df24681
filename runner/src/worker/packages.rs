//! The packages of a job, on their way to the server's store. Blocks.

use staith_model::{Exit, Name, Secret, Version};
use staith_packager::{
    registry::{
        client::{Remote, Settings},
        transfer::{Place, TransferError, push},
    },
    store::Store,
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{client::Address, home::Home, output::Problem};

/// The user that an attempt is for the server's registry; what proves it is its token.
const USER: &str = "attempt";

/// Where the packages of an attempt go.
pub(super) struct Pushing {
    pub(super) home: Home,
    pub(super) server: Address,
    /// Packages of a project lie below its name.
    pub(super) project: Name,
    pub(super) token: Secret,
    pub(super) packages: Vec<(Name, Version)>,
    /// Fires when what the attempt does counts no more.
    pub(super) stop: CancellationToken,
}

impl Pushing {
    /// Brings all packages there. What is there already is not sent again.
    ///
    /// # Errors
    /// One is not in the store of this home, or the server does not take it.
    pub(super) fn all(self, runtime: &Handle) -> Result<(), Problem> {
        let store = Store::open(&self.home.packages())?;
        let settings = Settings {
            registry: self.server.host_and_port().to_owned(),
            prefix: self.project.to_string(),
            at: self.server.at(),
            is_plain: !self.server.is_encrypted(),
            proxy: None,
            authorities: self.server.certificates()?,
            credentials: Some((USER.to_owned(), self.token)),
            notes: Some(self.home.path().join("pushes")),
            stop: self.stop.clone(),
        };
        let to = Place::Registry(Remote::new(settings, runtime.clone()).map_err(TransferError::from)?);
        for (name, version) in self.packages {
            let published = store.find(&name, &version)?.ok_or_else(|| {
                let what = format!("package {name} {version} is gone from this host before it was sent");
                Problem::new(Exit::Environment, what).with_remedy("run it again")
            })?;
            push(&store, &published, &to, &|_, _, _| {}, &self.stop)?;
        }
        Ok(())
    }
}
