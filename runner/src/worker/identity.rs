//! Who this host is for a server.

use std::{collections::BTreeSet, fs, io, path::Path, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use staith_model::{
    Exit, Name, RunnerId, Secret,
    service::{EnrolAsked, Enrolled, SessionAsked, TargetOf},
};
use staith_packager::seal::key::PrivateKey;

use super::rooms::{Rooms, unkept, write_private};
use crate::{
    client::{Address, Ask, Client},
    clock,
    output::Problem,
};

/// How long a server that does not answer is asked to register a host.
const REGISTERING: Duration = Duration::from_secs(20);
/// The version of this program, which servers are told.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// That this host is a server's runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// The server.
    pub(crate) server: Address,
    /// What people call this host.
    pub(crate) name: Name,
    /// What the server calls it.
    pub(crate) runner: RunnerId,
    /// All its labels.
    pub(crate) labels: BTreeSet<Name>,
    /// Jobs come from this pool.
    pub(crate) pool: Name,
    /// Whether it gets one job only.
    pub(crate) ephemeral: bool,
    /// The machine of an environment that it is there for; `None` where it builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<TargetOf>,
}

impl Registration {
    /// The registration of a home; `None` where it has none.
    ///
    /// # Errors
    /// There is one, and it can't be read.
    pub(crate) fn find(rooms: &Rooms) -> Result<Option<Self>, Problem> {
        let path = rooms.registration();
        let bytes = match fs::read(&path) {
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|refused| unkept(&path, &refused))?,
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|bad| damaged(&path, &bad))
    }

    /// The registration of a home.
    ///
    /// # Errors
    /// It has none (64), or it can't be read.
    pub(crate) fn of(rooms: &Rooms) -> Result<Self, Problem> {
        Self::find(rooms)?.ok_or_else(|| {
            Problem::new(Exit::Usage, "this host is no runner yet")
                .with_remedy("`staith runner register --url URL --token CODE` makes it one")
        })
    }

    /// Writes it down, in place of what was there.
    ///
    /// # Errors
    /// It can't be written.
    pub(super) fn keep(&self, rooms: &Rooms) -> Result<(), Problem> {
        let path = rooms.registration();
        let bytes = serde_json::to_vec_pretty(self).map_err(|bad| Problem::bug(bad.to_string()))?;
        write_private(&path, &bytes).map_err(|refused| unkept(&path, &refused))
    }

    /// Forgets who this host was, and its key: of a runner that got the one job that it was made for.
    pub(super) fn forget(rooms: &Rooms) -> io::Result<()> {
        let path = rooms.registration();
        let home = path.parent().unwrap_or(&path);
        for name in ["registration.json", "host.pem", "host.pub"] {
            match fs::remove_file(home.join(name)) {
                Err(refused) if refused.kind() != io::ErrorKind::NotFound => return Err(refused),
                _ => {}
            }
        }
        Ok(())
    }
}

fn damaged(path: &Path, bad: &serde_json::Error) -> Problem {
    Problem::new(Exit::Environment, format!("{} is damaged", path.display()))
        .with_why(bad.to_string())
        .with_remedy("register this host again, with a new code: `staith runner register`")
}

/// Makes this host a runner of a server, which gives the same answer when it is asked again with the same key. The key is made
/// before it asks, so that whoever is killed in between is the same host the next time.
///
/// # Errors
/// The server refuses the code, can't be reached, or something can't be kept here.
pub(crate) async fn register(
    rooms: &Rooms,
    server: Address,
    code: &Secret,
    name: Name,
    labels: BTreeSet<Name>,
) -> Result<Registration, Problem> {
    rooms.make()?;
    let key = rooms.keys().own()?;
    let asked = enrol_asked(&key, code, &name, labels);
    let client = Client::new(&server)?;
    let enrolled: Enrolled = client.value_within(&Ask::post("/api/v1/runners", &asked), REGISTERING).await?;
    let Enrolled { runner, labels, pool, ephemeral, target } = enrolled;
    let registration = Registration { server, name, runner, labels, pool, ephemeral, target };
    registration.keep(rooms)?;
    Ok(registration)
}

fn enrol_asked(key: &PrivateKey, code: &Secret, name: &Name, labels: BTreeSet<Name>) -> EnrolAsked {
    let code = code.expose_to(str::to_owned);
    let proof = key.sign(format!("staith-enrol\n{code}\n{name}").as_bytes());
    EnrolAsked {
        code,
        name: name.clone(),
        public_key: BASE64_STANDARD.encode(key.public().as_bytes()),
        proof: BASE64_STANDARD.encode(proof),
        labels,
        version: VERSION.to_owned(),
    }
}

/// A proof of who this runner is, which is good once.
pub(super) fn session_asked(key: &PrivateKey, runner: &RunnerId) -> Result<SessionAsked, Problem> {
    let nonce = new_nonce()?;
    let proof = key.sign(format!("staith-session\n{runner}\n{nonce}").as_bytes());
    Ok(SessionAsked { nonce, proof: BASE64_STANDARD.encode(proof), version: VERSION.to_owned() })
}

/// An id that nobody has had before.
pub(super) fn new_nonce() -> Result<String, Problem> {
    let chance = clock::chance().map_err(|error| Problem::bug(error.to_string()))?;
    Ok(staith_model::AttemptId::new(clock::unix_millis(), chance).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use staith_packager::seal::key::Keys;

    #[test]
    fn what_is_proved_is_what_the_wire_says() {
        let home = tempfile::tempdir().unwrap();
        let key = Keys::in_directory(home.path()).own().unwrap();
        let asked = enrol_asked(&key, &Secret::new("c0de"), &"one".parse().unwrap(), BTreeSet::new());
        assert_eq!(BASE64_STANDARD.decode(&asked.public_key).unwrap(), key.public().as_bytes());
        let proof = BASE64_STANDARD.decode(&asked.proof).unwrap();
        assert!(key.public().has_signed(b"staith-enrol\nc0de\none", &proof));
        let runner: RunnerId = new_nonce().unwrap().parse().unwrap();
        let asked = session_asked(&key, &runner).unwrap();
        let proof = BASE64_STANDARD.decode(&asked.proof).unwrap();
        let message = format!("staith-session\n{runner}\n{}", asked.nonce);
        assert!(key.public().has_signed(message.as_bytes(), &proof));
        assert_eq!(asked.nonce.len(), 26);
    }
}
