//! `staith registry`.

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use staith_model::Exit;
use staith_packager::{
    registry::{
        Options,
        access::{Access, Open, ReadOnly},
        listen, router,
    },
    store::{Location, Store},
};
use tokio::{net::TcpListener, runtime::Handle};

use crate::{
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
    package_place::{own_store, there_is},
};

/// Let skopeo, oras, podman and others pull packages from this machine
///
/// Serves the packages of a store by the protocol of OCI registries until it is interrupted. Nobody can push unless --writable says
/// so, and whoever can connect can pull: there are no users. Without TLS; put a server that has it in front of what leaves this machine.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 means any
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// The store: a directory, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX. By default Staith's own on this machine
    #[arg(long, value_name = "LOCATION")]
    store: Option<Location>,
    /// Whoever can connect can push as well
    #[arg(long)]
    writable: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let stop = interrupt::listen()?;
        let (runtime, location, makes) = (Handle::current(), self.store.clone(), self.writable);
        let store = tokio::task::spawn_blocking(move || match location {
            Some(location) => {
                if !makes {
                    there_is(&location)?;
                }
                Store::at(&location, &runtime).map_err(Problem::from)
            }
            None => own_store(&home),
        });
        let store = store.await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        let refused = |error: std::io::Error| {
            Problem::new(Exit::Environment, format!("can't listen on {}", self.listen))
                .with_why(error.to_string())
                .with_remedy("say another address: --listen 127.0.0.1:0 takes any free port")
        };
        let listener = TcpListener::bind(self.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        // A page in a browser can give this machine a name of its own.
        let hosts = address
            .ip()
            .is_loopback()
            .then(|| ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec());
        let access: Arc<dyn Access> = if self.writable { Arc::new(Open) } else { Arc::new(ReadOnly) };
        let router = router(Arc::new(store), access, Options { hosts, ..Options::default() });
        output::serving(address, self.writable, mode).map_err(|lost| Problem::unwritable(&lost))?;
        listen::serve(listener, router, stop.cancel.cancelled()).await;
        Ok(Exit::Passed)
    }
}
