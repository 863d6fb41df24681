//! What a forge is sent, and what its answer means. Pure.

use std::time::Duration;

use reqwest::header::HeaderValue;
use serde_json::json;
use staith_model::{
    Name, Secret,
    service::{ForgeKind, ForgeSettings},
};

use crate::store::{Standing, Told};

/// The longest description that GitHub takes, in characters.
const LONGEST: usize = 140;

/// Something to send.
#[derive(Debug, Clone)]
pub(super) struct Message {
    kind: ForgeKind,
    pub(super) url: String,
    /// What proves who sends it.
    pub(super) header: (&'static str, HeaderValue),
    pub(super) body: String,
}

/// Whether a forge heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Yes,
    /// And it is told again, after as long as it says.
    Not {
        why: String,
        after: Option<Duration>,
    },
    /// And it won't, however often.
    Never(String),
}

impl Message {
    /// `None` if the settings don't say where to, or the token is none that can be sent.
    pub(super) fn of(
        forge: &ForgeSettings,
        token: &Secret,
        project: &Name,
        told: &Told,
        address: &str,
    ) -> Option<Self> {
        let (base, repository) = (forge.url.as_ref()?.trim_end_matches('/'), forge.repository.as_ref()?);
        let commit = &told.commit;
        let url = match forge.kind {
            ForgeKind::Github => format!("{base}/repos/{repository}/statuses/{commit}"),
            ForgeKind::Gitlab => {
                let id = repository.replace('/', "%2F");
                format!("{base}/api/v4/projects/{id}/statuses/{commit}")
            }
            ForgeKind::Gitea => format!("{base}/api/v1/repos/{repository}/statuses/{commit}"),
        };
        let (name, before) = match forge.kind {
            ForgeKind::Github => ("authorization", "Bearer "),
            ForgeKind::Gitlab => ("private-token", ""),
            ForgeKind::Gitea => ("authorization", "token "),
        };
        let mut value = token.expose_to(|token| HeaderValue::from_str(&format!("{before}{token}"))).ok()?;
        value.set_sensitive(true);
        let body = body(forge.kind, project, told, address);
        Some(Self { kind: forge.kind, url, header: (name, value), body })
    }

    /// What an answer means.
    pub(super) fn heard(&self, status: u16, after: Option<Duration>, body: &str) -> Heard {
        let why = || format!("the forge answers {status}: {}", line(body));
        match status {
            200..=299 => Heard::Yes,
            // GitLab refuses to be told what it knows already.
            400 if self.kind == ForgeKind::Gitlab && body.contains("Cannot transition status") => Heard::Yes,
            400 | 413 | 422 => Heard::Never(why()),
            _ => Heard::Not { why: why(), after },
        }
    }
}

fn body(kind: ForgeKind, project: &Name, told: &Told, address: &str) -> String {
    let context = format!("staith/{project}/{}", told.event);
    let description: String = line(&told.description).chars().take(LONGEST).collect();
    let link = match told.number {
        Some(number) => format!("{}/projects/{project}/runs/{number}", address.trim_end_matches('/')),
        None => format!("{}/projects/{project}", address.trim_end_matches('/')),
    };
    let called = if kind == ForgeKind::Gitlab { "name" } else { "context" };
    let mut body = json!({ "state": state(kind, told.state), "description": description });
    body[called] = context.into();
    body["target_url"] = link.into();
    body.to_string()
}

const fn state(kind: ForgeKind, standing: Standing) -> &'static str {
    match (kind, standing) {
        (ForgeKind::Gitlab, Standing::Running) => "running",
        (_, Standing::Waiting | Standing::Running) => "pending",
        (_, Standing::Passed) => "success",
        (ForgeKind::Gitlab, Standing::Failed | Standing::Refused) => "failed",
        (_, Standing::Failed) => "failure",
        (ForgeKind::Gitlab, Standing::Cancelled) => "canceled",
        (_, Standing::Cancelled | Standing::Refused) => "error",
    }
}

/// The first line, without control characters.
fn line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn message(kind: ForgeKind, state: Standing) -> Message {
        let forge = ForgeSettings {
            kind,
            url: Some("https://forge.example.org/".into()),
            repository: Some("me/shop".into()),
            webhook_secret: None,
            status_secret: None,
        };
        let told = Told {
            commit: "c0ffee".into(),
            state,
            description: format!("run 7 {}\nand more", "x".repeat(200)),
            event: "push".into(),
            number: Some(7),
        };
        let address = "https://ci.example.org/";
        Message::of(&forge, &Secret::new("hunter2"), &"shop".parse().unwrap(), &told, address).unwrap()
    }

    #[test]
    fn each_forge_is_spoken_to_in_its_own_words() {
        for (kind, standing, url, state) in [
            (ForgeKind::Github, Standing::Running, "/repos/me/shop/statuses/c0ffee", "pending"),
            (ForgeKind::Github, Standing::Failed, "/repos/me/shop/statuses/c0ffee", "failure"),
            (ForgeKind::Gitlab, Standing::Running, "/api/v4/projects/me%2Fshop/statuses/c0ffee", "running"),
            (
                ForgeKind::Gitlab,
                Standing::Cancelled,
                "/api/v4/projects/me%2Fshop/statuses/c0ffee",
                "canceled",
            ),
            (ForgeKind::Gitea, Standing::Passed, "/api/v1/repos/me/shop/statuses/c0ffee", "success"),
        ] {
            let message = message(kind, standing);
            let body: Value = serde_json::from_str(&message.body).unwrap();
            assert_eq!(message.url, format!("https://forge.example.org{url}"));
            assert_eq!(body["state"], state);
            assert_eq!(body["target_url"], "https://ci.example.org/projects/shop/runs/7");
            assert_eq!(body["description"].as_str().unwrap().len(), LONGEST);
            assert!(!format!("{message:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_forge_that_knows_already_has_heard_and_one_that_refuses_is_left_alone() {
        let gitlab = message(ForgeKind::Gitlab, Standing::Passed);
        let known = r#"{"message":"Cannot transition status via :enqueue from :pending"}"#;
        assert_eq!(gitlab.heard(400, None, known), Heard::Yes);
        assert!(matches!(gitlab.heard(400, None, "{}"), Heard::Never(_)));
        assert!(matches!(
            message(ForgeKind::Github, Standing::Passed).heard(400, None, known),
            Heard::Never(_)
        ));
        for status in [401, 403, 404, 429, 500, 502] {
            assert!(matches!(gitlab.heard(status, None, ""), Heard::Not { .. }), "{status}");
        }
    }
}
