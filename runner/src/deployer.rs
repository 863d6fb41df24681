//! The process that deploys for a server. It has the keys, the secrets and the ledgers of environments; the server has people and what
//! they say. It asks the server what is to be done, and tells what became of it; the server can't ask it anything. A map, in reading order:
//!
//! 1. [`Beginning`]: what its parent tells it, by its standard input. The token is nowhere else.
//! 2. `desk`: what it says to the server, and hears.
//! 3. `office`: what all of its parts have at hand: a home for each project, and what protects which environment now. `recipe`: what a
//!    deployment goes by. `secrets`: those that the server keeps for environments.
//! 4. `making`: a package of the server becomes a release. `orders`: whoever takes an order.
//! 5. `lane`: one environment: `clerk` takes what needs machines to be looked at, `driver` drives deployments, `mirror` tells the server
//!    what the ledger says.
//!
//! It may be killed at any instant. What it was told stays with the server until it has answered, what it did is in the ledgers, and a
//! deployment that is under way is gone on with, from what is there.

mod desk;
mod lane;
mod making;
mod office;
mod orders;
mod recipe;
mod secrets;

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    thread,
    time::Duration,
};

use rustix::process::DumpableBehavior;
use serde::{Deserialize, Serialize};
use staith_model::{Exit, Secret};

use self::{desk::Desk, office::Office};
use crate::{client::Address, home::Home, output::Problem};

/// How long it waits for another deployer of the same server to end.
const LAST_ONE: Duration = Duration::from_secs(30);

/// What it is told when it begins: a line of JSON. When its standard input ends after that, its server is gone, and it ends.
#[derive(Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// Where the server listens, and by what it is known.
    pub(crate) server: Address,
    /// What it proves itself by.
    pub(crate) token: String,
}

/// Deploys until its server is gone.
///
/// # Errors
/// Nobody says for which server; another one has its directory; the server lets it in no more.
pub(crate) async fn run(home: Home) -> Result<Exit, Problem> {
    // Nobody of the same account looks into its memory, or takes what it has open.
    let hidden = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    hidden.map_err(|refused| Problem::bug(format!("this process can't hide its memory: {refused}")))?;
    let beginning = begin()?;
    home.make().map_err(|refused| Problem::unreadable(home.path(), &refused))?;
    let _only = only_one(&home).await?;
    let desk = Desk::new(&beginning.server, Secret::new(&beginning.token))?;
    orders::take(Office::open(home, desk)).await
}

fn begin() -> Result<Beginning, Problem> {
    let nobody = |why: String| {
        Problem::new(Exit::Usage, "nobody says for which server this deploys")
            .with_why(why)
            .with_remedy("it is started by `staith server start`")
    };
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|refused| nobody(refused.to_string()))?;
    let beginning = serde_json::from_str(&line).map_err(|bad| nobody(bad.to_string()))?;
    // A read that blocks: a task would be waited for at the end. What is under way is left as it is, as if this had been killed.
    thread::spawn(|| {
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(i32::from(Exit::Passed.code()));
    });
    Ok(beginning)
}

/// Makes this the only deployer of this home: one whose server was killed may still be ending.
async fn only_one(home: &Home) -> Result<File, Problem> {
    let path = home.path().join("deployer.lock");
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|refused| Problem::unreadable(&path, &refused))?;
    let until = tokio::time::Instant::now() + LAST_ONE;
    while file.try_lock().is_err() {
        if tokio::time::Instant::now() > until {
            return Err(Problem::new(Exit::Environment, "another process deploys for this server")
                .with_why(format!("it holds {}", path.display())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(file)
}
