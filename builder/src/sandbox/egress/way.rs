//! The way to what a client wants: straight to an address that was judged, or through this host's own proxy.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    Rules,
    refusals::Refusal,
    request::{Head, MAX_HEAD},
};
use crate::proxies::HostProxy;

/// How long one address may take to answer.
const PATIENCE_FOR_CONNECT: Duration = Duration::from_secs(20);
/// How long another proxy may take to reach what it is asked for.
const PATIENCE_FOR_PROXY: Duration = Duration::from_secs(60);
/// How long a name server may take where its answer only adds to what is known.
const PATIENCE_FOR_LOOKUP: Duration = Duration::from_secs(2);

/// A connection, and what is to be said at its ends before bytes are passed on.
pub(super) struct Opened {
    pub(super) server: TcpStream,
    pub(super) for_client: Vec<u8>,
    pub(super) for_server: Vec<u8>,
}

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Opens the way to what the head names, which may be reached as far as its name tells.
pub(super) async fn open(head: &Head, rules: &Rules) -> Result<Opened, Refusal> {
    let proxy = rules.proxies.for_host(head.is_tunnel(), &head.host, head.port);
    match proxy.map_err(|bad| Refusal::new(502, bad.to_string()))? {
        Some(proxy) => {
            rules.lookups.judge(head, rules).await?;
            through(proxy, head).await
        }
        None => {
            let server = straight(head, rules).await?;
            let for_client = if head.is_tunnel() { ESTABLISHED.to_vec() } else { Vec::new() };
            let for_server = head.forwarded.as_ref().map(|request| request.to_server().into_bytes());
            Ok(Opened { server, for_client, for_server: for_server.unwrap_or_default() })
        }
    }
}

async fn straight(head: &Head, rules: &Rules) -> Result<TcpStream, Refusal> {
    let unreachable =
        |error: io::Error| Refusal::new(502, format!("{} can't be reached: {error}", head.place()));
    let found = timeout(PATIENCE_FOR_CONNECT, lookup_host((head.host.as_str(), head.port)))
        .await
        .map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?
        .map_err(unreachable)?;
    let mut last = Refusal::new(502, format!("{} has no address", head.host));
    for address in found {
        match rules.judge.address(&head.host, head.port, address.ip()) {
            Err(why) => last = Refusal::new(403, why),
            Ok(judged) => {
                let address = SocketAddr::new(judged, address.port());
                match timeout(PATIENCE_FOR_CONNECT, TcpStream::connect(address)).await {
                    Ok(Ok(server)) if !rules.judge.may_lead_back() && leads_back(&server) => {
                        let why = "an address of this host; steps can't reach the host";
                        last = Refusal::new(403, format!("{} is {judged}, {why}", head.host));
                    }
                    Ok(Ok(server)) => return Ok(server),
                    Ok(Err(error)) => last = unreachable(error),
                    Err(_) => last = unreachable(io::ErrorKind::TimedOut.into()),
                }
            }
        }
    }
    Err(last)
}

/// Whether both ends are this host, for example by an address that it got a moment ago. One that can't be told counts as so.
fn leads_back(server: &TcpStream) -> bool {
    match (server.local_addr(), server.peer_addr()) {
        (Ok(local), Ok(peer)) => local.ip() == peer.ip(),
        _ => true,
    }
}

/// What this host's name servers say of a name that a proxy will look up by itself. Behind a proxy they often know nothing, and
/// then the proxy's own rules decide; those that do not even answer are not asked again.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookups {
    silent: Arc<AtomicBool>,
}

impl Lookups {
    async fn judge(&self, head: &Head, rules: &Rules) -> Result<(), Refusal> {
        let is_address = head.host.parse::<IpAddr>().is_ok();
        if !is_address && self.silent.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Ok(found) = timeout(PATIENCE_FOR_LOOKUP, lookup_host((head.host.as_str(), head.port))).await
        else {
            self.silent.store(true, Ordering::Relaxed);
            return Ok(());
        };
        for address in found.into_iter().flatten() {
            let judged = rules.judge.address(&head.host, head.port, address.ip());
            judged.map_err(|why| Refusal::new(403, why))?;
        }
        Ok(())
    }
}

/// Asks this host's own proxy. Where that one is, the person has said, so it is not judged.
async fn through(proxy: &HostProxy, head: &Head) -> Result<Opened, Refusal> {
    let failed = |why: String| Refusal::new(502, format!("this host's proxy {} {why}", proxy.place()));
    let connect = TcpStream::connect((proxy.host.as_str(), proxy.port));
    let mut server = timeout(PATIENCE_FOR_CONNECT, connect)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| failed(format!("can't be reached: {error}")))?;
    let authorization = proxy.authorization().map_or_else(String::new, |secret| {
        secret.expose_to(|value| format!("proxy-authorization: {value}\r\n"))
    });
    if let Some(request) = &head.forwarded {
        let for_server = request.to_proxy(&authorization).into_bytes();
        return Ok(Opened { server, for_client: Vec::new(), for_server });
    }
    let place = head.place();
    let question = format!("CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n{authorization}\r\n");
    server.write_all(question.as_bytes()).await.map_err(|error| failed(format!("went away: {error}")))?;
    let (status, rest) = timeout(PATIENCE_FOR_PROXY, answer(&mut server))
        .await
        .unwrap_or_else(|_| Err(format!("said nothing for {} seconds", PATIENCE_FOR_PROXY.as_secs())))
        .map_err(failed)?;
    match status {
        200..=299 => Ok(Opened { server, for_client: [ESTABLISHED, &rest].concat(), for_server: Vec::new() }),
        407 => Err(failed(
            "does not know who asks (407): give it user and password, as \
                           `HTTPS_PROXY=http://user:password@host:port`"
                .to_owned(),
        )),
        status => Err(failed(format!("does not let {place} through: it answered with the status {status}"))),
    }
}

/// The status of a proxy's answer, and what came after its head already.
async fn answer(server: &mut TcpStream) -> Result<(u16, Vec<u8>), String> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            let status =
                std::str::from_utf8(&bytes).ok().and_then(|head| head.split(' ').nth(1)?.parse().ok());
            return Ok((status.ok_or("answered with what is no HTTP")?, rest));
        }
        if bytes.len() > MAX_HEAD {
            return Err("answered with too long a head".to_owned());
        }
        match server.read_buf(&mut bytes).await {
            Ok(1..) => {}
            Ok(0) => return Err("ended the connection without an answer".to_owned()),
            Err(error) => return Err(format!("went away: {error}")),
        }
    }
}
