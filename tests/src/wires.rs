//! Network namespaces of a test's own: one for a server, and one for each host, with a wire between the two and faults on the wire.
//!
//! A namespace lives as long as the process that holds it, and that one as long as its standard input is open: a test that is killed
//! leaves none behind. Nothing outside of them is touched.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The server's address in its namespace: all hosts reach it by this one.
pub const SERVER: &str = "10.99.0.1";

/// A network namespace.
#[derive(Debug)]
struct Namespace(Child);

impl Namespace {
    fn make() -> Result<Self, String> {
        let held = "ip link set lo up && echo ready && exec cat >/dev/null";
        let mut held = Command::new("unshare")
            .args(["--net", "sh", "-c", held])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|refused| format!("`unshare` can't be started: {refused}"))?;
        let mut line = String::new();
        let _ = BufReader::new(held.stdout.take().unwrap()).read_line(&mut line);
        if line == "ready\n" {
            return Ok(Self(held));
        }
        let mut why = String::new();
        let _ = BufReader::new(held.stderr.take().unwrap()).read_line(&mut why);
        let _ = held.wait();
        Err(why.trim().to_owned())
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// A command in it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).args(words);
        command
    }

    #[track_caller]
    fn does(&self, words: &[&str]) {
        let done = self.command(words).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Whether this user may make such namespaces here; if not, why is printed.
pub fn are_permitted() -> bool {
    let why = match Namespace::make() {
        Err(why) => why,
        Ok(made) => {
            let tried = made.command(&["nft", "add", "table", "inet", "tried"]).output();
            match tried {
                Ok(tried) if tried.status.success() => return true,
                Ok(tried) => String::from_utf8_lossy(&tried.stderr).trim().to_owned(),
                Err(refused) => refused.to_string(),
            }
        }
    };
    println!("skipped: no network namespaces with rules can be made here (as root, with nftables): {why}");
    false
}

/// The namespace of a server, and the wires to hosts.
#[derive(Debug)]
pub struct Yard {
    server: Namespace,
    wires: u8,
}

impl Yard {
    /// A namespace for a server. From now on this thread, and what it starts, is in it.
    ///
    /// # Panics
    /// The system refuses: see [`are_permitted`].
    pub fn enter() -> Self {
        let server = Namespace::make().unwrap();
        server.does(&["ip", "addr", "add", &format!("{SERVER}/32"), "dev", "lo"]);
        let file = File::open(server.path()).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        Self { server, wires: 0 }
    }

    /// A namespace for one more host, with a wire to the server and nothing else.
    ///
    /// # Panics
    /// The system refuses.
    pub fn wire(&mut self) -> Wire {
        self.wires += 1;
        let (number, host) = (self.wires, Namespace::make().unwrap());
        let (near, far) = (format!("10.99.{number}.1"), format!("10.99.{number}.2"));
        let (name, pid) = (format!("wire{number}"), host.0.id().to_string());
        let make = ["ip", "link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &pid];
        self.server.does(&make);
        self.server.does(&["ip", "addr", "add", &format!("{near}/24"), "dev", &name]);
        self.server.does(&["ip", "link", "set", &name, "up"]);
        host.does(&["ip", "addr", "add", &format!("{far}/24"), "dev", "eth0"]);
        host.does(&["ip", "link", "set", "eth0", "up"]);
        host.does(&["ip", "route", "add", "default", "via", &near]);
        Wire { host, is_cut: BTreeSet::new() }
    }
}

/// What is wrong with a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes.
    Cut,
    /// What the host says passes; nothing comes back.
    AnswersLost,
    /// What the host says passes; of what comes back, only what fits into a small packet, as no job does.
    LongAnswersLost,
    /// Connections that there are now go on for ever and carry nothing; new ones work.
    HalfOpen,
    /// So many bytes a second pass, each way; more are lost.
    Slow(u32),
    /// Every second packet with something in it is answered by an end of its connection.
    Resets,
    /// The same, and half of those packets arrive before: what they ask is done, and no answer comes back.
    ResetsOnceArrived,
    /// So many of a hundred packets are lost, each way.
    Loss(u8),
}

/// A host's end of a wire, in a namespace of its own.
#[derive(Debug)]
pub struct Wire {
    host: Namespace,
    /// The host's ports whose connections carry nothing any more, also after the fault.
    is_cut: BTreeSet<u16>,
}

impl Wire {
    /// A command of the host's.
    pub fn command(&self, words: &[&str]) -> Command {
        self.host.command(words)
    }

    /// From now on this is wrong with it, and nothing else.
    ///
    /// # Panics
    /// The system refuses.
    pub fn has(&mut self, fault: Fault) {
        if fault == Fault::HalfOpen {
            self.forget_connections();
            return;
        }
        self.rules(Some(fault));
    }

    /// It is whole. What was a half-open connection stays one.
    ///
    /// # Panics
    /// The system refuses.
    pub fn heals(&self) {
        self.rules(None);
    }

    /// Connections that there are now carry nothing from now on, and nobody is told.
    ///
    /// # Panics
    /// The system refuses.
    pub fn forget_connections(&mut self) {
        let listed = self.command(&["ss", "-tnH", "-o"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        // What listens is no connection.
        let own = listed.lines().filter_map(|line| line.split_whitespace().nth(3)?.rsplit_once(':'));
        self.is_cut.extend(own.filter_map(|(_, port)| port.parse::<u16>().ok()));
        self.rules(None);
    }

    fn rules(&self, fault: Option<Fault>) {
        let (mut going, mut coming, mut sets) = (String::new(), String::new(), "");
        for port in &self.is_cut {
            writeln!(going, "tcp sport {port} drop;").unwrap();
            writeln!(coming, "tcp dport {port} drop;").unwrap();
        }
        match fault {
            None | Some(Fault::HalfOpen) => {}
            Some(Fault::Cut) => {
                going.push_str("oifname eth0 drop;");
                coming.push_str("iifname eth0 drop;");
            }
            Some(Fault::AnswersLost) => coming.push_str("iifname eth0 drop;"),
            Some(Fault::LongAnswersLost) => coming.push_str("iifname eth0 meta length > 700 drop;"),
            Some(Fault::Resets) => going.push_str(
                "oifname eth0 tcp flags & psh == psh numgen random mod 100 < 50 reject with tcp reset;",
            ),
            Some(Fault::ResetsOnceArrived) => {
                // What is not answered is soon sent again, and that ends the connection.
                sets = "set struck { type inet_service; flags dynamic, timeout; timeout 5s; }";
                going.push_str(
                    "oifname eth0 tcp sport @struck reject with tcp reset;\
                     oifname eth0 tcp flags & psh == psh numgen random mod 100 < 25 add @struck { tcp sport } accept;\
                     oifname eth0 tcp flags & psh == psh numgen random mod 100 < 33 reject with tcp reset;",
                );
                coming.push_str("iifname eth0 tcp dport @struck drop;");
            }
            Some(Fault::Slow(bytes)) => {
                writeln!(going, "oifname eth0 limit rate over {bytes} bytes/second burst 20000 bytes drop;")
                    .unwrap();
                writeln!(coming, "iifname eth0 limit rate over {bytes} bytes/second burst 20000 bytes drop;")
                    .unwrap();
            }
            Some(Fault::Loss(percent)) => {
                writeln!(going, "oifname eth0 numgen random mod 100 < {percent} drop;").unwrap();
                writeln!(coming, "iifname eth0 numgen random mod 100 < {percent} drop;").unwrap();
            }
        }
        // In one transaction: there is no moment between what was and what is.
        let table = format!(
            "add table inet fault\ndelete table inet fault\ntable inet fault {{\n{sets}\n\
             chain going {{ type filter hook output priority 0; policy accept; {going} }}\n\
             chain coming {{ type filter hook input priority 0; policy accept; {coming} }}\n}}\n"
        );
        let mut nft = self.command(&["nft", "-f", "-"]);
        let mut nft = nft.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(table.as_bytes()).unwrap();
        let said = nft.wait_with_output().unwrap();
        assert!(said.status.success(), "{table}{}", String::from_utf8_lossy(&said.stderr));
    }
}
