//! Secrets of a project on a server.

use std::io;

use staith_builder::secrets::SecretName;
use staith_model::{Exit, Name};
use staith_server::{
    secrets::{Resealed, Rotated, RotationAsked, SecretAsked},
    store::SecretSeen,
};

use super::{What, value};
use crate::{
    client::people::People,
    output::{self, OutputMode, Problem},
};

pub(super) async fn obey(
    people: &People,
    project: Option<Name>,
    what: What,
    mode: OutputMode,
) -> Result<io::Result<()>, Problem> {
    let Some(project) = project else {
        if let What::Rotate { name: None, .. } = what {
            let told: Resealed = people.post("/api/v1/secrets/rotate", &serde_json::json!({})).await?;
            return Ok(output::secrets_resealed(told.secrets, mode));
        }
        return Err(Problem::new(Exit::Usage, "secrets on a server belong to a project, and none is named")
            .with_remedy("name it: --project NAME"));
    };
    let path = format!("/api/v1/projects/{project}/secrets");
    Ok(match what {
        What::Set { name, protected, environment } => {
            let name = named(&name)?;
            let value = value(name.as_str())?.expose_to(str::to_owned);
            people.put(&format!("{path}/{name}"), &SecretAsked { value, protected, environment }).await?;
            output::secret_set(name.as_str(), mode)
        }
        What::List => {
            let seen: Vec<SecretSeen> = people.all(&path, "secrets").await?;
            output::server_secrets(&seen, mode)
        }
        What::Remove { name, environment } => {
            let name = named(&name)?;
            let part = environment.map(|name| format!("?environment={name}")).unwrap_or_default();
            people.delete(&format!("{path}/{name}{part}")).await?;
            output::secret_removed(name.as_str(), mode)
        }
        What::Rotate { name: Some(name), environment } => {
            let value = value(name.as_str())?.expose_to(str::to_owned);
            let asked = RotationAsked { value, environment };
            let told: Rotated = people.post(&format!("{path}/{name}/rotate"), &asked).await?;
            output::secret_rotated(name.as_str(), told.version, mode)
        }
        What::Rotate { name: None, .. } => {
            return Err(Problem::new(Exit::Usage, "a new key is one for all projects of the server")
                .with_remedy("leave --project out, or name the secret that is to get another value"));
        }
    })
}

fn named(name: &SecretName) -> Result<Name, Problem> {
    name.as_str().parse().map_err(|bad: staith_model::NotAName| {
        Problem::new(Exit::Usage, format!("a server's secret can't be called {name}"))
            .with_why(bad.to_string())
    })
}
