//! `staith transform`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use staith_model::{Exit, Secret};
use staith_packager::{
    transform::{
        Outcome, Plan, Transform, TransformError, apply,
        variables::{Variable, VariableValue, VariablesError},
        xdt::XdtError,
    },
    xml::{Position, XmlError},
};

use crate::output::{self, OutputMode, Place, Problem};

/// Bring a file of settings into the shape of an environment: XDT transforms, then variables
///
/// --xdt applies a transform of Microsoft's XML Document Transform, such as Web.Release.config, with all of its locators and
/// transforms. Variables are put into JSON by path (ConnectionStrings.Default, servers.0.port), where a number stays a number, and
/// into .NET's configuration files by key, by name of a connection string, or by name of a setting.
///
/// Comments, layout, line ends, encoding and every other byte stay as they are. A transform or a variable that matches nothing is
/// an error, unless it says that it may: xdt:SupressWarnings="true", or --optional. Then nothing is written.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file to change
    file: PathBuf,
    /// Apply this transform file; several are applied in this order
    #[arg(long, value_name = "TRANSFORM")]
    xdt: Vec<PathBuf>,
    /// Put a value where a name leads to
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Put in the value of a variable of the environment, as a secret: NAME, or NAME=VARIABLE where the two have other names
    #[arg(long, value_name = "NAME")]
    set_from_env: Vec<String>,
    /// This name may lead nowhere
    #[arg(long, value_name = "NAME")]
    optional: Vec<String>,
    /// Write the result here, and leave the file as it is
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    what_if: bool,
}

/// Bytes beyond which no file of settings is read.
const MOST: u64 = 32 * 1024 * 1024;

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let done = tokio::task::spawn_blocking(move || self.carry_out());
        let (outcome, summary) = done.await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        output::transformed(&outcome.log, &summary, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }

    fn carry_out(self) -> Result<(Outcome, output::TransformSummary), Problem> {
        let plan = self.plan()?;
        let name = self.file.display().to_string();
        let files = BTreeMap::from([(name.clone(), read(&self.file)?)]);
        let outcome = apply(&files, &plan).map_err(|error| problem(&error))?;
        let to = self.to.as_deref().unwrap_or(&self.file);
        let result = outcome.changed.get(&name);
        let bytes = match (result, &self.to) {
            (Some(bytes), _) => Some(bytes),
            // A new file is wanted even where nothing changes in it.
            (None, Some(_)) => files.get(&name),
            (None, None) => None,
        };
        if let Some(bytes) = bytes.filter(|_| !self.what_if) {
            write(to, &self.file, bytes)?;
        }
        let summary = output::TransformSummary {
            file: name,
            to: to.display().to_string(),
            changed: result.is_some(),
            written: bytes.is_some() && !self.what_if,
        };
        Ok((outcome, summary))
    }

    fn plan(&self) -> Result<Plan, Problem> {
        let name = self.file.display().to_string();
        if self.xdt.is_empty() && self.set.is_empty() && self.set_from_env.is_empty() {
            return Err(Problem::new(Exit::Usage, format!("nothing is to be done with {name}"))
                .with_remedy("give --xdt TRANSFORM, --set NAME=VALUE or --set-from-env NAME"));
        }
        let transform = |path: &PathBuf| {
            Ok(Transform { target: name.clone(), name: path.display().to_string(), bytes: read(path)? })
        };
        let plain =
            self.set.iter().map(|(name, value)| Ok((name.clone(), VariableValue::Plain(value.clone()))));
        let secret = self.set_from_env.iter().map(|given| from_environment(given));
        let variables = plain.chain(secret).collect::<Result<Vec<_>, Problem>>()?;
        if let Some(unknown) =
            self.optional.iter().find(|name| !variables.iter().any(|(known, _)| known == *name))
        {
            return Err(Problem::new(Exit::Usage, format!("--optional names {unknown}, which is not given"))
                .with_remedy("give it with --set or --set-from-env, or correct the name"));
        }
        let variable = |(name, value)| Variable { optional: self.optional.contains(&name), name, value };
        Ok(Plan {
            transforms: self.xdt.iter().map(transform).collect::<Result<_, Problem>>()?,
            variables: variables.into_iter().map(variable).collect(),
            substitute_in: vec![name.clone()],
        })
    }
}

fn pair(given: &str) -> Result<(String, String), String> {
    match given.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn from_environment(given: &str) -> Result<(String, VariableValue), Problem> {
    let (name, variable) = given.split_once('=').unwrap_or((given, given));
    // Its value may be a secret, so that nothing of it is told.
    let value = std::env::var_os(variable).map(std::ffi::OsString::into_string);
    let why = match value {
        Some(Ok(value)) => return Ok((name.to_owned(), VariableValue::Secret(Secret::new(value)))),
        Some(Err(_)) => format!("the variable {variable} of the environment is not UTF-8 text"),
        None => format!("the environment has no variable {variable}"),
    };
    Err(Problem::new(Exit::Configuration, format!("there is no value for {name}"))
        .with_why(why)
        .with_remedy("set the variable, or name another one: --set-from-env NAME=VARIABLE"))
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let refused = |error: &io::Error| Problem::unreadable(path, error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| refused(&error))?;
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| refused(&error))?;
    Ok(bytes)
}

/// Writes a file whole or not at all, with the permissions of the one that it was made from or takes the place of. A link stays
/// one: what it leads to is written.
fn write(to: &Path, from: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let refused = |error: io::Error| {
        Problem::new(Exit::Environment, format!("{} can't be written", to.display()))
            .with_why(error.to_string())
            .with_remedy("make room, or give --to with a place that can be written to")
    };
    let place = fs::canonicalize(to).unwrap_or_else(|_| to.to_path_buf());
    let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(bytes)?;
        let permissions = fs::metadata(&place).or_else(|_| fs::metadata(from))?.permissions();
        file.as_file().set_permissions(permissions)?;
        file.as_file().sync_all()?;
        file.persist(&place)?;
        File::open(directory)?.sync_all()
    };
    attempt().map_err(refused)
}

/// What can't be done, with its place. The line itself is not shown: it may hold a password.
fn problem(error: &TransformError) -> Problem {
    let at = |file: &str, at: &Position| {
        let number = |number: u32| Some(number as usize);
        Some(Box::new(Place {
            file: file.to_owned(),
            line: number(at.line),
            column: number(at.column),
            ..Place::default()
        }))
    };
    let of_xml = |file: &str, error: &XmlError| match error {
        XmlError::NotWellFormed { at: place, why } => (at(file, place), why.clone()),
        XmlError::TooDeep { at: place, .. } => (at(file, place), error.to_string()),
        _ => (None, error.to_string()),
    };
    let (what, (place, why)) = match error {
        TransformError::Xdt { file, by, error } => (
            format!("{by} can't be applied to {file}; nothing was written"),
            match error {
                XdtError::Transform { at: place, fault } => (at(by, place), fault.to_string()),
                XdtError::TransformFile(error) => of_xml(by, error),
                XdtError::Target(error) => of_xml(file, error),
            },
        ),
        TransformError::Text { file, error } => {
            (format!("{file} can't be changed; nothing was written"), of_xml(file, error))
        }
        TransformError::Variables { file, error } => (
            format!("the variables can't be put into {file}; nothing was written"),
            match error {
                VariablesError::Json { at: place, why } => {
                    (at(file, place), format!("it is not JSON: {why}"))
                }
                VariablesError::Xml(error) => of_xml(file, error),
                VariablesError::Type { at: place, name, there } => {
                    (at(file, place), format!("`{name}` is {there} there, and the value given is none"))
                }
                VariablesError::Nested { .. } => (None, error.to_string()),
            },
        ),
        _ => ("nothing was written".to_owned(), (None, error.to_string())),
    };
    Problem { what, place, why: Some(why), remedy: None, exit: Exit::Configuration }
}
