//! The only way out of a sandbox: an HTTP proxy in the engine, for a socket that listens in the sandbox.
//!
//! A step with outbound network still has no interface but its own loopback. Whatever it reaches, it reaches by asking
//! here, by name or address: `CONNECT host:port` (HTTPS and anything else that speaks through tunnels) or a request for
//! an absolute `http://` address. The proxy resolves the name itself and connects to exactly the address that it
//! judged ([`judge`]), so a name that changes its address in between gains nothing.
//!
//! Where this host itself reaches others through a proxy, what steps ask for goes through that one ([`way`]). It looks names up
//! by itself, so they are judged by how they are written and by what this host knows of them.
//!
//! The same proxy, with another judge, is between Staith and the registries that pipelines name ([`Guard`]).

mod guard;
mod judge;
mod refusals;
mod request;
mod way;

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use staith_model::Secret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

pub(crate) use self::guard::Guard;
pub(super) use self::refusals::Refusals;
use self::{
    judge::{Judge, OfSteps},
    refusals::Refusal,
    request::{Head, MAX_HEAD},
    way::Lookups,
};
use crate::{addresses::names, proxies::Proxies};

/// Connections of one step at once. More wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to say what it wants.
const PATIENCE_FOR_HEAD: Duration = Duration::from_secs(30);
/// How long to wait when no connection can be accepted, for want of descriptors for example.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Serves one step; ends with all its connections when dropped.
#[derive(Debug, Default)]
pub(super) struct Proxy(Option<JoinHandle<()>>);

impl Proxy {
    /// Starts to serve whoever connects to `listener`. With `allow`, only these hosts are reached (`example.org`, and
    /// `*.example.org` for all below it); an empty list means all that the network allows. What is refused is noted.
    pub(super) fn serve(&mut self, listener: TcpListener, allow: &[String], refusals: Refusals) {
        let rules = Rules {
            judge: Arc::new(OfSteps::default()),
            allow: (!allow.is_empty()).then(|| allow.into()),
            proxies: Arc::new(Proxies::from_environment()),
            lookups: Lookups::default(),
            key: None,
            refusals,
        };
        self.0 = Some(tokio::spawn(accept(listener, rules)));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// What may be reached, and how.
#[derive(Debug, Clone)]
struct Rules {
    judge: Arc<dyn Judge>,
    /// The only hosts that may be reached, if there is such a list.
    allow: Option<Arc<[String]>>,
    proxies: Arc<Proxies>,
    lookups: Lookups,
    /// What a client has to say, where others could connect as well.
    key: Option<Secret>,
    refusals: Refusals,
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
    let opened = match permitted(&head, &rules) {
        Ok(()) => way::open(&head, &rules).await,
        Err(refusal) => Err(refusal),
    };
    let mut opened = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            rules.refusals.note(&refusal);
            return refuse(&mut client, refusal).await;
        }
    };
    client.write_all(&opened.for_client).await?;
    opened.server.write_all(&opened.for_server).await?;
    opened.server.write_all(&rest).await?;
    copy_bidirectional(&mut client, &mut opened.server).await.map(drop)
}

/// What can be told before anybody is asked for an address: a name alone can carry what a step should not tell.
fn permitted(head: &Head, rules: &Rules) -> Result<(), Refusal> {
    if let Some(key) = &rules.key
        && head.authorization.as_ref().is_none_or(|said| Secret::new(said.as_str()) != *key)
    {
        return Err(Refusal::new(403, "this proxy is for somebody else"));
    }
    let is_allowed =
        rules.allow.as_ref().is_none_or(|allow| allow.iter().any(|allowed| names(allowed, &head.host)));
    if !is_allowed {
        let why = format!("{} is not among the hosts in `allow` of the step", head.host);
        return Err(Refusal::new(403, why));
    }
    rules.judge.name(&head.host, head.port).map_err(|why| Refusal::new(403, why))
}

async fn refuse(client: &mut TcpStream, refusal: Refusal) -> io::Result<()> {
    client.write_all(refusal.answer().as_bytes()).await?;
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::addresses::Caution;

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

    /// Lets all through, but for connections that lead back.
    #[derive(Debug)]
    struct Anything;

    impl Judge for Anything {
        fn name(&self, _: &str, _: u16) -> Result<(), String> {
            Ok(())
        }

        fn address(&self, _: &str, _: u16, address: IpAddr) -> Result<IpAddr, String> {
            Ok(address)
        }

        fn may_lead_back(&self) -> bool {
            false
        }
    }

    fn by(judge: impl Judge) -> Rules {
        Rules {
            judge: Arc::new(judge),
            allow: None,
            proxies: Arc::default(),
            lookups: Lookups::default(),
            key: None,
            refusals: Refusals::default(),
        }
    }

    fn anything() -> Rules {
        by(Anything)
    }

    #[tokio::test]
    async fn without_a_list_of_own_addresses_nothing_is_reached() {
        let blind = OfSteps { own: || Err(io::ErrorKind::OutOfMemory.into()) };
        let answer = heard(by(blind), "CONNECT 192.0.2.1:1 HTTP/1.1\r\n\r\nhello\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("own addresses"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_that_leads_back_is_refused_whatever_was_judged() {
        let answer =
            heard_at("127.0.0.1:0", anything(), "CONNECT {server} HTTP/1.1\r\n\r\nhello\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("this host"), "{answer}");
    }

    #[tokio::test]
    async fn a_tunnel_carries_bytes_both_ways() {
        let answer = heard(anything(), "CONNECT {server} HTTP/1.1\r\n\r\nhello\r\n\r\n").await;
        assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\ngot hello\r\n\r\n");
    }

    #[tokio::test]
    async fn a_request_reaches_its_server_as_one_to_that_server() {
        let answer =
            heard(anything(), "GET http://{server}/x HTTP/1.1\r\nProxy-Connection: x\r\nA: b\r\n\r\n").await;
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
            let answer = heard(by(OfSteps::default()), ask).await;
            assert!(
                answer.starts_with("HTTP/1.1 403 Forbidden: ") && answer.contains("loopback"),
                "{answer}"
            );
        }
        // By its address on a network, if it has one.
        for own in
            judge::own_addresses().unwrap().into_iter().filter(|own| !own.is_loopback() && own.is_ipv4())
        {
            let answer = heard(by(OfSteps::default()), &format!("CONNECT {own}:80 HTTP/1.1\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        }
    }

    #[tokio::test]
    async fn only_hosts_that_are_allowed_are_reached() {
        let only = |hosts: &[&str]| Rules {
            allow: Some(hosts.iter().map(|host| (*host).to_owned()).collect()),
            ..anything()
        };
        let ask = "CONNECT {server} HTTP/1.1\r\n\r\nhello\r\n\r\n";
        let answer = heard(only(&["example.org", "*.example.org"]), ask).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("`allow`"), "{answer}");
        let answer = heard(only(&["127.0.0.2"]), ask).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    /// A host's own proxy, which answers with `says` once it has heard a head, and then with what else it gets up to an empty
    /// line; what it heard first.
    async fn host_proxy(says: &'static str) -> (u16, JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut heads = Vec::new();
            for answer in [says, "bytes "] {
                let mut got = Vec::new();
                while !got.ends_with(b"\r\n\r\n") && client.read_buf(&mut got).await.unwrap_or(0) > 0 {}
                client.write_all(answer.as_bytes()).await.unwrap();
                client.write_all(if heads.is_empty() { b"" } else { &got }).await.unwrap();
                heads.push(String::from_utf8(got).unwrap());
            }
            heads.remove(0)
        });
        (port, serving)
    }

    fn behind(variables: &[(&str, String)]) -> Rules {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        Rules { proxies: Arc::new(Proxies::from_variables(find)), ..by(OfSteps::default()) }
    }

    #[tokio::test]
    async fn what_is_asked_for_goes_through_the_hosts_own_proxy() {
        let (port, serving) = host_proxy("HTTP/1.1 200 fine\r\nx: y\r\n\r\nearly ").await;
        let rules = behind(&[("HTTPS_PROXY", format!("http://me:pass%3Aword@127.0.0.1:{port}"))]);
        let answer = heard(rules, "CONNECT far.invalid:443 HTTP/1.1\r\n\r\nhello\r\n\r\n").await;
        assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\nearly bytes hello\r\n\r\n");
        let heard_there = serving.await.unwrap();
        let credentials = "proxy-authorization: Basic bWU6cGFzczp3b3Jk\r\n";
        let expected =
            format!("CONNECT far.invalid:443 HTTP/1.1\r\nhost: far.invalid:443\r\n{credentials}\r\n");
        assert_eq!(heard_there, expected);
    }

    #[tokio::test]
    async fn plain_requests_reach_the_hosts_own_proxy_as_for_a_proxy() {
        let (port, serving) = host_proxy("HTTP/1.1 200 fine\r\n\r\n").await;
        let rules = behind(&[("http_proxy", format!("http://127.0.0.1:{port}"))]);
        let ask = "GET http://far.invalid/x HTTP/1.1\r\nProxy-Authorization: mine\r\nA: b\r\n\r\n";
        assert_eq!(heard(rules, ask).await, "HTTP/1.1 200 fine\r\n\r\nbytes ");
        let expected =
            "GET http://far.invalid/x HTTP/1.1\r\nhost: far.invalid\r\nconnection: close\r\nA: b\r\n\r\n";
        assert_eq!(serving.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_host_behind_a_proxy_refuses_what_any_host_refuses() {
        // Nobody listens there: what is refused is refused before.
        let rules = || Rules {
            allow: None,
            ..behind(&[("ALL_PROXY", "http://127.0.0.1:9".to_owned()), ("NO_PROXY", "in.test".to_owned())])
        };
        let own = nix::unistd::gethostname().unwrap().into_string().unwrap();
        for host in [
            "127.0.0.1",
            "localhost",
            "2130706433",
            "169.254.169.254",
            "metadata.google.internal",
            own.as_str(),
        ] {
            for ask in [
                format!("CONNECT {host}:80 HTTP/1.1\r\n\r\n"),
                format!("GET http://{host}/ HTTP/1.1\r\n\r\n"),
            ] {
                let answer = heard(rules(), &ask).await;
                assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
            }
        }
        for address in judge::own_addresses().unwrap().into_iter().filter(IpAddr::is_ipv4) {
            let answer = heard(rules(), &format!("CONNECT {address}:80 HTTP/1.1\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        }
        let only = Rules { allow: Some(Arc::from(["example.org".to_owned()])), ..rules() };
        let answer = heard(only, "CONNECT far.invalid:443 HTTP/1.1\r\n\r\n").await;
        assert!(answer.contains("`allow`"), "{answer}");
        let answer = heard(rules(), "CONNECT in.test:443 HTTP/1.1\r\n\r\n").await;
        assert!(answer.contains("in.test:443 can't be reached"), "{answer}");
    }

    #[tokio::test]
    async fn what_the_hosts_own_proxy_refuses_is_said() {
        for (says, expected) in [
            ("HTTP/1.1 407 Who?\r\n\r\n", "does not know who asks"),
            ("HTTP/1.1 403 No\r\n\r\n", "status 403"),
            ("nonsense\r\n\r\n", "no HTTP"),
        ] {
            let (port, _serving) = host_proxy(says).await;
            let rules = behind(&[("HTTPS_PROXY", format!("http://me:hunter2@127.0.0.1:{port}"))]);
            let answer = heard(rules.clone(), "CONNECT far.invalid:443 HTTP/1.1\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains(expected), "{answer}");
            let noted = rules.refusals.lines().concat();
            assert!(noted.contains(expected) && !noted.contains("hunter2"), "{noted}");
        }
        let rules = behind(&[("HTTPS_PROXY", "socks5://127.0.0.1:9".to_owned())]);
        let answer = heard(rules, "CONNECT far.invalid:443 HTTP/1.1\r\n\r\n").await;
        assert!(answer.contains("HTTPS_PROXY names a SOCKS proxy"), "{answer}");
    }

    #[tokio::test]
    async fn what_commits_name_is_judged_by_what_was_allowed() {
        let ask = "CONNECT {server} HTTP/1.1\r\n\r\nhello\r\n\r\n";
        let answer = heard(by(judge::OfCommits(Caution::default())), ask).await;
        assert!(
            answer.starts_with("HTTP/1.1 403 ") && answer.contains("STAITH_ALLOW_HOSTS=127.0.0.2:"),
            "{answer}"
        );
        let allowed = by(judge::OfCommits(Caution::allowing(["127.0.0.2"])));
        let answer = heard_at("127.0.0.2:0", allowed, ask).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[tokio::test]
    async fn a_proxy_with_a_key_is_for_who_knows_it() {
        let rules = || Rules { key: Some(Secret::new("Basic abc")), ..anything() };
        let ask = |said: &str| format!("CONNECT {{server}} HTTP/1.1\r\n{said}\r\nhello\r\n\r\n");
        for wrong in ["", "Proxy-Authorization: Basic abd\r\n", "Authorization: Basic abc\r\n"] {
            let answer = heard(rules(), &ask(wrong)).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        }
        let answer = heard(rules(), &ask("Proxy-Authorization: Basic abc\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[tokio::test]
    async fn nonsense_is_answered_and_not_passed_on() {
        let long = format!("GET http://{{server}}/{} HTTP/1.1\r\n", "x".repeat(2 * MAX_HEAD));
        for (ask, status) in
            [("hello\r\n\r\n", "400"), (long.as_str(), "431"), ("GET http://{server}/", "400")]
        {
            let answer = heard(anything(), ask).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }
}
