//! The secrets of one run.

use std::collections::BTreeMap;

use staith_model::{Plan, Secret};

use super::{NotASecretName, SecretName, Secrets, SecretsError, Use, uses, withheld};
use crate::redact::{Masker, Unmaskable};

/// All secrets that a plan's steps name, and what masks them. A step gets its own only; what any step writes is masked for
/// all, because one may leave a secret where another finds it.
#[derive(Debug, Clone, Default)]
pub struct Supply {
    values: BTreeMap<String, Secret>,
    masker: Masker,
}

/// Why a run can't have its secrets. Nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum Unsupplied {
    /// The run was set off by a pull request.
    #[error("{}; a pull request gets no secrets", .0.iter().map(Use::to_string).collect::<Vec<_>>().join("; "))]
    Withheld(Vec<Use>),
    /// They are nowhere.
    #[error("{}; there is no such secret here", .missing.iter().map(Use::to_string).collect::<Vec<_>>().join("; "))]
    Missing {
        /// Who wants what.
        missing: Vec<Use>,
        /// How to set the first of them, for each place where it may be.
        how_to_set: Vec<String>,
    },
    /// A name that no secret can have.
    #[error("step or service `{by}`: {source}")]
    Name {
        /// Who wants it.
        by: staith_model::Name,
        /// What is wrong with the name.
        source: NotASecretName,
    },
    /// One that can't be masked.
    #[error(transparent)]
    Unmaskable(#[from] Unmaskable),
    /// They can't be read.
    #[error(transparent)]
    Unreadable(#[from] SecretsError),
}

impl Unsupplied {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Withheld(_) => {
                "leave such steps out of pull requests with `when` in runner.toml: they run once \
                                  the change is merged"
                    .to_owned()
            }
            Self::Missing { how_to_set, .. } => how_to_set.join(", or "),
            Self::Name { .. } => "correct `secrets` in runner.toml".to_owned(),
            Self::Unmaskable(error) => error.remedy().to_owned(),
            Self::Unreadable(error) => error.remedy(),
        }
    }

    /// Whether this is for the pipeline or the secrets to mend, and not for the machine.
    pub const fn is_configuration(&self) -> bool {
        !matches!(self, Self::Unreadable(SecretsError::System { .. }))
    }
}

impl Supply {
    /// Finds all secrets that a plan's steps name; of several sources that have one, the first gives it. Cancel-safe.
    ///
    /// # Errors
    /// One is nowhere, can't be read or can't be masked; or the plan is a pull request's, which gets none.
    pub async fn gather(plan: &Plan, sources: &[&dyn Secrets]) -> Result<Self, Unsupplied> {
        let withheld = withheld(plan);
        if !withheld.is_empty() {
            return Err(Unsupplied::Withheld(withheld));
        }
        let (mut values, mut missing, mut how_to_set) = (BTreeMap::new(), Vec::new(), Vec::new());
        for wanted in uses(plan) {
            if values.contains_key(&wanted.secret) {
                continue;
            }
            let name: SecretName =
                wanted.secret.parse().map_err(|source| Unsupplied::Name { by: wanted.by.clone(), source })?;
            match first(sources, &name).await? {
                Some(secret) => {
                    values.insert(wanted.secret, secret);
                }
                None => {
                    if missing.is_empty() {
                        how_to_set = sources.iter().map(|source| source.how_to_set(&name)).collect();
                    }
                    missing.push(wanted);
                }
            }
        }
        if missing.is_empty() {
            Ok(Self::new(values)?)
        } else {
            Err(Unsupplied::Missing { missing, how_to_set })
        }
    }

    /// The supply of these secrets, by name.
    ///
    /// # Errors
    /// One of them can't be masked.
    pub fn new(values: BTreeMap<String, Secret>) -> Result<Self, Unmaskable> {
        Ok(Self { masker: Masker::new(&values)?, values })
    }

    /// What masks all of them.
    pub const fn masker(&self) -> &Masker {
        &self.masker
    }

    /// The variables of one step or service, of which `wanted` says which secret each holds.
    pub fn variables(&self, wanted: &BTreeMap<String, String>) -> BTreeMap<String, Secret> {
        let value = |(variable, secret): (&String, &String)| {
            Some((variable.clone(), self.values.get(secret)?.clone()))
        };
        wanted.iter().filter_map(value).collect()
    }
}

async fn first(sources: &[&dyn Secrets], name: &SecretName) -> Result<Option<Secret>, SecretsError> {
    for source in sources {
        if let Some(secret) = source.find(name).await? {
            return Ok(Some(secret));
        }
    }
    Ok(None)
}
