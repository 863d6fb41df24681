//! A provider's options: the one place in a package where its settings are, and a second place where its path is.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use serde::Serialize;

use super::nrbf;

/// Most bytes that options inflate to. Real ones have some 400.
const LONGEST: u64 = 1 << 20;

/// What a provider was told when the package was made, decoded without executing anything of it.
///
/// Web Deploy itself takes the path in here for the provider's, whatever the visible attribute and the parameters say; a
/// package in which the two differ is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProviderOptions {
    /// The provider's name.
    pub provider: Option<String>,
    /// The path that Web Deploy goes by.
    pub path: Option<String>,
    /// Settings by name, in the order in which they are written.
    pub settings: Vec<Setting>,
}

/// One setting of a provider, such as `managedRuntimeVersion`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The setting.
    pub name: String,
    /// What it is set to.
    pub value: Option<String>,
}

/// Decodes the text of `MSDeploy.MSDeployProviderOptions`, or says why it can't be.
pub(super) fn decode(text: &str) -> Result<ProviderOptions, &'static str> {
    let packed = STANDARD.decode(text).map_err(|_| "it is not base64")?;
    let mut bytes = Vec::new();
    let mut gzip = GzDecoder::new(packed.as_slice());
    gzip.by_ref().take(LONGEST + 1).read_to_end(&mut bytes).map_err(|_| "it is not gzip")?;
    if bytes.len() as u64 > LONGEST {
        return Err("it inflates to more than 1 MiB");
    }
    if !gzip.into_inner().is_empty() {
        return Err("something follows its gzip stream");
    }
    let nrbf::Options { provider, path, settings } = nrbf::read(&bytes)?;
    let settings = settings.into_iter().map(|(name, value)| Setting { name, value }).collect();
    Ok(ProviderOptions { provider, path, settings })
}
