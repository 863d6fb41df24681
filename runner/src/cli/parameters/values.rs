//! Values for a package's parameters, as several commands take them.

use std::{fs, path::PathBuf};

use clap::Args;
use staith_builder::secrets::{Environment, SecretName, Secrets as _, SecretsFile};
use staith_model::{Exit, Secret};
use staith_packager::parameters::{Declarations, Mistakes, Parameter, ResolveErrors, Unresolved, Values};

use crate::{
    home::Home,
    output::{Place, Problem},
};

/// Where values come from.
#[derive(Debug, Args)]
pub(crate) struct ValueArguments {
    /// Take values from a SetParameters.xml; of several files, later ones come first
    #[arg(long = "set-file", value_name = "FILE")]
    set_files: Vec<PathBuf>,
    /// Set a parameter, as in --set "Shop Name=Lantern Lane"
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

impl ValueArguments {
    /// Whether nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.set_files.is_empty() && self.set.is_empty()
    }

    /// Reads the files and the command line, and looks up the secrets that they leave open.
    ///
    /// # Errors
    /// A file is not there (64), can't be read (30) or is wrong (20), or a setting is none (64).
    pub(crate) async fn gather(&self, declared: &Declarations) -> Result<Values, Problem> {
        let mut values = Values::default();
        for file in &self.set_files {
            let name = file.display().to_string();
            let bytes = fs::read(file).map_err(|refused| Problem::unreadable(file, &refused))?;
            values.add_file(&bytes, &name).map_err(|mistakes| wrong_file(&name, &mistakes))?;
        }
        for setting in &self.set {
            values.set(setting, declared).map_err(|bad| Problem::new(Exit::Usage, bad.to_string()))?;
        }
        for parameter in declared.parameters() {
            if !values.has(&parameter.name)
                && let Some(secret) = kept(parameter.secret_name()).await?
            {
                values.set_secret(&parameter.name, secret);
            }
        }
        Ok(values)
    }
}

/// The secret of a name, from this process's environment or from Staith's home.
async fn kept(name: Option<String>) -> Result<Option<Secret>, Problem> {
    let Some(name) = name.and_then(|name| name.parse::<SecretName>().ok()) else { return Ok(None) };
    if let Some(secret) = Environment::of_this_process().find(&name).await? {
        return Ok(Some(secret));
    }
    Ok(SecretsFile::in_directory(Home::find()?.path()).find(&name).await?)
}

fn wrong_file(file: &str, mistakes: &Mistakes) -> Problem {
    let place = mistakes.0.first().map(|first| {
        let number = |number: u32| usize::try_from(number).ok();
        let (line, column) = (number(first.line), number(first.column));
        Box::new(Place { file: file.to_owned(), line, column, ..Place::default() })
    });
    let problem = Problem::new(Exit::Configuration, format!("{file} can't be used as values for parameters"));
    Problem {
        place,
        ..problem.with_why(mistakes.to_string()).with_remedy(
            "correct it; `staith parameters PACKAGE --write-set-file FILE` writes one to fill in",
        )
    }
}

/// What is wrong with the values of a package's parameters. Secrets are asked for where they are kept out of sight: a command line
/// stays in the shell's history, and everybody on the machine can read it.
pub(crate) fn unresolved(errors: &ResolveErrors, declared: &Declarations) -> Problem {
    let mut remedies = Vec::new();
    let mut is_any_plain = false;
    for error in &errors.0 {
        let name = match error {
            Unresolved::NoValue(name) | Unresolved::Empty { name, .. } | Unresolved::Invalid { name, .. } => {
                name
            }
            Unresolved::Unknown { .. } | Unresolved::Circle(_) | Unresolved::TooLong(_) => continue,
        };
        let secret = declared.get(name).and_then(Parameter::secret_name);
        match secret.and_then(|secret| secret.parse::<SecretName>().ok()) {
            Some(secret) => remedies.push(format!(
                "keep `{name}` as a secret: `staith secret set {secret}`, or the variable {}",
                secret.variable()
            )),
            None => is_any_plain = true,
        }
    }
    if is_any_plain || remedies.is_empty() {
        remedies.push("set values with --set NAME=VALUE or --set-file FILE".to_owned());
    }
    Problem::new(Exit::Configuration, "the package's parameters can't have these values")
        .with_why(errors.to_string())
        .with_remedy(remedies.join("\n"))
}
