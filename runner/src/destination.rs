//! Where a run releases to, and whether that can work.

use std::{env, net::SocketAddr, os::unix::fs::PermissionsExt as _};

use staith_builder::pipeline::Pipeline;
use staith_model::{Exit, LocalEnvironment, Name};
use staith_releaser::{
    drive::Local,
    keeper::{self, Keeper},
};

use crate::{home::Home, inner, output::Problem};

/// The environment of this name on this machine, if a release to it can work as far as can be seen before anything runs.
pub(crate) async fn find(name: &str, pipeline: &Pipeline, home: &Home) -> Result<Local, Problem> {
    let environment = pipeline.environment(name).ok_or_else(|| no_environment(name, pipeline))?;
    let environment = environment.local().ok_or_else(|| no_environment(name, pipeline))?;
    check_program(environment)?;
    let directory = home.environment(pipeline.name(), &environment.name);
    match Keeper::connect(&directory).await? {
        None => keeper::port_is_free(environment.listen)?,
        Some(keeper) => check_address(keeper.status().await?.listen, environment, pipeline.name())?,
    }
    Ok(Local::new(&directory, inner::keeper_command()?, environment.clone())?)
}

/// A program that is looked up in `PATH` can be looked up now; one in the package can't.
fn check_program(environment: &LocalEnvironment) -> Result<(), Problem> {
    let Some(program) = environment.process.command.first().filter(|program| !program.contains('/')) else {
        return Ok(());
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = env::split_paths(&path).any(|directory| {
        let found = directory.join(program).metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    });
    if is_there {
        return Ok(());
    }
    let name = &environment.name;
    Err(Problem::new(
        Exit::Environment,
        format!("`run` of environment `{name}` starts `{program}`, which is not in PATH; nothing was run"),
    )
    .with_remedy(format!(
        "install it, or write `./{program}` in [environments.{name}] if it is a file of the package"
    )))
}

fn check_address(
    listening: SocketAddr,
    environment: &LocalEnvironment,
    project: &Name,
) -> Result<(), Problem> {
    if listening == environment.listen {
        return Ok(());
    }
    let what = format!(
        "environment `{}` listens on {listening} now, and shall listen on {}",
        environment.name, environment.listen
    );
    Err(Problem::new(Exit::Environment, format!("{what}; nothing was run"))
        .with_remedy(format!("`staith stop {project}` once, then release again")))
}

fn no_environment(name: &str, pipeline: &Pipeline) -> Problem {
    let known: Vec<String> = pipeline.environments().map(|known| format!("`{}`", known.name())).collect();
    let why =
        if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    Problem::new(Exit::Configuration, format!("runner.toml has no environment `{name}`; nothing was run"))
        .with_why(why)
        .with_remedy(format!("add [environments.{name}] to runner.toml; docs/runner-toml.md shows how"))
}
