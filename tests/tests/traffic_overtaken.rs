//! A deployer that is overtaken in the middle of moving requests stops where it is: HAProxy remembers the newer epoch, and whoever has
//! an older one finds it at the next look, not at the next order.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeSet, sync::Arc};

use staith_model::Name;
use staith_releaser::{
    fleet::balancer::{Balancer, Shifted, haproxy::HaProxy},
    traffic::TrafficError,
};
use staith_tests::{
    balancing::{name, order, serving, to},
    haproxy::Node,
    load::{
        application::Application,
        mixed::{Group, Mixed},
    },
};
use tokio::{runtime::Runtime, task::JoinHandle};

struct Pair {
    _blue: Application,
    green: Application,
    node: Node,
    balancer: Arc<HaProxy>,
    runtime: Runtime,
}

type Shifting = JoinHandle<Result<Shifted, TrafficError>>;

impl Pair {
    fn new() -> Self {
        let (blue, green) = (Application::start("r0"), Application::start("r1"));
        let node = Node::start(&[("blue", blue.address), ("green", green.address)]);
        let balancer = Arc::new(node.balancer());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { _blue: blue, green, node, balancer, runtime }
    }

    /// The order of an earlier deployment, which takes its time.
    fn begins(&self) -> Shifting {
        let balancer = Arc::clone(&self.balancer);
        self.runtime.spawn(async move { balancer.serve(&order(1), &to(&[("green", 100)])).await })
    }

    fn serving(&self) -> BTreeSet<Name> {
        self.runtime.block_on(serving(&*self.balancer))
    }

    fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        staith_tests::wait::until(what, || is_so().then_some(()));
    }

    /// A later deployment decides otherwise; the earlier one is told that it is over.
    fn overtake(&self, earlier: Shifting, members: &[(&str, u32)]) {
        self.runtime.block_on(self.balancer.serve(&order(2), &to(members))).unwrap();
        let told = self.runtime.block_on(earlier).unwrap();
        assert!(matches!(told, Err(TrafficError::Fenced { .. })), "{told:?}");
    }
}

#[test]
fn while_it_waits_for_a_new_member() {
    let mut pair = Pair::new();
    pair.green.kill();
    let earlier = pair.begins();
    let epoch = || pair.runtime.block_on(pair.balancer.observe()).unwrap().epoch;
    pair.wait("the earlier one is at it", || epoch() == Some(1));
    pair.overtake(earlier, &[("blue", 100)]);
    // What it waited for comes, and nobody is there any more who would let it in.
    pair.green.revive();
    assert_eq!(pair.serving(), [name("blue")].into());
}

#[test]
fn while_it_waits_for_those_who_go() {
    let pair = Pair::new();
    let load = Mixed::start(pair.node.front, &[Group::reading(4, true, "/long/1500")]);
    let busy = || pair.runtime.block_on(pair.balancer.observe()).unwrap().members[&name("blue")].in_flight;
    pair.wait("all are being answered", || busy() == Some(4));
    let earlier = pair.begins();
    pair.wait("the old one drains", || pair.serving() == [name("green")].into());
    pair.overtake(earlier, &[("blue", 50), ("green", 50)]);
    assert_eq!(pair.serving(), [name("blue"), name("green")].into(), "nobody was retired by the earlier one");
    assert_eq!(load.stop().failed(), 0);
}
