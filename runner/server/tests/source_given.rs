//! An attempt gets the source of its own run, whole or recognisably not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ground;

use std::{io::Write, sync::Arc};

use axum::{
    body::{Body, to_bytes},
    http::{Request, Response},
};
use ground::{Ground, PEOPLE, TREE, attempt, token};
use staith_model::Name;
use staith_server::source_transfer::{ContentId, SourceSupply, SupplyError};

/// Knows one source, whose content `[n; 20]` is n kilobytes of n. It breaks off at 9, and refuses 7.
#[derive(Debug)]
struct OneSource;

impl SourceSupply for OneSource {
    fn list(&self, project: &Name, tree: &str) -> Result<Vec<u8>, SupplyError> {
        if (project.as_str(), tree) == ("shop", TREE) {
            return Ok(b"list".to_vec());
        }
        Err(SupplyError::Unknown { project: project.clone(), tree: tree.to_owned() })
    }

    fn contents(
        &self,
        project: &Name,
        tree: &str,
        ids: &[ContentId],
        to: &mut dyn Write,
    ) -> Result<(), SupplyError> {
        self.list(project, tree)?;
        if ids.iter().any(|id| id[0] == 7) {
            return Err(SupplyError::NotOfTheSource("0707".to_owned()));
        }
        for id in ids {
            if id[0] == 9 {
                return Err(SupplyError::Unavailable { what: "gone".to_owned(), remedy: None });
            }
            to.write_all(&vec![id[0]; usize::from(id[0]) * 1024])?;
        }
        Ok(())
    }
}

fn ground() -> Ground {
    let mut ground = Ground::new();
    ground.site.sources = Some(Arc::new(OneSource));
    ground
}

async fn contents(ground: &Ground, token: &str, ids: &[u8]) -> Response<Body> {
    let ids: Vec<String> = ids.iter().map(|id| format!("{id:02x}").repeat(20)).collect();
    let address = format!("/api/v1/attempts/{}/source/contents", attempt(1));
    let request = Request::post(address).header("authorization", format!("Bearer {token}"));
    ground.ask(request.body(Body::from(serde_json::json!({ "ids": ids }).to_string())).unwrap()).await
}

#[tokio::test]
async fn the_attempt_gets_its_source_and_nobody_else_does() {
    let ground = ground();
    let address = format!("/api/v1/attempts/{}/source", attempt(1));
    let list = ground.get_as(&token(1), &address, &[]).await;
    assert_eq!(to_bytes(list.into_body(), 99).await.unwrap(), "list");
    let given = contents(&ground, &token(1), &[1, 200]).await;
    let expected = [vec![1; 1024], vec![200; 200 << 10]].concat();
    assert_eq!(to_bytes(given.into_body(), usize::MAX).await.unwrap(), expected);
    assert_eq!(to_bytes(contents(&ground, &token(1), &[]).await.into_body(), 99).await.unwrap(), "");
    ground.add_attempt(2, 8);
    for (who, expected) in [(PEOPLE, 403), (&token(2), 403), (&token(1), 401), ("nobody", 401)] {
        assert_eq!(ground.get_as(who, &address, &[]).await.status().as_u16(), expected, "{who}");
        assert_eq!(contents(&ground, who, &[1]).await.status().as_u16(), expected, "{who}");
    }
}

#[tokio::test]
async fn what_can_not_be_given_is_said_or_breaks_off() {
    let ground = ground();
    for (ids, status, kind) in [(&[1, 7][..], 403, "not-of-the-source"), (&[9], 503, "source-unavailable")] {
        let (found, problem) = ground::json(contents(&ground, &token(1), ids).await).await;
        assert_eq!((found.as_u16(), problem["type"].as_str().unwrap()), (status, kind));
    }
    let torn = contents(&ground, &token(1), &[200, 9]).await;
    assert!(to_bytes(torn.into_body(), usize::MAX).await.is_err(), "an answer that is not whole has no end");
    let mut ground = ground;
    ground.site.sources = None;
    assert_eq!(contents(&ground, &token(1), &[1]).await.status().as_u16(), 503);
}
