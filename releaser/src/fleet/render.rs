//! Files of a package that get the values of an environment, a role and a machine. Pure, but for reading the package.
//!
//! What is done to a file, in this order, so that no value that is put in is ever read as an instruction:
//!
//! 1. XDT transforms by convention: `web.production.config` onto `web.config`.
//! 2. `tokens`: `#{NAME}#` in any text file, escaped for what stands around it.
//! 3. Variables by their names, in JSON and XML.
//! 4. The package's own parameters, in all files that they are about.
//!
//! `values` decides which value a variable has on a machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::Write,
    sync::Arc,
};

use staith_model::{Digest, Entry, FleetRelease, Manifest, Name, RelPath, Secret, Service, Target};
use staith_packager::parameters::Declarations;
use zeroize::Zeroizing;

use super::machine::Load;
use crate::host::PackageFiles;

mod error;
mod file;
mod globs;
#[cfg(test)]
mod tests;
mod tokens;
mod values;
mod yaml;

pub use error::{MissingToken, RenderError};
pub use globs::Globs;
pub use tokens::escaped;
use values::Values;

/// For what a release is rendered.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The release.
    pub release: &'a FleetRelease,
    /// The environment.
    pub environment: &'a Name,
    /// The machine.
    pub target: &'a Target,
    /// Secrets by their names.
    pub secrets: &'a BTreeMap<String, Secret>,
    /// What the package lets one set.
    pub declarations: &'a Declarations,
}

/// The bytes of a rendered file. They may hold secrets: nothing of them is shown, and they are wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(Arc<Zeroizing<Vec<u8>>>);

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}

/// A release as one machine gets it.
#[derive(Debug, Clone)]
pub struct Rendered {
    release: Digest,
    /// The package's files, with those in place of them that were rendered.
    pub manifest: Arc<Manifest>,
    /// Files whose bytes are others than the package's.
    pub contents: BTreeMap<RelPath, Content>,
    /// Files that hold secrets.
    pub private: BTreeSet<RelPath>,
    /// Variables that were put nowhere: perhaps misspelt.
    pub unused: BTreeSet<String>,
    service: Service,
    secrets: Vec<(String, Secret)>,
}

impl Rendered {
    /// What the machine needs to hold and run the release.
    pub fn load(&self) -> Load {
        Load {
            every_byte: false,
            release: self.release,
            manifest: Arc::clone(&self.manifest),
            service: self.service.clone(),
            secrets: self.secrets.clone(),
            private: self.private.clone(),
        }
    }
}

/// Renders a release for a machine. Reads only those files of the package that it has to; blocks meanwhile.
///
/// # Errors
/// The release does not go to this environment, a secret is missing, two roles contradict each other, a file can't be read, a token
/// or a value is wrong. No error holds the value of a secret.
pub fn render(files: &dyn PackageFiles, scene: &Scene<'_>) -> Result<Rendered, RenderError> {
    let setting = scene.release.settings.get(scene.environment);
    let setting =
        setting.ok_or_else(|| RenderError::OtherEnvironment { environment: scene.environment.clone() })?;
    let values = Values::of(setting, scene)?;
    let globs = Globs::new(&setting.rendered)?;
    let work = file::Work::new(files, &values, scene, &globs)?;
    let done = work.all()?;
    let mut manifest = files.manifest().clone();
    for (path, content) in &done.contents {
        if let Some(Entry::File { size, digest, .. }) = manifest.entries.get_mut(path) {
            *size = u64::try_from(content.as_bytes().len()).unwrap_or(u64::MAX);
            *digest = Digest::of(content.as_bytes());
        }
    }
    let service = service(&setting.service, &values, setting.port_on(scene.target), &mut |name| {
        done.used.borrow_mut().insert(name.to_owned())
    })?;
    let used = done.used.into_inner();
    Ok(Rendered {
        release: scene.release.digest(),
        manifest: Arc::new(manifest),
        contents: done.contents,
        private: done.private,
        unused: values.plain_names().filter(|name| !used.contains(*name)).map(str::to_owned).collect(),
        service,
        secrets: values.of_the_process(),
    })
}

/// A text for cloud-init with values in it, escaped for YAML. Variables that are plain, secrets by the variables' names, and what
/// Staith itself tells.
///
/// # Errors
/// A token names nothing, or a value can't stand where its token is.
pub(in crate::fleet) fn user_data_text(
    file: &RelPath,
    text: &str,
    plain: &BTreeMap<String, String>,
    secrets: BTreeMap<String, Secret>,
    own: BTreeMap<String, String>,
) -> Result<Zeroizing<String>, RenderError> {
    let values = Values::alone(plain, secrets, own);
    let expanded = tokens::expand(file, text, tokens::Context::Yaml, &values)?;
    match expanded.missing.is_empty() {
        true => Ok(expanded.text),
        false => Err(RenderError::Missing { tokens: expanded.missing }),
    }
}

/// The service with values in its environment.
fn service(
    service: &Service,
    values: &Values,
    port: Option<u16>,
    used: &mut dyn FnMut(&str) -> bool,
) -> Result<Service, RenderError> {
    let mut service = service.clone();
    if let (Service::Supervised { env, .. }, Some(port)) = (&mut service, port) {
        env.entry("PORT".into()).or_insert_with(|| port.to_string());
    }
    if let Some(env) = service.env_mut() {
        for (name, text) in env {
            *text = tokens::in_environment(name, text, values, used)?;
        }
    }
    Ok(service)
}

/// A package's files with rendered ones in place of some of them.
pub struct RenderedFiles {
    package: Arc<dyn PackageFiles>,
    rendered: Arc<Rendered>,
}

impl RenderedFiles {
    /// The files of `package` as `rendered` has them, which was rendered from this package.
    pub fn new(package: Arc<dyn PackageFiles>, rendered: Arc<Rendered>) -> Self {
        Self { package, rendered }
    }
}

impl PackageFiles for RenderedFiles {
    fn manifest(&self) -> &Manifest {
        &self.rendered.manifest
    }

    fn copy_file(
        &self,
        path: &RelPath,
        to: &mut dyn Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match self.rendered.contents.get(path) {
            Some(content) => Ok(to.write_all(content.as_bytes())?),
            None => self.package.copy_file(path, to),
        }
    }
}
