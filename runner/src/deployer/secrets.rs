//! Secrets of environments that the server keeps. They are asked for by name, each time for a release, so that the server can say whose
//! code gets them; what was given is in this process's memory and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use staith_builder::redact::Masker;
use staith_model::{Exit, FleetEnvironment, Name, Secret};
use staith_server::{
    secrets::ReleaseSecrets,
    store::{ReleaseSecretsAsked, SecretsOf},
};

use super::office::Office;
use crate::{fleet::secret_names, output::Problem};

/// What the server gave: by project, environment and name.
#[derive(Default)]
pub(super) struct Keyring(Mutex<BTreeMap<(Name, Name, Name), Had>>);

/// A value, and by what the server tells it from others.
struct Had {
    version: String,
    value: Secret,
}

/// What an environment names and the server keeps.
#[derive(Default)]
pub(super) struct Kept {
    /// By their names.
    pub(super) given: BTreeMap<String, Secret>,
    /// What is not for this release.
    pub(super) withheld: BTreeSet<Name>,
}

impl Office {
    /// The secrets that an environment names, for a release there, as far as the server keeps them.
    ///
    /// # Errors
    /// The server can't be asked, or can't read them.
    pub(super) async fn secrets(
        &self,
        project: &Name,
        environment: &FleetEnvironment,
        of: SecretsOf,
    ) -> Result<Kept, Problem> {
        // What a server's secret can't be called is set beside the server only.
        let names: BTreeSet<Name> =
            secret_names(environment).iter().filter_map(|name| name.parse().ok()).collect();
        if names.is_empty() {
            return Ok(Kept::default());
        }
        let place = (project, &environment.name);
        let known = self.keyring.versions(place, &names);
        let asked = ReleaseSecretsAsked {
            project: project.clone(),
            environment: environment.name.clone(),
            of,
            names: names.clone(),
            known,
        };
        let told = self.desk.secrets(&asked).await?;
        Ok(self.keyring.take(place, &names, told))
    }
}

impl Keyring {
    /// Which values are here.
    fn versions(
        &self,
        (project, environment): (&Name, &Name),
        names: &BTreeSet<Name>,
    ) -> BTreeMap<Name, String> {
        let had = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let version = |name: &Name| {
            let had = had.get(&(project.clone(), environment.clone(), name.clone()))?;
            Some((name.clone(), had.version.clone()))
        };
        names.iter().filter_map(version).collect()
    }

    /// Takes what the server says of these names. What it has no more, or gives no more, is forgotten.
    fn take(
        &self,
        (project, environment): (&Name, &Name),
        names: &BTreeSet<Name>,
        told: ReleaseSecrets,
    ) -> Kept {
        let ReleaseSecrets { mut given, same, withheld } = told;
        let mut had = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Kept { given: BTreeMap::new(), withheld };
        for name in names {
            let key = (project.clone(), environment.clone(), name.clone());
            if let Some(new) = given.remove(name) {
                had.insert(key.clone(), Had { version: new.version, value: Secret::new(new.value) });
            } else if !same.contains(name) {
                had.remove(&key);
            }
            kept.given.extend(had.get(&key).map(|had| (name.to_string(), had.value.clone())));
        }
        kept
    }

    /// A text for people, without any value that is here.
    pub(super) fn masked(&self, text: &str) -> String {
        let had = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What is too short to be masked was let in by who set it past the command line.
        let values = had.iter().map(|((project, environment, name), had)| {
            (format!("{project}/{environment}/{name}"), had.value.clone())
        });
        let values = values.filter(|(name, value)| Masker::admits(name, value).is_ok()).collect();
        Masker::new(&values).map_or_else(|_| text.to_owned(), |masker| masker.text(text).into_owned())
    }
}

/// The release must not have a secret that the environment gives it.
pub(super) fn withheld(environment: &Name, secret: &Name) -> Problem {
    Problem::new(
        Exit::Configuration,
        format!("the secret `{secret}` of `{environment}` is not for this release"),
    )
    .with_why(
        "it is for releases of protected branches and tags only, and no code of those that goes there has made this one",
    )
    .with_remedy("release a run of a protected branch or tag; or an administrator sets the secret without `--protected`")
}

/// A secret that an environment names is set nowhere.
pub(super) fn not_set((environment, variable, secret): &(Name, String, String), project: &Name) -> Problem {
    let what =
        format!("environment `{environment}` gives `{variable}` the secret `{secret}`, which is not set");
    Problem::new(Exit::Configuration, what).with_remedy(format!(
        "an administrator sets it: `staith secret set {secret} --server URL --project {project} --environment {environment}`"
    ))
}

#[cfg(test)]
mod tests {
    use staith_server::secrets::GivenSecret;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn told(given: &[(&str, &str)], same: &[&str], withheld: &[&str]) -> ReleaseSecrets {
        let names = |texts: &[&str]| texts.iter().map(|text| name(text)).collect();
        let given = given.iter().map(|(secret, value)| {
            let version = format!("version of {value}");
            (name(secret), GivenSecret { version, value: (*value).to_owned() })
        });
        ReleaseSecrets { given: given.collect(), same: names(same), withheld: names(withheld) }
    }

    #[test]
    fn what_is_here_is_what_the_server_gives_now() {
        let (keyring, names) = (Keyring::default(), [name("db"), name("key")].into());
        let (shop, production, qa) = (name("shop"), name("production"), name("qa"));
        let at = (&shop, &production);
        let first =
            keyring.take(at, &names, told(&[("db", "swordfish-7"), ("key", "swordfish-8")], &[], &[]));
        assert_eq!(first.given["db"], Secret::new("swordfish-7"));
        assert_eq!(keyring.versions(at, &names)[&name("db")], "version of swordfish-7");
        assert!(keyring.versions((&shop, &qa), &names).is_empty(), "another environment has others");
        // Known ones are not given again, others are not had any more.
        let second = keyring.take(at, &names, told(&[], &["db"], &["key"]));
        assert_eq!(second.given, [("db".to_owned(), Secret::new("swordfish-7"))].into());
        assert_eq!(second.withheld, [name("key")].into());
        let gone = keyring.take(at, &names, told(&[], &[], &[]));
        assert!(gone.given.is_empty() && keyring.versions(at, &names).is_empty());
    }

    #[test]
    fn nothing_that_is_here_is_said() {
        let keyring = Keyring::default();
        let (shop, production) = (name("shop"), name("production"));
        keyring.take((&shop, &production), &[name("db")].into(), told(&[("db", "swordfish-7")], &[], &[]));
        assert_eq!(keyring.masked("no user `x` by swordfish-7"), "no user `x` by ***");
    }
}
