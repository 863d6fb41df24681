//! What every balancer has to hold to, whatever it is, and short words for asking one.

use std::{collections::BTreeSet, time::Duration};

use staith_model::{DeploymentId, Digest, Name};
use staith_releaser::{
    fleet::{
        balancer::{Balancer, Shift, Shifted},
        machine::Order,
    },
    traffic::TrafficError,
};

/// Far beyond what anything here takes; only a failing test ever waits for all of it.
const LONG: Duration = Duration::from_secs(30);

/// A name.
///
/// # Panics
/// It is none.
pub fn name(name: &str) -> Name {
    name.parse().unwrap()
}

/// An order of an epoch.
pub fn order(epoch: u64) -> Order {
    Order { epoch, deployment: DeploymentId::new(0, [0; 10]), operation: Digest::of(b"test") }
}

/// To these members, with much time.
pub fn to(members: &[(&str, u32)]) -> Shift {
    let to = members.iter().map(|(member, weight)| (name(member), *weight)).collect();
    Shift { to, patience: LONG, drain: LONG }
}

/// Has exactly these serve.
///
/// # Errors
/// What the balancer says.
pub async fn shift(balancer: &dyn Balancer, members: &[(&str, u32)]) -> Result<Shifted, TrafficError> {
    balancer.serve(&order(1), &to(members)).await
}

/// Who serves.
///
/// # Panics
/// It can't be told.
pub async fn serving(balancer: &dyn Balancer) -> BTreeSet<Name> {
    balancer.observe().await.unwrap().serving().into_iter().cloned().collect()
}

/// Holds a balancer to the contract. Of its members `one` and `two` both are up, and `one` serves alone.
///
/// # Panics
/// It does not hold to it.
pub async fn hold_to_the_contract(balancer: &dyn Balancer, one: &str, two: &str) {
    let set = |members: &[&str]| members.iter().map(|member| name(member)).collect::<BTreeSet<_>>();
    assert_eq!(serving(balancer).await, set(&[one]));
    for bad in [&[][..], &[("nobody-knows-it", 1)], &[(one, 1), ("nobody-knows-it", 1)]] {
        let refused = shift(balancer, bad).await;
        assert!(matches!(refused, Err(TrafficError::Refused { .. })), "{bad:?}: {refused:?}");
        assert_eq!(serving(balancer).await, set(&[one]), "what is refused changes nothing");
    }
    for members in [&[two][..], &[one, two], &[one], &[two], &[one]] {
        let weighted: Vec<(&str, u32)> = members.iter().map(|member| (*member, 1)).collect();
        assert_eq!(shift(balancer, &weighted).await.unwrap(), Shifted::default(), "{members:?}");
        assert_eq!(serving(balancer).await, set(members));
        let again = shift(balancer, &weighted).await.unwrap();
        assert_eq!(again, Shifted { already: true, ..Shifted::default() }, "{members:?} again");
        let known = balancer.observe().await.unwrap().members;
        assert!(known.values().all(|member| member.admitted == (member.admitted && member.weight > 0)));
    }
    assert!((1..=256).contains(&balancer.granularity()));
}
