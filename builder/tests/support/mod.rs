//! What the sandbox's tests share.
// Each test program uses a part of it, and clippy takes none of it for a test.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

pub mod attacks;
pub mod bench;
#[path = "../../../tests/src/container_engine.rs"]
pub mod container_engine;
pub mod containers;
pub mod engine_contract;
pub mod gate_contract;
pub mod ordinary_user;
pub mod rootfs;
pub mod terminal;
