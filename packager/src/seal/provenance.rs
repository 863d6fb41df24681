//! How a package was made: an in-toto statement (v1) with a SLSA provenance predicate (v1).
//!
//! <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>, <https://slsa.dev/spec/v1.0/provenance>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use staith_model::{CompanionKind, Digest, Package, service::Trust};

/// Of every statement.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// Of every predicate here.
pub const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// The external parameter that says whose code a server's runner built: `fork`, `branch` or `protected`.
pub const TRUST: &str = "trust";

/// What a build is. The addresses are names: nothing has to answer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildType {
    /// A run of a pipeline, all of whose steps passed.
    Run,
    /// A directory that a person packed: nothing is known of how its files came to be.
    ByHand,
}

impl BuildType {
    /// As statements name it.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Run => "urn:staith:build:run:v1",
            Self::ByHand => "urn:staith:build:by-hand:v1",
        }
    }
}

/// Something with digests: what a statement is about, or what went into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its digests by algorithm, in hexadecimal digits.
    pub digest: BTreeMap<String, String>,
}

impl Resource {
    /// A thing with a name and a SHA-256.
    pub fn named(name: impl Into<String>, digest: &Digest) -> Self {
        Self {
            name: Some(name.into()),
            uri: None,
            digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]),
        }
    }

    /// A thing that is from somewhere, with a digest of that place's own kind, such as `gitCommit`.
    pub fn from(uri: impl Into<String>, algorithm: &str, digest: &str) -> Self {
        Self {
            name: None,
            uri: Some(uri.into()),
            digest: BTreeMap::from([(algorithm.to_owned(), digest.to_owned())]),
        }
    }
}

/// What a statement says of a build.
#[derive(Debug, Clone)]
pub struct Build {
    /// What it was.
    pub build_type: BuildType,
    /// What somebody outside chose: the event, the reference, the plan.
    pub external_parameters: BTreeMap<String, Value>,
    /// What went in.
    pub dependencies: Vec<Resource>,
    /// What made it: which program, which version, which host by its key.
    pub builder: String,
    /// Version of that program.
    pub version: String,
    /// The run; none for what was packed by hand.
    pub invocation: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub started: Option<u64>,
    /// When it ended, in milliseconds since 1970.
    pub finished: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Resource>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: String,
    external_parameters: BTreeMap<String, Value>,
    #[serde(default)]
    resolved_dependencies: Vec<Resource>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunDetails {
    builder: Builder,
    metadata: Metadata,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    byproducts: Vec<Resource>,
}

#[derive(Serialize, Deserialize)]
struct Builder {
    id: String,
    #[serde(default)]
    version: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_on: Option<String>,
}

/// The statement about a package: its file with its SHA-256, and its content with the digest of its manifest. What else lies
/// beside the package is named with its digest, so that the one signature holds for all of it.
pub fn statement(package: &Package, build: &Build, beside: &[(CompanionKind, Digest)]) -> Vec<u8> {
    let beside = beside.iter().map(|(kind, digest)| Resource::named(kind.as_str(), digest));
    let statement = Statement {
        kind: STATEMENT.to_owned(),
        subject: vec![
            Resource::named(package.file_name(), &package.digest),
            Resource::named(content_name(package), &package.content),
        ],
        predicate_type: PREDICATE.to_owned(),
        predicate: Predicate {
            build_definition: BuildDefinition {
                build_type: build.build_type.uri().to_owned(),
                external_parameters: build.external_parameters.clone(),
                resolved_dependencies: build.dependencies.clone(),
            },
            run_details: RunDetails {
                builder: Builder {
                    id: build.builder.clone(),
                    version: BTreeMap::from([("staith".to_owned(), build.version.clone())]),
                },
                metadata: Metadata {
                    invocation_id: build.invocation.clone(),
                    started_on: build.started.and_then(time),
                    finished_on: build.finished.and_then(time),
                },
                byproducts: beside.collect(),
            },
        },
    };
    serde_json::to_vec(&statement).unwrap_or_default()
}

fn content_name(package: &Package) -> String {
    format!("content of {} {}", package.name, package.version)
}

/// A time as RFC 3339 has it; none for one that no calendar has.
fn time(millis: u64) -> Option<String> {
    let millis = i64::try_from(millis).ok()?;
    jiff::Timestamp::from_millisecond(millis).ok().map(|time| time.to_string())
}

/// What a statement that was verified says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// How it was built: one of [`BuildType::uri`], or what another program says.
    pub build_type: String,
    /// Who built it.
    pub builder: String,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// The commit, where one went in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether it was a run rather than somebody's hand.
    pub is_of_a_run: bool,
    /// Whose code it was, where a server said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

/// What a statement says, if it is about a file with this digest.
///
/// # Errors
/// It is no such statement, or about something else, in words.
pub fn read(payload: &[u8], package: &Digest) -> Result<Told, String> {
    let statement: Statement =
        serde_json::from_slice(payload).map_err(|bad| format!("it is no statement of provenance: {bad}"))?;
    if statement.kind != STATEMENT || statement.predicate_type != PREDICATE {
        return Err(format!("it is a {} with a {}", statement.kind, statement.predicate_type));
    }
    let hex = package.hex();
    let is_meant = |subject: &Resource| subject.digest.get("sha256") == Some(&hex);
    if !statement.subject.iter().any(is_meant) {
        let names: Vec<String> = statement.subject.into_iter().filter_map(|subject| subject.name).collect();
        return Err(format!("it is about {}, and not about {package}", names.join(", ")));
    }
    let Predicate { build_definition, run_details } = statement.predicate;
    let mut commits =
        build_definition.resolved_dependencies.iter().filter_map(|one| one.digest.get("gitCommit"));
    Ok(Told {
        trust: build_definition.external_parameters.get(TRUST).and_then(|label| label.as_str()?.parse().ok()),
        is_of_a_run: build_definition.build_type == BuildType::Run.uri(),
        commit: commits.next().cloned(),
        build_type: build_definition.build_type,
        builder: run_details.builder.id,
        invocation: run_details.metadata.invocation_id,
        started: run_details.metadata.started_on,
    })
}
