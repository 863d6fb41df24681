//! Which value a variable has on a machine: that of the machine, else of its roles, else of the environment.

use std::collections::BTreeMap;

use staith_model::{Name, ReleaseSetting, Secret};
use staith_packager::transform::variables::{Variable, VariableValue};

use super::{RenderError, Scene};

/// Values by the names of variables.
#[derive(Debug)]
pub(super) struct Values {
    by_name: BTreeMap<String, VariableValue>,
    /// What Staith itself tells: in tokens only.
    own: BTreeMap<String, String>,
}

/// A value that a token stands for.
pub(super) enum Found<'v> {
    Plain(&'v str),
    Secret(&'v Secret),
}

impl Values {
    pub(super) fn of(setting: &ReleaseSetting, scene: &Scene<'_>) -> Result<Self, RenderError> {
        let target = scene.target;
        let mut plain = setting.variables.clone();
        plain.extend(of_roles(setting, scene)?);
        plain.extend(target.variables.clone());
        let mut by_name: BTreeMap<_, _> =
            plain.into_iter().map(|(name, value)| (name, VariableValue::Plain(value))).collect();
        for (variable, secret) in &setting.secrets {
            let value = scene.secrets.get(&secret.name).ok_or_else(|| RenderError::NoSecret {
                variable: variable.clone(),
                secret: secret.name.clone(),
            })?;
            if by_name.insert(variable.clone(), VariableValue::Secret(value.clone())).is_some() {
                let (variable, target) = (variable.clone(), target.name.clone());
                return Err(RenderError::SecretAndPlain { variable, target });
            }
        }
        let release = scene.release;
        let own = [
            ("STAITH_ENVIRONMENT", scene.environment.to_string()),
            ("STAITH_PROJECT", release.project.to_string()),
            ("STAITH_RELEASE", release.digest().to_string()),
            ("STAITH_TARGET", target.name.to_string()),
            ("STAITH_VERSION", release.package.version.to_string()),
        ];
        Ok(Self { by_name, own: own.map(|(name, value)| (name.to_owned(), value)).into() })
    }

    /// Values that belong to no release.
    pub(super) fn alone(
        plain: &BTreeMap<String, String>,
        secrets: BTreeMap<String, Secret>,
        own: BTreeMap<String, String>,
    ) -> Self {
        let plain = plain.iter().map(|(name, value)| (name.clone(), VariableValue::Plain(value.clone())));
        let secrets = secrets.into_iter().map(|(name, value)| (name, VariableValue::Secret(value)));
        Self { by_name: plain.chain(secrets).collect(), own }
    }

    pub(super) fn get(&self, name: &str) -> Option<Found<'_>> {
        match self.by_name.get(name) {
            Some(VariableValue::Plain(value)) => Some(Found::Plain(value)),
            Some(VariableValue::Secret(secret)) => Some(Found::Secret(secret)),
            None => self.own.get(name).map(|value| Found::Plain(value)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &VariableValue)> {
        self.by_name.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn plain_names(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|(_, value)| matches!(value, VariableValue::Plain(_))).map(|(name, _)| name)
    }

    /// For settings in JSON and XML. One that is found nowhere may be meant for another file, or for a token.
    pub(super) fn for_settings(&self) -> Vec<Variable> {
        let variable = |(name, value): (&str, &VariableValue)| Variable {
            name: name.to_owned(),
            value: value.clone(),
            optional: true,
        };
        self.iter().map(variable).collect()
    }

    /// Secrets that the service gets in its environment.
    pub(super) fn of_the_process(&self) -> Vec<(String, Secret)> {
        let secret = |(name, value): (&str, &VariableValue)| match value {
            VariableValue::Secret(secret) if ReleaseSetting::is_environment_variable(name) => {
                Some((name.to_owned(), secret.clone()))
            }
            _ => None,
        };
        self.iter().filter_map(secret).collect()
    }
}

/// What the roles of a machine say. Where two disagree, the machine's own value has to decide.
fn of_roles(setting: &ReleaseSetting, scene: &Scene<'_>) -> Result<BTreeMap<String, String>, RenderError> {
    let mut said: BTreeMap<&String, (&Name, &String)> = BTreeMap::new();
    for role in &scene.target.roles {
        for (variable, value) in setting.role_variables.get(role).into_iter().flatten() {
            if let Some((one, other)) = said.get(variable).copied()
                && other != value
                && !scene.target.variables.contains_key(variable)
            {
                return Err(RenderError::RolesDisagree {
                    target: scene.target.name.clone(),
                    one: one.clone(),
                    other: role.clone(),
                    variable: variable.clone(),
                });
            }
            said.insert(variable, (role, value));
        }
    }
    Ok(said.into_iter().map(|(variable, (_, value))| (variable.clone(), value.clone())).collect())
}
