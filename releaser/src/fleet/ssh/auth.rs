//! Being let in: keys only, one after the other.

use std::{future::Future, sync::Arc};

use russh::{
    AgentAuthError, MethodKind, Signer as SignsRequests,
    client::{AuthResult, Handle},
    keys::{
        Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey,
        agent::{AgentIdentity, client::AgentClient},
        signature::Signer as _,
        ssh_encoding::Encode as _,
        ssh_key::private::KeypairData,
    },
};
use tokio::net::UnixStream;

use super::{
    connection::Watcher,
    error::SshError,
    identity::{Identities, Identity, Signer},
    settings::Settings,
};

type Agent = AgentClient<UnixStream>;

/// Has a machine let us in, by the first key that it takes.
///
/// # Errors
/// It takes none of them; what was tried is told, key by key.
pub(super) async fn let_in(
    handle: &mut Handle<Watcher>,
    host: &str,
    settings: &Settings,
) -> Result<(), SshError> {
    let mut tried = Tried::default();
    let (mut agent, held) = ask_agent(handle, settings, &mut tried).await;
    let identities = Identities::gather(settings, &held);
    tried.said.extend(identities.left_out.iter().cloned());
    for identity in &identities.offered {
        let answer = match show(handle, &settings.user, identity, agent.as_mut()).await {
            Ok(answer) => answer,
            Err(why) => {
                tried.said.push(format!("{}: {why}", identity.describe()));
                if handle.is_closed() {
                    tried.ended = true;
                    break;
                }
                continue;
            }
        };
        tried.shown += 1;
        match answer {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { .. } if handle.is_closed() => {
                tried.said.push(format!("{}: the server ended the connection", identity.describe()));
                tried.ended = true;
                break;
            }
            AuthResult::Failure { partial_success: true, remaining_methods } => {
                tried.said.push(format!("{}: taken, but more is wanted", identity.describe()));
                tried.methods =
                    Some(remaining_methods.iter().map(<&str>::from).collect::<Vec<_>>().join(", "));
            }
            AuthResult::Failure { remaining_methods, .. } => {
                tried.said.push(format!("{}: not taken", identity.describe()));
                let takes_keys = remaining_methods.contains(&MethodKind::PublicKey);
                tried.methods =
                    Some(remaining_methods.iter().map(<&str>::from).collect::<Vec<_>>().join(", "));
                if !takes_keys {
                    break;
                }
            }
        }
    }
    Err(tried.error(host, settings))
}

/// What was tried so far.
#[derive(Default)]
struct Tried {
    said: Vec<String>,
    shown: usize,
    methods: Option<String>,
    ended: bool,
}

impl Tried {
    fn error(self, host: &str, settings: &Settings) -> SshError {
        let (shown, user) = (self.shown, &settings.user);
        let remedy = if self.ended && shown > 1 {
            format!(
                "The server ended the connection after {shown} keys (MaxAuthTries): name the right one with `IdentityFile` and \
                 `IdentitiesOnly yes` for {host} in ~/.ssh/config."
            )
        } else if shown == 0 {
            "There was no key to show. Make one (`ssh-keygen -t ed25519`), or name one with `IdentityFile` in ~/.ssh/config, or \
             add one to an agent with `ssh-add`."
                .into()
        } else {
            let methods =
                self.methods.map(|methods| format!(" The server takes: {methods}.")).unwrap_or_default();
            format!(
                "Add the public key of one of them to ~{user}/.ssh/authorized_keys on the machine (`ssh-copy-id`), or name \
                 another with `IdentityFile` in ~/.ssh/config. Passwords are not used.{methods}"
            )
        };
        let tried = if self.said.is_empty() { "there is none".into() } else { self.said.join("; ") };
        SshError::NotLetIn { host: host.into(), user: user.clone(), tried, remedy }
    }
}

async fn ask_agent(
    handle: &Handle<Watcher>,
    settings: &Settings,
    tried: &mut Tried,
) -> (Option<Agent>, Vec<AgentIdentity>) {
    let Some(path) = &settings.agent else { return (None, Vec::new()) };
    let mut agent = match Agent::connect_uds(path).await {
        Ok(agent) => agent,
        Err(error) => {
            tried.said.push(format!("the agent at {}: {error}", path.display()));
            return (None, Vec::new());
        }
    };
    // Agents hide keys that are for certain hosts only until they know which host it is. Agents that don't know the request
    // have no such keys.
    if let Some(binding) = handle.agent_session_binding()
        && let Err(error) = agent.bind_session(binding, false).await
    {
        tracing::debug!("the agent was not told of the session: {error}");
    }
    match agent.request_identities().await {
        Ok(held) => (Some(agent), held),
        Err(error) => {
            tried.said.push(format!("the agent at {}: {error}", path.display()));
            (None, Vec::new())
        }
    }
}

async fn show(
    handle: &mut Handle<Watcher>,
    user: &str,
    identity: &Identity,
    agent: Option<&mut Agent>,
) -> Result<AuthResult, String> {
    let hash = hash_for(handle, identity).await?;
    let (key, certificate) = (identity.key.clone(), identity.certificate.clone());
    match (&identity.signer, certificate) {
        (Signer::File(secret), None) => {
            let secret = PrivateKeyWithHashAlg::new(Arc::clone(secret), hash);
            handle.authenticate_publickey(user, secret).await.map_err(|error| error.to_string())
        }
        (Signer::File(secret), Some(certificate)) => {
            let mut signer = Secret(Arc::clone(secret));
            let asked = handle.authenticate_certificate_with(user, certificate, hash, &mut signer);
            asked.await.map_err(|error| error.to_string())
        }
        (_, certificate) => {
            let agent = agent.ok_or("the agent is gone")?;
            let asked = match (certificate, &identity.signer) {
                (Some(certificate), Signer::AgentByKey) => {
                    let mut signer = ByKey { agent, key };
                    handle.authenticate_certificate_with(user, certificate, hash, &mut signer).await
                }
                (Some(certificate), _) => {
                    handle.authenticate_certificate_with(user, certificate, hash, agent).await
                }
                (None, _) => handle.authenticate_publickey_with(user, key, hash, agent).await,
            };
            asked.map_err(|error| format!("the agent does not sign: {error}"))
        }
    }
}

/// The hash for signatures by RSA keys: the best that the server knows, and never SHA-1.
async fn hash_for(handle: &Handle<Watcher>, identity: &Identity) -> Result<Option<HashAlg>, String> {
    if !matches!(identity.key.algorithm(), Algorithm::Rsa { .. }) {
        return Ok(None);
    }
    match handle.best_supported_rsa_hash().await {
        Ok(Some(Some(hash))) => Ok(Some(hash)),
        // A server that does not say is asked for the one that all of the last ten years know.
        Ok(None) => Ok(Some(HashAlg::Sha256)),
        Ok(Some(None)) => Err("the server takes RSA keys with SHA-1 only, which can be forged".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Signs for a certificate with the private key. (russh's own way would sign with SHA-1 where the key is RSA.)
struct Secret(Arc<PrivateKey>);

impl SignsRequests for Secret {
    type Error = AgentAuthError;

    fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut request: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<u8>, AgentAuthError>> + Send {
        let signed = match self.0.key_data() {
            KeypairData::Rsa(pair) => (pair, hash).try_sign(&request),
            _ => self.0.try_sign(&request),
        };
        let signed = signed.map_err(|_| russh::keys::Error::InvalidSignature).and_then(|signature| {
            signature.encode_prefixed(&mut request).map_err(|_| russh::keys::Error::InvalidSignature)?;
            Ok(request)
        });
        async move { signed.map_err(Into::into) }
    }
}

/// Has the agent sign with a key for whose certificate it knows nothing.
struct ByKey<'a> {
    agent: &'a mut Agent,
    key: PublicKey,
}

impl SignsRequests for ByKey<'_> {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        request: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        let key = AgentIdentity::PublicKey { key: self.key.clone(), comment: String::new() };
        Ok(self.agent.sign_request(&key, hash, request).await?)
    }
}
