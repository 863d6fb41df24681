//! What stands in for Azure Resource Manager: one profile of Traffic Manager whose endpoints are read and changed, as the public
//! documentation of its REST interface has it. Azure itself is not asked by any test.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde_json::{Value, json};

/// The profile's resource id.
pub const PROFILE: &str =
    "/subscriptions/0/resourceGroups/shop/providers/Microsoft.Network/trafficManagerProfiles/shop";

/// The token that is let in.
pub const TOKEN: &str = "token-of-a-test";

/// Endpoints: whether each is enabled, and its weight.
type Endpoints = BTreeMap<String, (bool, u64)>;

#[derive(Debug, Default)]
struct Shared {
    endpoints: Mutex<Endpoints>,
    /// Names of the enabled ones, after each change.
    story: Mutex<Vec<Vec<String>>>,
    stop: AtomicBool,
}

/// A profile on loopback. Dropping it ends it.
#[derive(Debug)]
pub struct Profile {
    /// Where it is managed.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Profile {
    /// A profile with these endpoints, of which the first is enabled. Each is online as soon as it is enabled.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start(endpoints: &[&str]) -> Self {
        let shared = Arc::new(Shared::default());
        let all = endpoints.iter().enumerate().map(|(nth, name)| ((*name).to_owned(), (nth == 0, 256)));
        *shared.endpoints.lock().unwrap() = all.collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if theirs.stop.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    answer(stream, &theirs);
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Which endpoints were enabled after each change.
    ///
    /// # Panics
    /// It panicked.
    pub fn story(&self) -> Vec<Vec<String>> {
        self.shared.story.lock().unwrap().clone()
    }

    /// The enabled endpoints.
    ///
    /// # Panics
    /// It panicked.
    pub fn enabled(&self) -> Vec<String> {
        enabled(&self.shared.endpoints.lock().unwrap())
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn enabled(endpoints: &Endpoints) -> Vec<String> {
    endpoints.iter().filter(|(_, (enabled, _))| *enabled).map(|(name, _)| name.clone()).collect()
}

/// One question on a connection of its own.
fn answer(mut stream: TcpStream, shared: &Shared) {
    let Some((head, body)) = read(&mut stream) else { return };
    let signed = head.to_ascii_lowercase().contains(&format!("authorization: bearer {TOKEN}"));
    let (status, value) = match signed {
        true => carry_out(&head, &body, shared),
        false => (401, json!({ "error": { "code": "InvalidAuthenticationToken", "message": "no" } })),
    };
    let text = value.to_string();
    let said = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    let _ = stream.write_all(said.as_bytes());
}

fn carry_out(head: &str, body: &str, shared: &Shared) -> (u16, Value) {
    let first = head.lines().next().unwrap_or_default();
    let place = first.split(' ').nth(1).unwrap_or_default();
    let Some(place) = place.strip_suffix("?api-version=2022-04-01") else {
        return (400, json!({ "error": { "code": "InvalidApiVersionParameter", "message": first } }));
    };
    let mut endpoints = shared.endpoints.lock().unwrap();
    if first.starts_with("GET ") && place == PROFILE {
        let all: Vec<Value> = endpoints.iter().map(|(name, one)| endpoint(name, *one)).collect();
        return (200, profile(&all));
    }
    let name = place.strip_prefix(PROFILE).and_then(|rest| rest.strip_prefix("/externalEndpoints/"));
    let found = name.and_then(|name| Some((name.to_owned(), *endpoints.get(name)?)));
    let (true, Some((name, mut one))) = (first.starts_with("PATCH "), found) else {
        return (404, json!({ "error": { "code": "ResourceNotFound", "message": first } }));
    };
    let asked: Value = serde_json::from_str(body).unwrap_or_default();
    if let Some(status) = asked["properties"]["endpointStatus"].as_str() {
        one.0 = status == "Enabled";
    }
    if let Some(weight) = asked["properties"]["weight"].as_u64() {
        one.1 = weight;
    }
    endpoints.insert(name.clone(), one);
    shared.story.lock().unwrap().push(enabled(&endpoints));
    (200, endpoint(&name, one))
}

fn profile(endpoints: &[Value]) -> Value {
    json!({
        "id": PROFILE, "name": "shop", "type": "Microsoft.Network/trafficManagerProfiles", "location": "global",
        "properties": {
            "profileStatus": "Enabled", "trafficRoutingMethod": "Weighted", "dnsConfig": { "relativeName": "shop", "ttl": 1 },
            "monitorConfig": { "intervalInSeconds": 10, "toleratedNumberOfFailures": 0, "timeoutInSeconds": 5 },
            "endpoints": endpoints,
        },
    })
}

fn endpoint(name: &str, (enabled, weight): (bool, u64)) -> Value {
    let (status, monitored) = if enabled { ("Enabled", "Online") } else { ("Disabled", "Disabled") };
    json!({
        "id": format!("{PROFILE}/externalEndpoints/{name}"), "name": name,
        "type": "Microsoft.Network/trafficManagerProfiles/externalEndpoints",
        "properties": { "endpointStatus": status, "endpointMonitorStatus": monitored, "weight": weight, "target": "192.0.2.1" },
    })
}

/// Head and body of a question.
fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok();
            if body.len() >= head.lines().find_map(length).unwrap_or(0) {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        match stream.read(&mut piece) {
            Ok(length) if length > 0 => bytes.extend_from_slice(&piece[..length]),
            _ => return None,
        }
    }
}
