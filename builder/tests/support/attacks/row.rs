//! What an attempt is.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
};

use staith_builder::engine::Engine;

use super::super::bench::Bench;

/// One attempt.
pub struct Row {
    /// In docs/security.md.
    pub number: u8,
    pub what: &'static str,
    pub tried: Tried,
    /// Any of these is a refusal; what is not listed is a hole.
    pub refusals: &'static [&'static str],
    /// Where a sandbox's answer is another than that of the built-in one with the host's own root.
    pub differences: Vec<Difference>,
    pub outside: Outside,
    /// Why it can't be tried on this machine, if it can't.
    pub needs: fn() -> Option<&'static str>,
}

pub enum Tried {
    /// An expression of `probes.py`: its value, or the name of the error that it met.
    Python(String),
    /// In a sandbox of its own; what came out, in a word.
    Scenario(Scenario),
    /// By a test somewhere else in this repository: its file and its name.
    Elsewhere(&'static str, &'static str),
    /// Nowhere, and why.
    Not(&'static str),
}

pub type Scenario = for<'a> fn(&'a Stage<'a>) -> Pin<Box<dyn Future<Output = String> + 'a>>;

/// What a scenario plays on.
pub struct Stage<'a> {
    pub engine: &'a dyn Engine,
    pub bench: &'a Bench,
    pub column: Column,
    /// Images below it may be used.
    pub images: PathBuf,
}

/// Kinds of sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The built-in one with the host's own root.
    Host,
    /// The built-in one with an image.
    Image,
    Docker,
    Podman,
}
pub use Kind::{Docker, Host, Image, Podman};

/// Where an attempt is tried: a kind of sandbox, made by root or by an ordinary user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    pub kind: Kind,
    pub by_root: bool,
}

impl Column {
    pub fn name(self) -> String {
        let user = if self.by_root { "" } else { ", user" };
        format!("{:?}{user}", self.kind)
    }
}

/// An answer of some sandboxes that is another than the first one's, and still a refusal.
pub struct Difference {
    pub of: fn(Column) -> bool,
    pub refusals: &'static [&'static str],
    pub why: &'static str,
}

/// Where the same is tried without the wall. It must not be refused there.
pub enum Outside {
    /// As this, in this room.
    Same(Room),
    /// Another expression, which does the same to a canary.
    Instead(Room, String),
    /// Why there is none.
    No(&'static str),
}

/// A place without the walls of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// This machine, as an ordinary user.
    Machine,
    /// Namespaces of an ordinary user, who is root in them.
    Namespaces,
    /// Namespaces of this machine's root. For what only root may ask: what is asked is wrong in another way.
    Root,
}

/// What a step is given and finds, rather than an attempt at something.
const A_STATE: Outside = Outside::No("it is what a step is given, not an attempt");

/// A system call with these arguments, as Python values.
pub fn call(number: u8, what: &'static str, name: &str, arguments: &str) -> Row {
    let comma = if arguments.is_empty() { "" } else { ", " };
    python(number, what, format!("call('{name}'{comma}{arguments})"), &["EPERM"])
}

/// An expression of Python.
pub fn python(
    number: u8,
    what: &'static str,
    expression: impl Into<String>,
    refusals: &'static [&'static str],
) -> Row {
    let tried = Tried::Python(expression.into());
    let outside = Outside::Same(Room::Machine);
    Row { number, what, tried, refusals, differences: Vec::new(), outside, needs: || None }
}

/// What a step finds: an expression and its value.
pub fn state(
    number: u8,
    what: &'static str,
    expression: impl Into<String>,
    values: &'static [&'static str],
) -> Row {
    Row { outside: A_STATE, ..python(number, what, expression, values) }
}

pub fn scenario(
    number: u8,
    what: &'static str,
    scenario: Scenario,
    results: &'static [&'static str],
    outside: &'static str,
) -> Row {
    Row {
        tried: Tried::Scenario(scenario),
        outside: Outside::No(outside),
        ..state(number, what, "", results)
    }
}

/// What another test shows.
pub fn elsewhere(number: u8, what: &'static str, file: &'static str, test: &'static str) -> Row {
    Row { tried: Tried::Elsewhere(file, test), ..state(number, what, "", &[]) }
}

/// What is not tried.
pub fn not_tried(number: u8, what: &'static str, why: &'static str) -> Row {
    Row { tried: Tried::Not(why), ..state(number, what, "", &[]) }
}

impl Row {
    pub fn outside(self, room: Room) -> Self {
        Self { outside: Outside::Same(room), ..self }
    }

    pub fn instead(self, room: Room, expression: impl Into<String>) -> Self {
        Self { outside: Outside::Instead(room, expression.into()), ..self }
    }

    pub fn no_outside(self, why: &'static str) -> Self {
        Self { outside: Outside::No(why), ..self }
    }

    pub fn needs(self, needs: fn() -> Option<&'static str>) -> Self {
        Self { needs, ..self }
    }

    pub fn differs(
        mut self,
        of: fn(Column) -> bool,
        refusals: &'static [&'static str],
        why: &'static str,
    ) -> Self {
        self.differences.push(Difference { of, refusals, why });
        self
    }

    /// What counts as a refusal in this sandbox.
    pub fn refusals_in(&self, column: Column) -> Vec<&'static str> {
        let own = self.differences.iter().filter(|difference| (difference.of)(column));
        own.flat_map(|difference| difference.refusals).chain(self.refusals).copied().collect()
    }
}

/// A row about a limit that an ordinary user's sandbox may be unable to hold. Then the step is not begun.
pub fn limited(row: Row) -> Row {
    row.differs(|column| !column.by_root, &[NOT_ENFORCED], "an ordinary user may have no control groups")
}

/// The host lacks a limit, says so, and the step is not begun.
pub const NOT_ENFORCED: &str = "not begun";
/// What was attacked could not be made.
pub const NOT_RUN: &str = "not run";

/// Both engines of containers.
pub fn containers(column: Column) -> bool {
    matches!(column.kind, Docker | Podman)
}

/// All but the one with the host's own root.
pub fn images(column: Column) -> bool {
    column.kind != Host
}

pub fn needs_root() -> Option<&'static str> {
    (!nix::unistd::geteuid().is_root()).then_some("only root can make what is attacked")
}

/// A file that can't be written: read-only for its mount, or for Landlock.
pub const NOT_WRITABLE: &[&str] = &["EROFS", "EACCES", "EPERM", "ENOENT"];
pub const HIDDEN: &[&str] = &["ENOENT", "empty", "EACCES", "EPERM"];
pub const ABSENT: &[&str] = &["ENOENT"];
pub const NO_FAMILY: &[&str] = &["EPERM", "EAFNOSUPPORT"];
pub const NO_ENTRY: &[&str] = &["EACCES", "EPERM"];

/// Whether this machine has such a file.
pub fn has(path: &str) -> bool {
    Path::new(path).exists()
}
