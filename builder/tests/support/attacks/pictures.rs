//! Row 14: images that would lead their sandbox astray.

use super::{
    race,
    row::{Room::Machine, Row, containers, scenario},
    scenarios,
};

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
        // No step can reach an image in its store; here somebody does, all the time.
        scenario(
            14,
            "links that are exchanged while a sandbox is made",
            |stage| Box::pin(race::race(stage)),
            &[race::HELD],
            "",
        )
        .differs(
            containers,
            &[race::BY_RUNTIME],
            "the mounts are made by the engine's runtime; only root can exchange what the engine keeps, no step and no image can",
        )
        .instead(Machine, "raced()"),
    ]
}
