//! Who asks a registry, and what they may.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use base64::Engine as _;
use staith_model::{Name, service::Trust};

use super::{may, refused};
use crate::{
    api::{Permission, Problem, Who},
    site::Site,
};

/// Who has the token that came as `Bearer`, or as the password of `Basic`.
pub(super) async fn who(site: &Site, headers: &HeaderMap) -> Result<Who, Problem> {
    let Some(token) = headers.get(header::AUTHORIZATION).and_then(|value| token(value.to_str().ok()?)) else {
        return Ok(Who::Nobody);
    };
    Ok(site.who_has(&token).await?)
}

fn token(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    // The user's name says nothing: tokens have names of their own.
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// Asks for a token. `Basic` because all clients know it; what they would do for `Bearer` needs a service that gives out others.
pub(super) fn first() -> Response {
    let message = "sign in with a token of the server as the password, and any user";
    let mut response = refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message);
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"staith\", charset=\"UTF-8\""),
    );
    response
}

pub(super) fn denied(message: &str) -> Response {
    refused(StatusCode::FORBIDDEN, "DENIED", message)
}

pub(super) fn must_pull(who: &Who, project: &Name) -> Result<(), &'static str> {
    match who {
        Who::Attempt { project: own, .. } if own == project => Ok(()),
        // What it deploys is checked where it is asked for.
        Who::Deployer => Ok(()),
        Who::Person { .. } if may(who, Permission::See, project) => Ok(()),
        _ => Err("the token does not allow to pull from this project"),
    }
}

pub(super) fn must_push(who: &Who, project: &Name) -> Result<(), &'static str> {
    match who {
        Who::Attempt { project: own, trust: Trust::Branch | Trust::Protected, .. } if own == project => {
            Ok(())
        }
        Who::Attempt { project: own, .. } if own == project => {
            Err("what a fork's code has made is not published")
        }
        Who::Person { .. } if may(who, Permission::Publish, project) => Ok(()),
        _ => Err("the token does not allow to push to this project"),
    }
}

/// For the audit log.
pub(super) fn shown(who: &Who) -> String {
    match who {
        Who::Nobody => "nobody".to_owned(),
        Who::Person { name, .. } => format!("person:{name}"),
        Who::Runner(runner) | Who::Target(runner, _) => format!("runner:{runner}"),
        Who::Attempt { attempt, .. } => format!("attempt:{attempt}"),
        Who::Deployer => "deployer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_bearers_or_a_password() {
        // me:to:ken
        for (value, expected) in [
            ("Bearer token", Some("token")),
            ("basic bWU6dG86a2Vu", Some("to:ken")),
            ("Basic !", None),
            ("Basic bWU=", None),
            ("Digest token", None),
            ("token", None),
        ] {
            assert_eq!(token(value).as_deref(), expected, "{value}");
        }
    }
}
