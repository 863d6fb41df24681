//! `staith key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use staith_model::Exit;
use staith_packager::seal::key::{Keys, PublicKey};

use super::vouching::public_key;
use crate::{
    home::Home,
    output::{self, OutputMode, Problem},
};

/// Show this machine's key for signatures, and say whose signatures count
///
/// What runs make is signed with a key of Ed25519 that Staith makes once, in its home, for its owner only; steps can't read it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the public key, which others may trust
    Show,
    /// List the keys whose signatures count here
    List,
    /// Trust a key from now on
    Trust {
        /// A file with a public key, as `staith key show` prints it
        file: PathBuf,
    },
    /// Trust a key no longer
    Distrust {
        /// The id of the key, or its beginning
        id: String,
    },
}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let keys = Keys::in_directory(&home.keys());
        let told = match self.what {
            What::Show => {
                home.make().map_err(|refused| {
                    Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
                        .with_why(refused.to_string())
                        .with_remedy("set STAITH_HOME to a directory of your own")
                })?;
                output::public_key(&keys.own()?.public(), mode)
            }
            What::List => output::trusted_keys(&keys.trusted()?, mode),
            What::Trust { file } => {
                let key = public_key(&file)?;
                keys.trust(&key)?;
                output::key_trusted(&key, true, mode)
            }
            What::Distrust { id } => {
                let key = the_one(&keys.added()?, &id)?;
                keys.distrust(&key)?;
                output::key_trusted(&key, false, mode)
            }
        };
        told.map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// The key whose id begins so.
fn the_one(keys: &[PublicKey], id: &str) -> Result<PublicKey, Problem> {
    let found: Vec<&PublicKey> = keys.iter().filter(|key| key.id().starts_with(id)).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        found => {
            Err(Problem::new(Exit::Usage, format!("{} trusted keys have an id that begins so", found.len()))
                .with_remedy("`staith key list` shows the ids; this machine's own key is always trusted"))
        }
    }
}
