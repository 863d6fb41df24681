//! Row 53: names that mean a machine that may be reached when they are judged, and one that may not when they are used.

use staith_model::Network;

use super::{
    apart::{self, DOMAIN},
    row::{Room::Machine, Row, Stage, scenario},
    scenarios::{in_a_word, marker},
};

const HELD: &str = "open, then 403; others 403";
/// What they mean later: this machine in three forms, and the cloud's metadata.
const LATER: [&str; 4] = ["loopback", "own", "six", "metadata"];

pub fn rows() -> Vec<Row> {
    let row = scenario(53, "names that change what they mean", |stage| Box::pin(rebind(stage)), &[HELD], "");
    vec![row.instead(Machine, "rebound()").needs(apart::needs_it)]
}

/// Asks for each name twice, and for one that is not allowed though it means a machine that may be reached.
const PROGRAM: &str = r#"
import socket
def asked(name):
    with socket.create_connection(('127.0.0.1', 3128), 20) as asking:
        asking.sendall(f'CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n'.encode())
        answer = b''
        try:
            while part := asking.recv(1000): answer += part
        except TimeoutError: pass
    return 'open' if answer.endswith(b'\r\n\r\nopen') else answer.decode().split(' ')[1]
met = {f'{asked(name)}, then {asked(name)}' for name in NAMES}
print(f"{' or '.join(sorted(met))}; others {asked(OTHER)}")
"#;

async fn rebind(stage: &Stage<'_>) -> String {
    // Somebody listens there on this machine, and would see if it came to that.
    let canary = std::net::TcpListener::bind("[::]:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let port = canary.local_addr().unwrap().port();
    let unique = marker("rebinding").replace('-', "");
    let host = |later: &str| format!("p{port}-{unique}-{later}.{DOMAIN}");
    let names: Vec<String> = LATER.map(|later| format!("{}:{port}", host(later))).to_vec();
    let text = format!("NAMES, OTHER = {names:?}, '{}:{port}'\n{PROGRAM}", host("fine"));
    let mut step = stage.program(&text);
    step.network = Network::Outbound;
    step.allow = LATER.map(host).to_vec();
    let met = in_a_word(&stage.ended(step).await);
    if canary.accept().is_ok() { format!("this machine was reached: {met}") } else { met }
}
