//! What a person at a shell is told when a server does not do what it was asked: the one place that says which exit code that is.

use staith_model::{Exit, service::ProblemDetails};

use super::Refused;
use crate::output::Problem;

/// Where tokens are, for somebody whom the server does not know.
pub(crate) const SIGN_IN: &str = "name a file that has a token: --token-file FILE, or set STAITH_TOKEN. A server writes its first token to \
                       `admin.token` in its directory; `staith server token create` makes others";

/// What to do about a server that is not believed.
pub(crate) const UNBELIEVED: &str = "see that --server names the server itself; if an authority of your own vouches for it, name its \
                                     file: --ca FILE";

/// The exit code that a server's no means.
pub(crate) const fn exit_of(status: u16) -> Exit {
    match status {
        400 | 404 | 405 | 413 | 422 => Exit::Usage,
        409 => Exit::Configuration,
        _ => Exit::Environment,
    }
}

/// What the server says, as it says it.
pub(crate) fn said(details: ProblemDetails) -> Problem {
    let problem = Problem::new(exit_of(details.status), details.title);
    Problem { why: details.detail, remedy: details.remedy, ..problem }
}

pub(super) fn to_a_person(refused: Refused, has_token: bool) -> Problem {
    match refused {
        Refused::Said(details) if details.status == 401 => nobody(details, has_token),
        Refused::Said(details) => said(details),
        Refused::Away { .. } => {
            let problem = Problem::from(refused);
            let is_unbelieved = problem.what.contains("certificate");
            problem.with_remedy(if is_unbelieved {
                UNBELIEVED
            } else {
                "see that it runs, and that --server or STAITH_SERVER names it"
            })
        }
        other => other.into(),
    }
}

/// The server says it in the words of HTTP, which nobody writes at a shell.
fn nobody(details: ProblemDetails, has_token: bool) -> Problem {
    let why = if has_token {
        "the token is unknown to it, expired or revoked, or it is another server's"
    } else {
        "it was shown no token"
    };
    Problem::new(exit_of(details.status), "the server does not know who asks")
        .with_why(why)
        .with_remedy(SIGN_IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16) -> Refused {
        Refused::Said(ProblemDetails {
            kind: "k".into(),
            title: "t".into(),
            status,
            detail: Some("d".into()),
            remedy: Some("send `Authorization: Bearer`".into()),
            next: None,
        })
    }

    #[test]
    fn each_no_has_its_exit_code() {
        for (status, exit) in [
            (400, Exit::Usage),
            (401, Exit::Environment),
            (403, Exit::Environment),
            (404, Exit::Usage),
            (409, Exit::Configuration),
            (422, Exit::Usage),
            (429, Exit::Environment),
            (503, Exit::Environment),
        ] {
            assert_eq!(to_a_person(said(status), true).exit, exit, "{status}");
        }
    }

    #[test]
    fn who_is_not_known_is_told_what_to_write_at_a_shell() {
        for (has_token, why) in [(true, "expired"), (false, "no token")] {
            let problem = to_a_person(said(401), has_token);
            let (told, remedy) = (problem.why.unwrap(), problem.remedy.unwrap());
            assert!(told.contains(why) && remedy.contains("--token-file") && !remedy.contains("Bearer"));
        }
    }

    #[test]
    fn a_server_that_is_not_believed_is_told_from_one_that_is_away() {
        let away = |why: &str| Refused::Away { server: "s".into(), why: why.into() };
        let remedy = |why| to_a_person(away(why), true).remedy.unwrap();
        assert!(remedy("no connection: invalid peer certificate: UnknownIssuer").contains("--ca"));
        assert!(!remedy("no connection: refused").contains("--ca"));
    }
}
