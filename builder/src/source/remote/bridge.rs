//! A door on loopback between git's library and the rest of the world.
//!
//! The library speaks git's protocol over plain connections only. It is pointed at this door, and what is behind the door
//! speaks TLS or runs ssh. A token in the address that nobody else knows keeps other users of this machine out.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::failure::FetchFailure;

/// How long somebody who comes to the door may take to say what for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is behind the door.
pub(super) trait FarSide: Send + Sync + 'static {
    /// Serves one connection of git's library, unless it does not show the token.
    fn serve(&self, near: TcpStream, token: &str) -> Result<(), FetchFailure>;

    /// Ends what is still going on: nobody wants it any more.
    fn abandon(&self);

    /// The scheme of the door's address.
    fn scheme(&self) -> &'static str;
}

/// An open door. Dropped, it is closed.
pub(super) struct Bridge {
    address: SocketAddr,
    inside: Arc<Inside>,
    porter: Option<JoinHandle<()>>,
}

struct Inside {
    far: Box<dyn FarSide>,
    token: String,
    failure: Mutex<Option<FetchFailure>>,
    closing: AtomicBool,
}

impl Bridge {
    /// Opens a door.
    pub(super) fn open(far: Box<dyn FarSide>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let mut secret = [0_u8; 24];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let token = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let inside =
            Arc::new(Inside { far, token, failure: Mutex::default(), closing: AtomicBool::new(false) });
        let porter = thread::Builder::new().name("staith-bridge".to_owned()).spawn({
            let inside = Arc::clone(&inside);
            move || wait_at(&listener, &inside)
        })?;
        Ok(Self { address, inside, porter: Some(porter) })
    }

    /// The address for git's library, with the token.
    pub(super) fn url(&self) -> String {
        format!("{}://{}/{}", self.inside.far.scheme(), self.address, self.inside.token)
    }

    /// What went wrong behind the door first.
    pub(super) fn failure(&self) -> Option<FetchFailure> {
        self.inside.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.inside.closing.store(true, Ordering::SeqCst);
        self.inside.far.abandon();
        // Wakes the porter, who then sees that it is time to go. One who can't be woken is not waited for.
        if TcpStream::connect(self.address).is_ok()
            && let Some(porter) = self.porter.take()
        {
            let _ = porter.join();
        }
    }
}

fn wait_at(listener: &TcpListener, inside: &Arc<Inside>) {
    for near in listener.incoming() {
        if inside.closing.load(Ordering::SeqCst) {
            return;
        }
        // A visitor who left again before being let in is no reason to close.
        let Ok(near) = near else { continue };
        let inside = Arc::clone(inside);
        let serve = move || serve(&inside, near);
        if let Err(error) = thread::Builder::new().name("staith-fetch".to_owned()).spawn(serve) {
            tracing::warn!(%error, "no thread for a fetch");
        }
    }
}

fn serve(inside: &Inside, near: TcpStream) {
    if near.set_read_timeout(Some(PATIENCE)).is_err() {
        return;
    }
    // Kept open until the failure is noted: git's library must not see the end before the reason is known.
    let Ok(held) = near.try_clone() else { return };
    if let Err(failure) = inside.far.serve(near, &inside.token) {
        inside.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }
    let _ = held.shutdown(std::net::Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::{
        super::{Reach, RemoteRepository},
        *,
    };

    fn door_to(url: &str) -> Bridge {
        let remote = RemoteRepository::parse(url).unwrap();
        Bridge::open(Reach::default().to(&remote).unwrap()).unwrap()
    }

    fn answer(bridge: &Bridge, question: &str) -> String {
        let mut near = TcpStream::connect(bridge.address).unwrap();
        near.write_all(question.as_bytes()).unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A port where nobody listens, so whatever goes through the door fails there.
    fn closed() -> u16 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn without_the_token_nothing_goes_through_the_web() {
        let bridge = door_to(&format!("http://127.0.0.1:{}/x", closed()));
        let (token, other) = (bridge.inside.token.clone(), "0".repeat(48));
        let list = "/info/refs?service=git-upload-pack";
        for target in [
            format!("GET /{other}{list}"),
            format!("GET {list}"),
            format!("GET /{}{list}", &token[1..]),
            format!("GET /{token}/info/refs?service=git-receive-pack"),
            format!("GET /{token}/objects/info/packs"),
            format!("GET http://example.org/{token}{list}"),
            format!("POST /{token}/git-receive-pack"),
            format!("CONNECT /{token}{list}"),
        ] {
            let refusal = answer(&bridge, &format!("{target} HTTP/1.1\r\n\r\n"));
            assert!(refusal.starts_with("HTTP/1.1 404 "), "{target}: {refusal}");
        }
        assert_eq!(answer(&bridge, "\r\n\r\n"), "");
        assert_eq!(bridge.failure(), None);
        assert_eq!(answer(&bridge, &format!("GET /{token}{list} HTTP/1.1\r\n\r\n")), "");
        assert!(
            matches!(bridge.failure(), Some(FetchFailure::NoConnection { .. })),
            "{:?}",
            bridge.failure()
        );
    }

    #[test]
    fn without_the_token_nothing_goes_through_a_pipe() {
        let bridge = door_to(&format!("git://127.0.0.1:{}/x", closed()));
        let (token, other) = (bridge.inside.token.clone(), "0".repeat(48));
        let line = |text: String| format!("{:04x}{text}", text.len() + 4);
        for question in [
            line(format!("git-upload-pack /{other}\0host=x\0")),
            line(format!("git-receive-pack /{token}\0host=x\0")),
            line(format!("git-upload-pack /{token}/more\0host=x\0")),
            "0000".to_owned(),
            "zzzz".to_owned(),
            "ffff".to_owned(),
        ] {
            assert_eq!(answer(&bridge, &question), "", "{question}");
        }
        assert_eq!(bridge.failure(), None);
        assert_eq!(answer(&bridge, &line(format!("git-upload-pack /{token}\0host=x\0"))), "");
        assert!(bridge.failure().is_some());
    }
}
