//! The address records of a name, changed by RFC 2136 and signed with TSIG (RFC 8945).
//!
//! Members are the targets' addresses. A shift is **one message**: if the records are still those that were observed, they are replaced
//! by the new ones. A server carries it out whole or not at all, so there is no moment without an address, and nobody's change is
//! overwritten unseen. 1. `message`: what is said, in pure code. 2. `exchange`: how it is signed, sent and answered. 3. [`Dns`].
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
use hickory_proto::{
    op::ResponseCode,
    rr::{self, RecordType, TSigner, rdata::tsig::TsigAlgorithm},
};
use staith_model::Name;
use tokio::{net::TcpStream, time::Instant};

use super::{Balancer, BalancerState, Member, Shift, Shifted};
use crate::{fleet::machine::Order, traffic::TrafficError};

mod exchange;
mod message;

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
    /// The members' addresses.
    pub members: BTreeMap<Name, IpAddr>,
    /// A port that a member accepts connections on when it is up. A name server looks at nobody; without this, whoever shifts has to
    /// know that the members are up.
    pub port: Option<u16>,
}

/// The address records of a name.
pub struct Dns {
    spec: DnsSpec,
    zone: rr::Name,
    record: rr::Name,
    signer: TSigner,
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
        Ok(Self { spec, zone, record, signer, longest })
    }

    /// The records as the server has them, read from itself.
    async fn read(&self) -> Result<message::Records, TrafficError> {
        let what = "tell who gets requests";
        let mut records = message::Records::default();
        for kind in [RecordType::A, RecordType::AAAA] {
            let question = message::question(&self.record, kind);
            let answer = exchange::ask(&self.spec.server, question, &self.signer, what).await?;
            match answer.metadata.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain if answer.metadata.authoritative => {}
                code => return Err(self.refused(what, code)),
            }
            records.take(&self.record, &answer).map_err(|why| TrafficError::Refused { what, why })?;
        }
        self.longest.fetch_max(records.ttl.unwrap_or(0), Ordering::Relaxed);
        Ok(records)
    }

    fn refused(&self, what: &'static str, code: ResponseCode) -> TrafficError {
        let hint = match code {
            ResponseCode::NotAuth | ResponseCode::BADSIG | ResponseCode::BADKEY => {
                "look at the key's name and value, and at both clocks"
            }
            ResponseCode::Refused => "the server does not allow this key to change this zone",
            ResponseCode::NoError => {
                "it is not an authority for the name; it has to be the zone's primary server"
            }
            _ => "look at the server's log",
        };
        let (server, record) = (&self.spec.server, &self.record);
        TrafficError::Refused { what, why: format!("{server} answered {code} about {record}; {hint}") }
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
            None => Ok(shift.to.keys().filter_map(|name| self.spec.members.get(name).copied()).collect()),
        }
    }

    async fn wait_until_up(&self, wanted: &BTreeSet<IpAddr>, patience: Duration) -> Result<(), TrafficError> {
        let Some(port) = self.spec.port else { return Ok(()) };
        let deadline = Instant::now() + patience;
        for address in wanted {
            let address = SocketAddr::new(*address, port);
            let reach = async {
                while TcpStream::connect(address).await.is_err() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            if tokio::time::timeout_at(deadline, reach).await.is_err() {
                let why = format!("{address} does not accept connections; no record was changed");
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
            there.iter().filter(|address| !self.spec.members.values().any(|ours| ours == *address))
        {
            tracing::warn!(%stranger, record = %self.record, "an address is none of a member");
        }
        let members = self.spec.members.iter().map(|(name, address)| {
            let admitted = there.contains(address);
            (name.clone(), Member { weight: u32::from(admitted), admitted, up: None, in_flight: None })
        });
        Ok(BalancerState { epoch: None, members: members.collect() })
    }

    async fn serve(&self, _: &Order, shift: &Shift) -> Result<Shifted, TrafficError> {
        let what = "change who gets requests";
        let wanted = self.wanted(shift)?;
        self.wait_until_up(&wanted, shift.patience).await?;
        for attempt in 0..ATTEMPTS {
            let there = self.read().await?;
            if there.addresses == wanted && there.ttl == Some(self.spec.ttl) {
                return Ok(Shifted { already: attempt == 0, left: BTreeMap::new() });
            }
            let update = message::swap(&self.zone, &self.record, &there.addresses, &wanted, self.spec.ttl);
            let answer = exchange::ask(&self.spec.server, update, &self.signer, what).await?;
            match answer.metadata.response_code {
                ResponseCode::NoError => return Ok(Shifted::default()),
                // The records are not any more those that were read: somebody else was quicker.
                ResponseCode::NXRRSet
                | ResponseCode::YXRRSet
                | ResponseCode::NXDomain
                | ResponseCode::YXDomain => {}
                code => return Err(self.refused(what, code)),
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

    fn lingers(&self) -> Duration {
        Duration::from_secs(u64::from(self.longest.load(Ordering::Relaxed)))
    }
}
