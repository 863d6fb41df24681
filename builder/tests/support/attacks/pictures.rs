//! Row 14: images that would lead their sandbox astray.

use super::row::{Row, containers, not_tried, scenario};
use super::scenarios;

pub fn rows() -> Vec<Row> {
    vec![
        scenario(
            14,
            "an image with links where things are mounted",
            |stage| Box::pin(scenarios::an_image_of_links(stage)),
            &["nothing outside was touched", "refused"],
            "the scenario follows the links itself first",
        )
        .differs(
            containers,
            &["refused"],
            "a container engine makes no container with a workspace behind a link",
        ),
        not_tried(
            14,
            "links that are exchanged while a sandbox is made",
            "an image is in a store that no step can reach before a sandbox is made of it, so nobody is there to exchange them",
        ),
    ]
}
