//! A project that is released to machines: two environments, of which one also has a machine that nobody answers at.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::world::World;

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp ring check word.txt dist/; chmod +x dist/ring dist/check"
inputs = ["ring", "check", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.qa]
targets = [{ local = true, name = "here", roles = ["web"], tags = ["small"] }]
folder = "PLACE/qa"
service = { restart = ["./ring"] }
render = ["word.txt"]
variables = { GREETING = "hello qa" }
hooks = [{ name = "check", at = "after-switch", run = ["./check"], timeout = "20s" }]

[environments.production]
targets = [{ local = true, name = "here" }, { host = "127.0.0.1", port = 1, name = "gone" }]
folder = "PLACE/production"
service = { restart = ["./ring"] }
render = ["word.txt"]
variables = { GREETING = "hello production" }
"#;

/// The project with a world of its own. `qa` has the machine `here`, which is this one; `production` has another `here`, and `gone`, at
/// whose address nothing listens. A word of which `sick` is a part fails the smoke test of `qa`.
#[derive(Debug)]
pub struct Bell {
    /// Its world.
    pub world: World,
    place: TempDir,
}

impl Bell {
    /// The project, of which nothing is released yet.
    ///
    /// # Panics
    /// The system refused.
    pub fn new() -> Self {
        // Where releases live is no folder of the system, and what is below /tmp is gone after a start of the machine.
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let world = World::new();
        let config = world.scratch().join("ssh_config");
        fs::write(&config, "").unwrap();
        let world = world.with_env("STAITH_SSH_CONFIG", &config.display().to_string());
        world.write("runner.toml", &PIPELINE.replace("PLACE", &place.path().display().to_string()));
        world.write("ring", "#!/bin/sh\necho \"$(cat word.txt)\" >> \"$STAITH_FOLDER/rung\"\n");
        world.write("check", "#!/bin/sh\n! grep -q sick word.txt\n");
        Self { world, place }
    }

    /// Commits this word with this message, and makes a package and a release of it; the release's digest in hexadecimal digits.
    ///
    /// # Panics
    /// It could not be made.
    pub fn release(&self, word: &str, message: &str) -> String {
        self.world.write("word.txt", &format!("{word} #{{GREETING}}#\n"));
        self.world.commit(message);
        self.world.staith(&["run"]).exits(0);
        let made = self.world.staith(&["release", "create", "--json"]).exits(0).values().remove(0);
        made["release"].as_str().unwrap().trim_start_matches("sha256:").to_owned()
    }

    /// Brings the latest release to an environment.
    ///
    /// # Panics
    /// It could not be brought there.
    pub fn deploy(&self, environment: &str) {
        self.world.staith(&["release", "deploy", "--to", environment]).exits(0);
    }

    /// A file or folder below the folder of an environment.
    pub fn at(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}
