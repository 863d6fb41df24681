//! The only way out of a sandbox: an HTTP proxy in the engine, for a socket that listens in the sandbox.
//!
//! A step with outbound network still has no interface but its own loopback. Whatever it reaches, it reaches by asking
//! here, by name or address: `CONNECT host:port` (HTTPS and anything else that speaks through tunnels) or a request for
//! an absolute `http://` address. The proxy resolves the name itself and connects to exactly the address that it
//! judged ([`judge`]), so a name that changes its address in between gains nothing.

mod judge;
mod request;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use self::request::{Head, MAX_HEAD};

/// Connections of one step at once. More wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to say what it wants.
const PATIENCE_FOR_HEAD: Duration = Duration::from_secs(30);
/// How long one address may take to answer.
const PATIENCE_FOR_CONNECT: Duration = Duration::from_secs(20);
/// How long to wait when no connection can be accepted, for want of descriptors for example.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Serves one step; ends with all its connections when dropped.
#[derive(Debug, Default)]
pub(super) struct Proxy(Option<JoinHandle<()>>);

impl Proxy {
    /// Starts to serve whoever connects to `listener`. With `allow`, only these hosts are reached (`example.org`, and
    /// `*.example.org` for all below it); an empty list means all that the network allows.
    pub(super) fn serve(&mut self, listener: TcpListener, allow: &[String]) {
        let allow = (!allow.is_empty()).then(|| allow.into());
        self.0 =
            Some(tokio::spawn(accept(listener, Rules { judge: judge::judge, own: own_addresses, allow })));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Which addresses may be reached; a parameter because tests can reach this host only.
#[derive(Debug, Clone)]
struct Rules {
    judge: fn(IpAddr, &[IpAddr]) -> Result<IpAddr, &'static str>,
    own: fn() -> io::Result<Vec<IpAddr>>,
    /// The only hosts that may be reached, if there is such a list.
    allow: Option<Arc<[String]>>,
}

async fn accept(listener: TcpListener, rules: Rules) {
    let ready = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    let Ok(listener) = ready else { return };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropped with this task, and with it all connections.
    let mut connections = JoinSet::new();
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((client, _)) => {
                let rules = rules.clone();
                connections.spawn(async move {
                    let _ = serve(client, rules).await;
                    drop(place);
                });
            }
            // The client's (it went away) or a passing lack of descriptors, which would only be made worse in a hurry.
            Err(_) => tokio::time::sleep(PAUSE_AFTER_FAILURE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut client: TcpStream, rules: Rules) -> io::Result<()> {
    let (head, rest) = match timeout(PATIENCE_FOR_HEAD, read_head(&mut client)).await {
        Ok(Ok(read)) => read,
        Ok(Err(refusal)) => return refuse(&mut client, refusal).await,
        Err(_) => return refuse(&mut client, Refusal::new(408, "no request came")).await,
    };
    let mut server = match connect(&head, rules).await {
        Ok(server) => server,
        Err(refusal) => return refuse(&mut client, refusal).await,
    };
    if head.is_tunnel {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        server.write_all(&head.forwarded).await?;
    }
    server.write_all(&rest).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// An answer of the proxy itself.
#[derive(Debug)]
struct Refusal {
    status: u16,
    why: String,
}

impl Refusal {
    fn new(status: u16, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }
}

async fn refuse(client: &mut TcpStream, Refusal { status, why }: Refusal) -> io::Result<()> {
    let reason = match status {
        403 => "Forbidden",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        _ => "Bad Request",
    };
    // The reason phrase is what most programs show of a proxy's refusal.
    let body = format!("staith: {why}\n");
    let answer = format!(
        "HTTP/1.1 {status} {reason}: {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        why.replace(|c: char| c.is_control() || !c.is_ascii(), "?"),
        body.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

/// The head of the request, and what came after it already.
async fn read_head(client: &mut TcpStream) -> Result<(Head, Vec<u8>), Refusal> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        match request::parse(&bytes) {
            Ok(Some((head, length))) => return Ok((head, bytes.split_off(length))),
            Ok(None) if bytes.len() < MAX_HEAD => {}
            Ok(None) => return Err(Refusal::new(431, "the request's head is too long")),
            Err(why) => return Err(Refusal::new(400, why)),
        }
        match client.read_buf(&mut bytes).await {
            Ok(0) => return Err(Refusal::new(400, "the request ended in its head")),
            Ok(_) => {}
            Err(error) => return Err(Refusal::new(400, error.to_string())),
        }
    }
}

async fn connect(head: &Head, rules: Rules) -> Result<TcpStream, Refusal> {
    // Before anybody is asked for an address: a name alone can carry what a step should not tell.
    if rules
        .allow
        .as_ref()
        .is_some_and(|allow| !allow.iter().any(|allowed| judge::names(allowed, &head.host)))
    {
        let why = format!("{} is not among the hosts in `allow` of the step", head.host);
        return Err(Refusal::new(403, why));
    }
    let unreachable = |error: io::Error| {
        Refusal::new(502, format!("{}:{} can't be reached: {error}", head.host, head.port))
    };
    let found = timeout(PATIENCE_FOR_CONNECT, tokio::net::lookup_host((head.host.as_str(), head.port)))
        .await
        .map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?
        .map_err(unreachable)?;
    // Without knowing them nothing can be judged, so nothing is reached.
    let own = (rules.own)().map_err(|error| {
        Refusal::new(
            502,
            format!("this host's own addresses can't be listed, so nothing may be reached: {error}"),
        )
    })?;
    let mut last = Refusal::new(502, format!("{} has no address", head.host));
    for address in found {
        match (rules.judge)(address.ip(), &own) {
            Err(why) => last = Refusal::new(403, format!("{} is {}, {why}", head.host, address.ip())),
            Ok(judged) => {
                let address = SocketAddr::new(judged, address.port());
                match timeout(PATIENCE_FOR_CONNECT, TcpStream::connect(address)).await {
                    Ok(Ok(server)) if leads_back(&server) => {
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

/// Looked up anew for each connection: a laptop changes its addresses.
fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs()?;
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    Ok(interfaces.filter_map(address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy with a judge of the test's, a server that answers with what it got up to an empty line, and what a client
    /// hears that says `ask`, in which `{server}` stands for the server's address.
    async fn heard(rules: Rules, ask: &str) -> String {
        // Connections to this address come from another one, as those to other hosts do.
        heard_at("127.0.0.2:0", rules, ask).await
    }

    async fn heard_at(place: &str, rules: Rules, ask: &str) -> String {
        let server = tokio::net::TcpListener::bind(place).await.unwrap();
        let address = server.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((mut client, _)) = server.accept().await {
                let mut got = Vec::new();
                while !got.ends_with(b"\r\n\r\n") {
                    if client.read_buf(&mut got).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let _ = client.write_all(&[b"got ".as_slice(), &got].concat()).await;
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = listener.local_addr().unwrap();
        let proxying = tokio::spawn(accept(listener, rules));
        let mut client = TcpStream::connect(proxy).await.unwrap();
        client.write_all(ask.replace("{server}", &address.to_string()).as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        proxying.abort();
        serving.abort();
        answer
    }

    const ANYTHING: Rules = Rules { judge: |address, _own| Ok(address), own: own_addresses, allow: None };
    const AS_IT_IS: Rules = Rules { judge: judge::judge, own: own_addresses, allow: None };

    #[tokio::test]
    async fn without_a_list_of_own_addresses_nothing_is_reached() {
        let blind = Rules { own: || Err(io::ErrorKind::OutOfMemory.into()), ..ANYTHING };
        let answer = heard(blind, "CONNECT {server} HTTP/1.1\r\n\r\nhello\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("own addresses"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_that_leads_back_is_refused_whatever_was_judged() {
        let answer =
            heard_at("127.0.0.1:0", ANYTHING, "CONNECT {server} HTTP/1.1\r\n\r\nhello\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("this host"), "{answer}");
    }

    #[tokio::test]
    async fn a_tunnel_carries_bytes_both_ways() {
        let answer = heard(ANYTHING, "CONNECT {server} HTTP/1.1\r\n\r\nhello\r\n\r\n").await;
        assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\ngot hello\r\n\r\n");
    }

    #[tokio::test]
    async fn a_request_reaches_its_server_as_one_to_that_server() {
        let answer =
            heard(ANYTHING, "GET http://{server}/x HTTP/1.1\r\nProxy-Connection: x\r\nA: b\r\n\r\n").await;
        assert!(answer.starts_with("got GET /x HTTP/1.1\r\nhost: 127.0.0.2:"), "{answer}");
        assert!(answer.contains("A: b") && !answer.contains("Proxy-Connection"), "{answer}");
    }

    #[tokio::test]
    async fn this_host_is_refused_with_a_reason() {
        for ask in [
            "CONNECT {server} HTTP/1.1\r\n\r\n",
            "GET http://{server}/ HTTP/1.1\r\n\r\n",
            "GET http://localhost:1/ HTTP/1.1\r\n\r\n",
            "CONNECT [::ffff:127.0.0.1]:80 HTTP/1.1\r\n\r\n",
        ] {
            let answer = heard(AS_IT_IS, ask).await;
            assert!(
                answer.starts_with("HTTP/1.1 403 Forbidden: ") && answer.contains("loopback"),
                "{answer}"
            );
        }
        // By its address on a network, if it has one.
        for own in own_addresses().unwrap().into_iter().filter(|own| !own.is_loopback() && own.is_ipv4()) {
            let answer = heard(AS_IT_IS, &format!("CONNECT {own}:80 HTTP/1.1\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        }
    }

    #[tokio::test]
    async fn only_hosts_that_are_allowed_are_reached() {
        let only = |hosts: &[&str]| Rules {
            allow: Some(hosts.iter().map(|host| (*host).to_owned()).collect()),
            ..ANYTHING
        };
        let ask = "CONNECT {server} HTTP/1.1\r\n\r\nhello\r\n\r\n";
        let answer = heard(only(&["example.org", "*.example.org"]), ask).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("`allow`"), "{answer}");
        let answer = heard(only(&["127.0.0.2"]), ask).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[tokio::test]
    async fn nonsense_is_answered_and_not_passed_on() {
        let long = format!("GET http://{{server}}/{} HTTP/1.1\r\n", "x".repeat(2 * MAX_HEAD));
        for (ask, status) in
            [("hello\r\n\r\n", "400"), (long.as_str(), "431"), ("GET http://{server}/", "400")]
        {
            let answer = heard(ANYTHING, ask).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }
}
