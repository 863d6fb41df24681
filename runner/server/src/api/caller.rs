//! Who asks, and what they may. Deny by default: what no grant allows is refused.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use serde::{Deserialize, Serialize};
use staith_model::{
    AttemptId, Name, RunnerId,
    service::{TargetOf, Trust},
};

use super::Problem;
use crate::{site::Site, store::Actor};

/// What somebody wants to do, as far as it matters for whether they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See projects, runs, logs, packages and environments.
    See,
    /// Start, cancel and retry runs; set off triggers.
    Run,
    /// Publish packages under channels.
    Publish,
    /// Create, approve and deploy releases.
    Release,
    /// Change projects, runners, tokens, secrets and the server.
    Administer,
}

/// What a person is. Each may do all that the ones before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Sees.
    Viewer,
    /// Runs.
    Developer,
    /// Publishes and releases.
    Releaser,
    /// Administers.
    Admin,
}

impl Role {
    /// Whether who has this role may do that.
    pub const fn may(self, permission: Permission) -> bool {
        let least = match permission {
            Permission::See => Self::Viewer,
            Permission::Run => Self::Developer,
            Permission::Publish | Permission::Release => Self::Releaser,
            Permission::Administer => Self::Admin,
        };
        self as u8 >= least as u8
    }
}

/// What something is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The server as a whole.
    Server,
    /// A project.
    Project(&'a Name),
    /// An environment of a project.
    Environment(&'a Name, &'a Name),
}

/// A role, somewhere: on the whole server, in a project, or in one environment of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What the bearer is there.
    pub role: Role,
    /// Only there; everywhere if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Name>,
    /// Only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Name>,
}

impl Grant {
    fn covers(&self, scope: Scope<'_>) -> bool {
        match (scope, &self.project, &self.environment) {
            (_, None, None) => true,
            (Scope::Project(wanted), Some(project), None) => wanted == project,
            (Scope::Environment(wanted, _), Some(project), None) => wanted == project,
            (Scope::Environment(wanted, there), Some(project), Some(environment)) => {
                wanted == project && there == environment
            }
            _ => false,
        }
    }
}

/// A request that came by the entrance in the data directory, which the system opens to nobody but who may read the database anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator;

impl Operator {
    fn who() -> Who {
        let all = Grant { role: Role::Admin, project: None, environment: None };
        Who::Person { name: "operator".to_owned(), grants: vec![all] }
    }
}

/// Who asks. Made from `Authorization: Bearer …`; a request without it is nobody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    who: Who,
    from: Option<SocketAddr>,
}

/// Who somebody is, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Nobody said.
    Nobody,
    /// A person or a program of theirs, by a token.
    Person {
        /// What the token is called.
        name: String,
        /// What it allows.
        grants: Vec<Grant>,
    },
    /// A runner that builds, by a session.
    Runner(RunnerId),
    /// A runner that is there for one machine of an environment, by a session. It gets no jobs: it is none of the other kind.
    Target(RunnerId, TargetOf),
    /// An attempt, by its own token.
    Attempt {
        /// Which.
        attempt: AttemptId,
        /// The project whose job it is.
        project: Name,
        /// Whose code it runs.
        trust: Trust,
    },
    /// The process that deploys.
    Deployer,
}

impl Caller {
    /// Who it is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// For the audit log.
    pub fn actor(&self) -> Actor {
        let who = match &self.who {
            Who::Nobody => "nobody".to_owned(),
            Who::Person { name, .. } => format!("person:{name}"),
            Who::Runner(runner) | Who::Target(runner, _) => format!("runner:{runner}"),
            Who::Attempt { attempt, .. } => format!("attempt:{attempt}"),
            Who::Deployer => "deployer".to_owned(),
        };
        Actor { who, from: self.from.map(|from| from.ip().to_string()) }
    }

    /// Goes on only if the caller may do that.
    ///
    /// # Errors
    /// 401 for nobody, 403 for somebody who may not.
    pub fn must(&self, permission: Permission, scope: Scope<'_>) -> Result<(), Problem> {
        match &self.who {
            Who::Nobody => Err(sign_in()),
            who if allows(who, permission, scope) => Ok(()),
            _ => Err(Problem::new(403, "not-allowed", "the token does not allow this")
                .with_remedy("ask an administrator of the server for one that does")),
        }
    }

    /// Goes on only if somebody is signed in; what they may is asked once it is known what it is about.
    ///
    /// # Errors
    /// 401 for nobody.
    pub fn must_be_somebody(&self) -> Result<(), Problem> {
        if self.who == Who::Nobody { Err(sign_in()) } else { Ok(()) }
    }

    /// The runner that asks.
    ///
    /// # Errors
    /// It is none.
    pub fn runner(&self) -> Result<&RunnerId, Problem> {
        match &self.who {
            Who::Runner(runner) => Ok(runner),
            Who::Nobody => Err(sign_in()),
            _ => Err(Problem::new(403, "not-a-runner", "only a runner may ask this")),
        }
    }

    /// The machine's runner that asks, and the machine that it is there for.
    ///
    /// # Errors
    /// It is none.
    pub fn target(&self) -> Result<(&RunnerId, &TargetOf), Problem> {
        match &self.who {
            Who::Target(runner, target) => Ok((runner, target)),
            Who::Nobody => Err(sign_in()),
            _ => {
                Err(Problem::new(403, "not-a-target", "only the runner of a machine that pulls may ask this"))
            }
        }
    }

    /// Goes on only if it is the process that deploys.
    ///
    /// # Errors
    /// It is somebody else.
    pub fn must_be_the_deployer(&self) -> Result<(), Problem> {
        match &self.who {
            Who::Deployer => Ok(()),
            Who::Nobody => Err(sign_in()),
            _ => Err(Problem::new(403, "not-the-deployer", "only the server's own deployer may ask this")),
        }
    }

    /// The name of the person who asks, as other people know them. Whoever has the server's directory is none: nobody can tell who that is.
    ///
    /// # Errors
    /// It is no person.
    pub fn person(&self) -> Result<&str, Problem> {
        match &self.who {
            Who::Person { name, .. } => Ok(name),
            Who::Nobody => Err(sign_in()),
            _ => Err(Problem::new(403, "not-a-person", "only people may ask this")),
        }
    }

    /// Goes on only if it is this attempt that asks.
    ///
    /// # Errors
    /// It is somebody else.
    pub fn must_be(&self, wanted: &AttemptId) -> Result<(), Problem> {
        match &self.who {
            Who::Attempt { attempt, .. } if attempt == wanted => Ok(()),
            Who::Nobody => Err(sign_in()),
            _ => Err(Problem::new(403, "not-the-attempt", "only the attempt itself may ask this")),
        }
    }
}

/// Whether somebody may do that by a grant; attempts and runners have none.
pub(crate) fn allows(who: &Who, permission: Permission, scope: Scope<'_>) -> bool {
    match who {
        Who::Person { grants, .. } => {
            grants.iter().any(|grant| grant.role.may(permission) && grant.covers(scope))
        }
        _ => false,
    }
}

pub(crate) fn sign_in() -> Problem {
    Problem::new(401, "sign-in", "nobody is signed in")
        .with_why("the request has no token, or one that is unknown, expired or revoked")
        .with_remedy("send a token as `Authorization: Bearer …`; `staith server token create` makes one")
}

impl FromRequestParts<Site> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let from = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| *address);
        let who = if parts.extensions.get::<Operator>().is_some() {
            Operator::who()
        } else if let Some(token) = bearer(&parts.headers) {
            site.who_has(token).await?
        } else {
            Who::Nobody
        };
        if who != Who::Nobody {
            parts.extensions.insert(Somebody);
        }
        Ok(Self { who, from })
    }
}

/// It is known that somebody asks. Whoever reads a body keeps more of it in memory for them than for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Somebody;

/// Registries sign in by Basic with the token as password; that is read where the registry is mounted.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role, project: Option<&str>) -> Grant {
        Grant { role, project: project.map(|name| name.parse().unwrap()), environment: None }
    }

    #[test]
    fn a_grant_holds_where_it_was_given() {
        let (shop, blog) = ("shop".parse().unwrap(), "blog".parse().unwrap());
        let there = grant(Role::Developer, Some("shop"));
        assert!(there.covers(Scope::Project(&shop)) && !there.covers(Scope::Project(&blog)));
        assert!(!there.covers(Scope::Server), "a project's admin is not the server's");
        assert!(grant(Role::Viewer, None).covers(Scope::Server));
    }
}
