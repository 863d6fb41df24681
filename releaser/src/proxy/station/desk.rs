//! The control socket: whoever may open it says who gets requests.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixListener as StdListener,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use staith_model::Name;
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use super::{
    orders::Orders,
    protocol::{self, Answer, Request, Response, VERSION},
};

/// A connection that says nothing for as long is not kept.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pause after a connection could not be accepted.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// Listens at a path, in place of a socket that was left there. Only for the holder of the lock.
///
/// The socket is made in a private directory and moved, so that there is no moment at which others could open it.
///
/// # Errors
/// Something else is at that path, or the socket can't be made there.
pub(super) fn listen(path: &Path) -> io::Result<StdListener> {
    if fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        return Err(io::Error::other("something that is no socket is there"));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let private = tempfile::Builder::new().prefix(".staith-").tempdir_in(folder)?;
    let made = private.path().join("s");
    let listener = StdListener::bind(&made)?;
    fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
    fs::rename(&made, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes orders for ever. Each is carried out to its end, whether or not anybody waits for the answer.
pub(super) async fn attend(listener: UnixListener, backends: BTreeMap<Name, Arc<Orders>>) {
    let backends = Arc::new(backends);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, Arc::clone(&backends)));
            }
            Err(_) => tokio::time::sleep(AFTER_REFUSAL).await,
        }
    }
}

async fn converse(stream: UnixStream, backends: Arc<BTreeMap<Name, Arc<Orders>>>) {
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    while let Ok(Ok(Some(line))) = timeout(PATIENCE, protocol::read_line(&mut from)).await {
        let backends = Arc::clone(&backends);
        // In a task of its own: a caller that goes away does not leave an order half carried out.
        let answer = tokio::spawn(async move { answer(&line, &backends).await }).await;
        let answer = answer.unwrap_or_else(|panicked| Answer::Refused { why: panicked.to_string() });
        let Ok(line) = protocol::line(&Response { version: VERSION, answer }) else { return };
        if !matches!(timeout(PATIENCE, to.write_all(&line)).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn answer(line: &[u8], backends: &BTreeMap<Name, Arc<Orders>>) -> Answer {
    let request: Request = match protocol::parse(line) {
        Ok(request) => request,
        Err(why) => return Answer::Refused { why },
    };
    match backends.get(&request.backend) {
        Some(orders) => Arc::clone(orders).obey(request.ask).await,
        None => {
            let known: Vec<String> = backends.keys().map(ToString::to_string).collect();
            let why = format!("the proxy has no backend {}; it has {}", request.backend, known.join(", "));
            Answer::Refused { why }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_socket_is_for_its_owner_and_replaces_only_sockets() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let _first = listen(&path).unwrap();
        let _again = listen(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        let file = place.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(listen(&file).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}
