//! git's own hook: lines of old commit, new commit and reference, as git gives them to `post-receive`.

use axum::{
    Router,
    body::to_bytes,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use staith_model::service::{Arrived, Happening};

use super::{ids, projects::allowed};
use crate::{
    api::{Answer, Caller, Permission, Problem},
    site::Site,
    store::NewArrival,
};

/// The longest list of references, in bytes: some ten thousand of them.
const LONGEST: usize = 1 << 20;
/// What the hook calls the push: told again with it, it is the same.
const DELIVERY: &str = "staith-delivery";

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/v1/projects/{project}/pushes", post(pushed))
}

async fn pushed(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<(StatusCode, Answer<Arrived>), Problem> {
    let project = allowed(&site, &caller, Permission::Run, &project).await?;
    let body = to_bytes(request.into_body(), LONGEST).await.map_err(|refused| {
        let what = format!("the list of references is longer than {LONGEST} bytes, or was not sent whole");
        Problem::new(413, "body-refused", what).with_why(refused.to_string())
    })?;
    let text = std::str::from_utf8(&body).map_err(|_| bad_line("it is not UTF-8 text"))?;
    let now = site.clock.unix_millis();
    let named = headers.get(DELIVERY).and_then(|value| value.to_str().ok()).filter(|name| name.len() < 200);
    let delivery = named.map_or_else(|| ids::delivery(now), str::to_owned);
    let happenings = text.lines().map(happening).collect::<Result<Vec<_>, _>>()?;
    if happenings.is_empty() {
        return Err(bad_line("there is none"));
    }
    let arrival = |(place, happening)| NewArrival {
        id: ids::arrival(now),
        project: project.name.clone(),
        source: "hook",
        delivery: format!("{delivery}/{place}"),
        happening,
    };
    let new = happenings.into_iter().enumerate().map(arrival).collect();
    let arrivals = site.store.arrive(new, now).await?;
    site.bells.arrivals.ring();
    Ok((StatusCode::ACCEPTED, Answer(Arrived { arrivals })))
}

fn bad_line(why: &str) -> Problem {
    Problem::new(422, "bad-push", "a line is not `OLD NEW REFERENCE`, as git gives it to `post-receive`")
        .with_why(why)
}

fn happening(line: &str) -> Result<Happening, Problem> {
    let mut parts = line.splitn(3, ' ');
    let (Some(old), Some(new), Some(reference)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad_line(&format!("`{}` has no three parts", line.escape_debug())));
    };
    moved(reference, Some(old), new).map_err(|why| bad_line(&why))
}

/// What it means that a reference has another commit. Used for forges as well.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn moved(reference: &str, old: Option<&str>, new: &str) -> Result<Happening, String> {
    let before = old.filter(|old| !is_nothing(old)).map(commit).transpose()?;
    if !is_reference(reference) {
        return Err(format!("`{}` is no reference", reference.escape_debug()));
    }
    if is_nothing(new) {
        return Ok(Happening::Gone { reference: reference.to_owned() });
    }
    let after = commit(new)?;
    if let Some(branch) = reference.strip_prefix("refs/heads/") {
        return Ok(Happening::Push { branch: branch.to_owned(), before, after });
    }
    match reference.strip_prefix("refs/tags/") {
        Some(tag) => Ok(Happening::Tag { tag: tag.to_owned(), commit: after }),
        None => Ok(Happening::Other { event: format!("push to {reference}") }),
    }
}

/// A full commit id.
///
/// # Errors
/// It is none.
pub(super) fn commit(text: &str) -> Result<String, String> {
    let is_id =
        matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_id { Ok(text.to_owned()) } else { Err(format!("`{}` is no full commit id", text.escape_debug())) }
}

fn is_nothing(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte == b'0')
}

/// As git's own rules have it, for what a name can do harm by.
pub(super) fn is_reference(name: &str) -> bool {
    let is_bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    name.starts_with("refs/") && is_name(name) && !name.contains(is_bad)
}

/// What may follow `refs/heads/`.
pub(super) fn is_name(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let is_bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    name.len() <= 1000
        && !name.starts_with('-')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(is_bad)
        && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const NOTHING: &str = "0000000000000000000000000000000000000000";

    #[test]
    fn lines_as_git_gives_them() {
        let push = happening(&format!("{NOTHING} {A} refs/heads/topic/x")).unwrap();
        assert_eq!(push, Happening::Push { branch: "topic/x".into(), before: None, after: A.into() });
        let gone = happening(&format!("{A} {NOTHING} refs/heads/x")).unwrap();
        assert_eq!(gone, Happening::Gone { reference: "refs/heads/x".into() });
        let tag = happening(&format!("{NOTHING} {A} refs/tags/v1")).unwrap();
        assert_eq!(tag, Happening::Tag { tag: "v1".into(), commit: A.into() });
        assert!(matches!(happening(&format!("{A} {A} refs/notes/x")).unwrap(), Happening::Other { .. }));
    }

    #[test]
    fn what_git_would_not_have_is_refused() {
        for bad in [
            String::new(),
            A.to_owned(),
            format!("{A} main refs/heads/main"),
            format!("{A} {A} main"),
            format!("{A} {A} refs/heads/../x"),
            format!("{A} {A} refs/heads/a b"),
            format!("{A} {A} refs/heads/x.lock"),
            format!("{A} {A} refs/heads/"),
            format!("x {A} refs/heads/main"),
        ] {
            assert!(happening(&bad).is_err(), "{bad:?}");
        }
    }
}
