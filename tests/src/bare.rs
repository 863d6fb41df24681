//! A bare repository that people push to, and a clone of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::world::{Said, World};

/// A bare repository and a clone of it with one commit that was pushed.
#[derive(Debug)]
pub struct Bare {
    /// The repository.
    pub path: String,
    /// The clone.
    pub clone: PathBuf,
}

impl Bare {
    /// A repository without a commit.
    ///
    /// # Panics
    /// git is not there.
    pub fn empty(world: &World) -> Self {
        let place = world.scratch();
        git(place, &["init", "--quiet", "--bare", "shop.git"]);
        git(place, &["clone", "--quiet", "shop.git", "clone"]);
        Self { path: place.join("shop.git").display().to_string(), clone: place.join("clone") }
    }

    /// A repository whose first commit has this pipeline.
    ///
    /// # Panics
    /// git is not there.
    pub fn with(world: &World, pipeline: &str) -> Self {
        let made = Self::empty(world);
        fs::create_dir(made.clone.join("src")).unwrap();
        fs::write(made.clone.join("runner.toml"), pipeline).unwrap();
        made.push("one");
        made
    }

    /// Pushes a commit with this text in `src/page.txt`, and with whatever else was changed; its id.
    ///
    /// # Panics
    /// git refuses.
    pub fn push(&self, text: &str) -> String {
        fs::write(self.clone.join("src/page.txt"), text).unwrap();
        self.push_all("main", text)
    }

    /// Pushes a commit of all that is in the clone to a branch, or to another reference; its id.
    ///
    /// # Panics
    /// git refuses.
    pub fn push_all(&self, reference: &str, message: &str) -> String {
        git(&self.clone, &["add", "--all"]);
        git(&self.clone, &["commit", "--quiet", "--allow-empty", "--message", message]);
        git(&self.clone, &["push", "--quiet", "origin", &format!("HEAD:{reference}")]);
        git(&self.clone, &["rev-parse", "HEAD"]).out.trim().to_owned()
    }
}

/// A command of git's.
///
/// # Panics
/// It is not there, or refuses.
pub fn git(place: &Path, words: &[&str]) -> Said {
    let who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "init.defaultBranch=main"];
    let mut git = Command::new("git");
    git.current_dir(place).args(who).args(words).env("GIT_CONFIG_GLOBAL", "/dev/null");
    Said::of(&git.output().expect("git is needed: apt-get install git")).exits(0)
}
