//! A project that is released to two pools on this machine, kept running by Staith's own program.

use std::{net::SocketAddr, path::Path};

const PIPELINE: &str = r#"
name = "NAME"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp serve word.txt dist/; chmod +x dist/serve"
inputs = ["serve", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.production]
targets = [
    { local = true, name = "blue", pool = "blue", serves-at = "BLUE" },
    { local = true, name = "green", pool = "green", serves-at = "GREEN" },
]
folder = "PLACE/production"
service = { run = ["./serve"], supervisor = "staith" }
health = { path = "/healthz", header = "x-staith-release", deadline = "60s", successes = SUCCESSES }
strategy = { blue-green = { pools = ["blue", "green"] } }
"#;

/// What a scenario chooses of such a project.
#[derive(Debug, Clone, Copy)]
pub struct Pools<'a> {
    /// What the project is called.
    pub name: &'a str,
    /// Where blue and green listen.
    pub at: [SocketAddr; 2],
    /// The folder below which releases are.
    pub place: &'a Path,
    /// Good answers in a row that are asked for.
    pub successes: u32,
    /// More lines of the environment: who balances, at least.
    pub more: &'a str,
}

impl Pools<'_> {
    /// Its `runner.toml`.
    pub fn pipeline(&self) -> String {
        let [blue, green] = self.at;
        let pipeline = PIPELINE
            .replace("NAME", self.name)
            .replace("BLUE", &blue.to_string())
            .replace("GREEN", &green.to_string())
            .replace("PLACE", &self.place.display().to_string())
            .replace("SUCCESSES", &self.successes.to_string());
        format!("{pipeline}{}\n", self.more)
    }
}
