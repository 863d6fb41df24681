//! What cloud-init is told: a template in which `#{NAME}#` stands for values. Pure.

use std::collections::BTreeMap;

use staith_model::{Name, Provision, RelPath, Secret};
use zeroize::Zeroizing;

use super::{super::render::user_data_text, ProvisionError};

/// The user data of a machine: the template with the provision's variables and secrets in it, and `STAITH_PROJECT`,
/// `STAITH_ENVIRONMENT` and `STAITH_TARGET`. Values are escaped for YAML: none of them can end the text or the line that it is in.
///
/// # Errors
/// A token names nothing, or a value can't stand where its token is. No error holds the value of a secret.
pub fn user_data(
    template: &str,
    text: &str,
    provision: &Provision,
    (project, environment, machine): (&Name, &Name, &Name),
    secrets: &BTreeMap<String, Secret>,
) -> Result<Zeroizing<String>, ProvisionError> {
    let wrong = |why: String| ProvisionError::UserData { template: template.to_owned(), why };
    let file = RelPath::try_from(template).map_err(|_| wrong("its name can't be kept".into()))?;
    let mut hidden = BTreeMap::new();
    for (variable, secret) in &provision.secrets {
        let value = secrets
            .get(secret)
            .ok_or_else(|| ProvisionError::NoSecret { variable: variable.clone(), secret: secret.clone() })?;
        hidden.insert(variable.clone(), value.clone());
    }
    let own = [("STAITH_PROJECT", project), ("STAITH_ENVIRONMENT", environment), ("STAITH_TARGET", machine)];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_string())).into();
    user_data_text(&file, text, &provision.variables, hidden, own).map_err(|error| wrong(error.to_string()))
}
