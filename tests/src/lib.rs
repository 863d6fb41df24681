//! End-to-end tests of Staith: scenarios through the command line, on real sandboxes, processes and sockets.
//!
//! 1. [`world`]: a place of its own for one scenario: a home, a project, a port.
//! 2. [`load`]: clients that never stop asking, and what they saw.
//! 3. [`app`]: a project with a small server, for scenarios about releasing.
//! 4. [`registry`]: a registry, and images to put into it.
//! 5. [`front`]: what stands before a registry.
//! 6. [`container_engine`]: container engines of the tests' own.
//! 7. [`terminal`]: a person before a terminal.
//! 8. [`vm`]: virtual machines of the tests' own.
//! 9. [`haproxy`]: HAProxy with a configuration and sockets of its own.
//! 10. [`bind`]: BIND 9 with a zone of its own. [`traffic_manager`]: what stands in for Azure's.
//! 11. [`station`]: the built-in proxy as a process of its own.
//! 12. [`machines`]: machines behind ssh that are this one.
//! 13. [`small_machine`]: machines in namespaces, up in a moment.
//! 14. [`bell`]: a project that is released to machines.
//! 15. [`balancing`]: what every balancer has to hold to. [`pair`]: two applications behind one.
//!     [`pools`]: a project that is released to two pools on this machine. [`prometheus`]: what stands in for Prometheus.
//! 16. [`wait`]: the one way to wait in a test: for a condition, never for a time.
//! 17. [`leavings`]: what a run must not leave behind.
//! 18. [`fake_server`]: what stands in for a server where its runners are tested.
//! 19. [`served`]: a server of its own. [`build_host`]: its hosts. [`wires`]: the networks between
//!     them. [`scene`]: all of it together.
//! 20. [`invariants`]: what must hold of a server and its hosts, whatever happened. [`forge`]: who is told how runs end. [`traces`]: what
//!     an attempt did.
//!     [`bare`]: a repository that people push to; [`git_http`]: one in the web that wants a password. [`cutting`]: a way through that
//!     breaks. [`muddle`]: one on which pieces of logs come twice, late, in any order, byte by byte.

pub mod app;
pub mod balancing;
pub mod bare;
pub mod bell;
pub mod bind;
pub mod build_host;
pub mod container_engine;
pub mod cutting;
pub mod fake_server;
pub mod forge;
pub mod front;
pub mod git_http;
pub mod haproxy;
pub mod invariants;
pub mod leavings;
pub mod load;
pub mod machines;
pub mod muddle;
pub mod pair;
pub mod pools;
pub mod prometheus;
pub mod registry;
pub mod scene;
pub mod served;
pub mod small_machine;
pub mod station;
pub mod terminal;
pub mod traces;
pub mod traffic_manager;
pub mod vm;
pub mod wait;
pub mod wires;
pub mod world;
