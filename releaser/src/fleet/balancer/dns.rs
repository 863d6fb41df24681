//! The address records of a name, changed by RFC 2136 and signed with TSIG (RFC 8945).
//!
//! Members are the targets' addresses. A shift is **one message**: if the records are still those that were observed, they are replaced
//! by the new ones. A server carries it out whole or not at all, so there is no moment without an address, and nobody's change is
//! overwritten unseen. 1. `message`: what is said, in pure code. 2. `exchange`: how it is signed, sent and answered. 3. `refusal`: what an
//! answer means that is no good one. 4. [`Dns`].
//!
//! **A time to live is a hint.** Clients believe what they were told before for [`Balancer::lingers`] and some of them longer; members that
//! went must go on serving for that long at least. How many still ask them can't be told here.
//!
//! **No epoch** is remembered: the deployment's lease alone keeps two deployments apart. That two that overlap would overwrite each
//! other's records is refused by the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{self, RecordType, TSigner, rdata::tsig::TsigAlgorithm},
};
use staith_model::Name;
use tokio::{net::TcpStream, time::Instant};

use super::{Balancer, BalancerState, Member, Shift, Shifted};
use crate::{fleet::machine::Order, traffic::TrafficError};

mod exchange;
mod message;
mod refusal;

/// How often records are read again when somebody else has changed them in between.
const ATTEMPTS: u32 = 5;

/// How often a member that does not accept connections is tried.
const LOOK: Duration = Duration::from_millis(50);

/// Seconds that the clocks of both sides may differ: what RFC 8945 recommends.
const FUDGE: u16 = 300;

/// What a name server is told, and where.
#[derive(Debug, Clone)]
pub struct DnsSpec {
    /// The primary server, `HOST:PORT`.
    pub server: String,
    /// The zone.
    pub zone: String,
    /// The name whose addresses are the members that serve, with the zone.
    pub record: String,
    /// Seconds that answers may be kept.
    pub ttl: u32,
    /// The members.
    pub members: BTreeMap<Name, DnsMember>,
}

/// A member, as others reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsMember {
    /// Its address.
    pub address: IpAddr,
    /// A port that it accepts connections on when it is up. A name server looks at nobody; without this, whoever shifts has to know
    /// that the member is up.
    pub port: Option<u16>,
}

/// The address records of a name.
pub struct Dns {
    spec: DnsSpec,
    zone: rr::Name,
    record: rr::Name,
    server: exchange::Server,
    key: String,
    /// The longest time to live that was seen, in seconds.
    longest: AtomicU32,
}

impl Dns {
    /// The balancer that a name is. The key is that of HMAC-SHA256 with this name and these bytes (not their base64).
    ///
    /// # Errors
    /// A name is none, or the record is not in the zone.
    pub fn new(spec: DnsSpec, key_name: &str, key: &[u8]) -> Result<Self, TrafficError> {
        let wrong = |why: String| TrafficError::Refused { what: "be told what to do", why };
        let named = |text: &str| {
            let mut name =
                rr::Name::from_ascii(text).map_err(|error| wrong(format!("`{text}` is no name: {error}")))?;
            name.set_fqdn(true);
            Ok(name)
        };
        let (zone, record) = (named(&spec.zone)?, named(&spec.record)?);
        if !zone.zone_of(&record) {
            return Err(wrong(format!("{record} is not in the zone {zone}")));
        }
        let signer = TSigner::new(key.to_owned(), TsigAlgorithm::HmacSha256, named(key_name)?, FUDGE);
        let signer = signer.map_err(|error| wrong(format!("the key {key_name} can't be used: {error}")))?;
        let longest = AtomicU32::new(spec.ttl);
        let server = exchange::Server::new(spec.server.clone(), signer);
        Ok(Self { spec, zone, record, server, key: key_name.to_owned(), longest })
    }

    /// The same, with a key as `tsig-keygen` prints it: in base64.
    ///
    /// # Errors
    /// As [`Dns::new`], or the key is no base64. Its value is never told.
    pub fn with_base64_key(spec: DnsSpec, key_name: &str, key: &str) -> Result<Self, TrafficError> {
        let text: String = key.split_whitespace().collect();
        let decoded = STANDARD.decode(text.trim_matches('"')).ok().filter(|key| !key.is_empty());
        let key = decoded.ok_or_else(|| TrafficError::Refused {
            what: "be told what to do",
            why: format!(
                "the value of the key {key_name} is no base64; set the secret to what stands after `secret` in what `tsig-keygen` prints"
            ),
        })?;
        Self::new(spec, key_name, &key)
    }

    /// The records as the server has them, read from itself.
    async fn read(&self) -> Result<message::Records, TrafficError> {
        let what = "tell who gets requests";
        let mut records = message::Records::default();
        for kind in [RecordType::A, RecordType::AAAA] {
            let question = message::question(&self.record, kind);
            let answer = self.server.ask(question, what).await?;
            match answer.metadata.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain if answer.metadata.authoritative => {}
                _ => return Err(self.refused(what, &answer)),
            }
            records.take(&self.record, &answer).map_err(|why| TrafficError::Refused { what, why })?;
        }
        self.longest.fetch_max(records.ttl.unwrap_or(0), Ordering::Relaxed);
        Ok(records)
    }

    fn refused(&self, what: &'static str, answer: &Message) -> TrafficError {
        let asked = refusal::Asked {
            server: &self.spec.server,
            zone: &self.spec.zone,
            record: &self.spec.record,
            key: &self.key,
        };
        TrafficError::Refused { what, why: asked.explain(answer) }
    }

    /// The addresses that are to serve, or why that must not be.
    fn wanted(&self, shift: &Shift) -> Result<BTreeSet<IpAddr>, TrafficError> {
        let refused = |why: String| Err(TrafficError::Refused { what: "change who gets requests", why });
        if shift.to.is_empty() {
            return refused("nobody is to get them, and then the name would have no address".into());
        }
        if shift.to.values().collect::<BTreeSet<_>>().len() > 1 {
            return refused("the weights differ, and addresses of a name have none".into());
        }
        match shift.to.keys().find(|name| !self.spec.members.contains_key(*name)) {
            Some(unknown) => refused(format!("the address of {unknown} is not known")),
            None => Ok(self.members_of(shift).map(|member| member.address).collect()),
        }
    }

    fn members_of(&self, shift: &Shift) -> impl Iterator<Item = DnsMember> {
        shift.to.keys().filter_map(|name| self.spec.members.get(name).copied())
    }

    async fn wait_until_up(&self, shift: &Shift) -> Result<(), TrafficError> {
        let deadline = Instant::now() + shift.patience;
        let places =
            self.members_of(shift).filter_map(|member| Some(SocketAddr::new(member.address, member.port?)));
        for place in places {
            let reach = async {
                while TcpStream::connect(place).await.is_err() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            if tokio::time::timeout_at(deadline, reach).await.is_err() {
                let why = format!("{place} does not accept connections; no record was changed");
                return Err(TrafficError::Refused { what: "change who gets requests", why });
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Balancer for Dns {
    async fn observe(&self) -> Result<BalancerState, TrafficError> {
        let there = self.read().await?.addresses;
        for stranger in
            there.iter().filter(|address| !self.spec.members.values().any(|ours| ours.address == **address))
        {
            tracing::warn!(%stranger, record = %self.record, "an address is none of a member");
        }
        let members = self.spec.members.iter().map(|(name, member)| {
            let admitted = there.contains(&member.address);
            (name.clone(), Member { weight: u32::from(admitted), admitted, up: None, in_flight: None })
        });
        Ok(BalancerState { epoch: None, members: members.collect() })
    }

    async fn serve(&self, _: &Order, shift: &Shift) -> Result<Shifted, TrafficError> {
        let what = "change who gets requests";
        let wanted = self.wanted(shift)?;
        self.wait_until_up(shift).await?;
        for attempt in 0..ATTEMPTS {
            let there = self.read().await?;
            if there.addresses == wanted && there.ttl == Some(self.spec.ttl) {
                return Ok(Shifted { already: attempt == 0, left: BTreeMap::new() });
            }
            let update = message::swap(&self.zone, &self.record, &there.addresses, &wanted, self.spec.ttl);
            let answer = self.server.ask(update, what).await?;
            match answer.metadata.response_code {
                ResponseCode::NoError => return Ok(Shifted::default()),
                // The records are not any more those that were read: somebody else was quicker.
                ResponseCode::NXRRSet
                | ResponseCode::YXRRSet
                | ResponseCode::NXDomain
                | ResponseCode::YXDomain => {}
                _ => return Err(self.refused(what, &answer)),
            }
        }
        let why = format!(
            "the addresses of {} are changed again and again; is somebody else deploying?",
            self.record
        );
        Err(TrafficError::Lost { what, why })
    }

    fn granularity(&self) -> u32 {
        1
    }

    fn cautions(&self) -> Vec<String> {
        let blind = self.spec.members.iter().filter(|(_, member)| member.port.is_none());
        let names: Vec<&str> = blind.map(|(name, _)| name.as_str()).collect();
        if names.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "nobody looks whether {} accept connections before clients are sent there: say `port`, or a port in `serves-at`",
            names.join(", ")
        )]
    }

    fn lingers(&self) -> Duration {
        Duration::from_secs(u64::from(self.longest.load(Ordering::Relaxed)))
    }
}
