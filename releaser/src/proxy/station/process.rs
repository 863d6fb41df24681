//! The process: what it takes at its start, what it serves, and how it ends.

use std::{
    collections::BTreeMap,
    fs::{File as StdFile, OpenOptions},
    io,
    net::{SocketAddr, TcpListener as StdListener},
    os::unix::{fs::OpenOptionsExt as _, net::UnixListener as StdUnixListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FlockOperation, flock};
use staith_model::Name;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        check::Check,
        files::room_for_connections,
        serve::{Entrance, Limits, Speaks, serve_all},
        tls::Certificate,
    },
    backend::Backend,
    desk,
    orders::Orders,
    saved::{File, Saved, SavedMember},
    settings::{BackendSettings, Settings},
};
use crate::host::durable;

/// A proxy that has taken everything it needs: its lock, its sockets, its certificates and what it served before.
#[derive(Debug)]
pub struct Station {
    /// Held by the kernel for as long as this process lives, however it ends.
    _lock: StdFile,
    control: PathBuf,
    desk: StdUnixListener,
    backends: BTreeMap<Name, Stand>,
}

/// A backend before it serves.
#[derive(Debug)]
struct Stand {
    doors: Vec<(StdListener, Speaks)>,
    certificate: Option<Arc<Certificate>>,
    file: File,
    saved: Saved,
    configured: Vec<Name>,
    check: Check,
    limits: Limits,
}

/// Why a proxy could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct NotStarted {
    what: String,
    source: io::Error,
    /// What to do about it.
    pub remedy: &'static str,
}

fn not_started(what: impl Into<String>, remedy: &'static str) -> impl FnOnce(io::Error) -> NotStarted {
    let what = what.into();
    move |source| NotStarted { what, source, remedy }
}

impl Station {
    /// Takes what the settings name. Nothing is served before [`Self::serve`]. Blocks for a moment.
    ///
    /// # Errors
    /// Something is not there, is damaged, or is somebody else's.
    pub fn take(settings: &Settings) -> Result<Self, NotStarted> {
        let folder = &settings.folder;
        let told = format!("the folder {} can't be used", folder.display());
        durable::create_folder(folder)
            .map_err(not_started(told, "give the proxy a folder that its user may write: `folder`"))?;
        let lock = lock(folder)?;
        let (_, fit) = room_for_connections();
        let mut backends = BTreeMap::new();
        for (name, backend) in &settings.backends {
            let mut stand = Stand::take(name, backend, folder)?;
            stand.limits.connections = stand.limits.connections.min((fit / settings.backends.len()).max(1));
            backends.insert(name.clone(), stand);
        }
        let told = format!("the control socket {} can't be made", settings.control.display());
        let desk = desk::listen(&settings.control).map_err(not_started(
            told,
            "see to the folder that it is in; systemd makes one with RuntimeDirectory",
        ))?;
        Ok(Self { _lock: lock, control: settings.control.clone(), desk, backends })
    }

    /// Where clients come in, by backend, with the ports that were given where the settings left them open.
    pub fn entrances(&self) -> BTreeMap<Name, Vec<SocketAddr>> {
        let addresses = |stand: &Stand| {
            stand.doors.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect()
        };
        self.backends.iter().map(|(name, stand)| (name.clone(), addresses(stand))).collect()
    }

    /// Serves until `stop` is cancelled; then requests in flight are finished. Certificates are read again whenever `renew`
    /// yields. Returns how many connections were cut.
    ///
    /// # Errors
    /// The sockets can't be used.
    pub async fn serve(
        self,
        stop: CancellationToken,
        mut renew: tokio::sync::mpsc::Receiver<()>,
    ) -> io::Result<usize> {
        let mut orders = BTreeMap::new();
        let (mut served, mut certificates) = (vec![], vec![]);
        for (name, stand) in self.backends {
            let backend = Arc::new(Backend::restore(&stand.saved, stand.check));
            let mut entrances = vec![];
            for (listener, speaks) in stand.doors {
                entrances.push(Entrance { listener: TcpListener::from_std(listener)?, speaks });
            }
            certificates.extend(stand.certificate);
            let destination = Arc::clone(&backend);
            served.push(tokio::spawn(serve_all(entrances, destination, stand.limits, stop.clone())));
            let desk = Orders::new(backend, stand.file, stand.configured, stand.saved);
            orders.insert(name, Arc::new(desk));
        }
        let desk = tokio::spawn(desk::attend(UnixListener::from_std(self.desk)?, orders));
        let renewing = async {
            while renew.recv().await.is_some() {
                for certificate in &certificates {
                    if let Err(error) = certificate.read_again() {
                        tracing::error!(%error, "the certificate in use stays in use");
                    }
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = renewing => {}
        }
        // Requests in flight end while the control socket still tells how many there are.
        let mut cut = 0;
        for one in served {
            cut += one.await.unwrap_or_default();
        }
        desk.abort();
        // One that is left is replaced by the next proxy.
        let _ = std::fs::remove_file(&self.control);
        Ok(cut)
    }
}

impl Stand {
    fn take(name: &Name, settings: &BackendSettings, folder: &Path) -> Result<Self, NotStarted> {
        let file = File::of(folder, name);
        let saved = file.read().map_err(not_started(
            format!("what backend {name} served can't be known"),
            "a proxy never guesses who serves",
        ))?;
        let saved = merged(saved, settings);
        let certificate = match &settings.tls {
            None => None,
            Some(tls) => {
                let told = format!("backend {name} has no certificate to show");
                let read = Certificate::read(&tls.certificate, &tls.key);
                Some(Arc::new(
                    read.map_err(not_started(told, "give both files in PEM, readable for the proxy's user"))?,
                ))
            }
        };
        let mut doors = vec![];
        for address in &settings.listen {
            doors.push((bind(*address)?, Speaks::Either));
        }
        if let (Some(tls), Some(certificate)) = (&settings.tls, &certificate) {
            for address in &tls.listen {
                doors.push((bind(*address)?, Speaks::Tls(Arc::clone(certificate))));
            }
        }
        let configured = settings.members.keys().cloned().collect();
        Ok(Self {
            doors,
            certificate,
            file,
            saved,
            configured,
            check: settings.check(),
            limits: settings.limits(),
        })
    }
}

/// Who gets requests is what was saved; where configured members are is what the configuration says. Pure.
fn merged(saved: Option<Saved>, settings: &BackendSettings) -> Saved {
    let first = saved.is_none();
    let mut saved = saved.unwrap_or_default();
    for (name, member) in &settings.members {
        match saved.members.get_mut(name) {
            Some(known) => known.address.clone_from(&member.address),
            None => {
                let new = SavedMember {
                    address: member.address.clone(),
                    weight: member.weight,
                    admitted: first && member.serves,
                };
                saved.members.insert(name.clone(), new);
            }
        }
    }
    saved
}

fn bind(address: SocketAddr) -> Result<StdListener, NotStarted> {
    let listener = StdListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let told = format!("{address} can't be listened on");
    listener.map_err(not_started(
        told,
        "end what listens there, or give the proxy CAP_NET_BIND_SERVICE for ports below 1024",
    ))
}

fn lock(folder: &Path) -> Result<StdFile, NotStarted> {
    let path = folder.join("proxy.lock");
    let remedy = "one proxy at a time: end the other one, or give this one a folder of its own";
    let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let told = format!("{} can't be locked", path.display());
    let file = options.map_err(not_started(told.clone(), remedy))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| not_started(told, remedy)(error.into()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(members: &str) -> BackendSettings {
        let text =
            format!("control=\"/c\"\nfolder=\"/f\"\n[backends.shop]\nlisten=[\"127.0.0.1:0\"]\n{members}");
        Settings::read(&text).unwrap().backends.into_values().next().unwrap()
    }

    #[test]
    fn the_configuration_says_where_and_the_past_says_who() {
        let both =
            "members.a = { address = \"a:1\", serves = true }\nmembers.b = { address = \"b:1\", weight = 7 }";
        let first = merged(None, &settings(both));
        let serving = |saved: &Saved| {
            saved
                .members
                .iter()
                .filter(|(_, m)| m.admitted)
                .map(|(n, m)| format!("{n}@{}", m.address))
                .collect::<Vec<_>>()
        };
        assert_eq!(serving(&first), ["a@a:1"]);
        let mut later = first;
        later.members.values_mut().for_each(|member| member.admitted = !member.admitted);
        let moved = "members.a = { address = \"a:1\", serves = true }\nmembers.b = { address = \"b:2\" }";
        let later = merged(Some(later), &settings(moved));
        assert_eq!(serving(&later), ["b@b:2"]);
        assert_eq!(later.members.values().map(|member| member.weight).collect::<Vec<_>>(), [100, 7]);
        // One that serves and is not configured any more goes on serving.
        assert_eq!(serving(&merged(Some(later), &settings(""))), ["b@b:2"]);
    }
}
