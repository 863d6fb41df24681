//! The command line: one command, one file; its doc comment is its help text.

mod apply;
mod audit;
mod completions;
mod diagnostics;
mod diff;
mod doctor;
mod env;
mod extract;
mod gc;
mod hidden;
mod init;
mod inspect;
mod key;
mod logs;
mod offered;
mod pack;
mod package;
mod packages;
mod parameters;
mod place;
mod plan;
mod project;
mod proxy;
mod publish;
mod pull;
mod push;
#[cfg(test)]
mod reference;
mod registry;
mod release;
mod rollback;
mod run;
mod runner;
mod runs;
mod sbom;
mod schema;
mod secret;
mod server;
mod shell;
mod status;
mod steps;
mod stop;
mod subject;
mod targets;
mod transform;
mod triggers;
mod unit;
mod verify;
mod vouching;
mod whereabouts;
mod why;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    thread::available_parallelism,
    time::Duration,
};

pub(crate) use apply::Told;
pub(crate) use audit::Audited;
pub(crate) use pack::Packed;
pub(crate) use package::reference as package_reference;
pub(crate) use release::{Material, all_takers, freeze_for};
pub(crate) use verify::Verdict;

use clap::{Parser, Subcommand};
use staith_builder::layers::await_removals;
use staith_model::Exit;

use crate::output::{self, OutputMode, Problem};

/// Takes a commit to a running release: isolated steps, a content-hashed package, a blue-green swap, instant undo.
#[derive(Debug, Parser)]
#[command(name = "staith", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say it as JSON, one value a line, for programs.
    #[arg(long, global = true)]
    json: bool,
}

const EXIT_CODES: &str = "\
Exit codes: 0 passed, 10 a step or a test failed, 20 the configuration can't work, 30 the environment can't do it, \
40 the deployment failed and was rolled back, 41 the deployment needs a decision, 64 the command line is wrong, \
70 a bug in Staith, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Plan(plan::Arguments),
    Why(why::Arguments),
    Shell(shell::Arguments),
    Logs(logs::Arguments),
    Init(init::Arguments),
    Doctor(doctor::Arguments),
    Rollback(rollback::Arguments),
    Status(status::Arguments),
    Stop(stop::Arguments),
    Audit(audit::Arguments),
    Pack(pack::Arguments),
    Inspect(inspect::Arguments),
    Diff(diff::Arguments),
    Verify(verify::Arguments),
    Extract(extract::Arguments),
    Parameters(parameters::Arguments),
    Transform(transform::Arguments),
    Apply(apply::Arguments),
    Packages(packages::Arguments),
    Publish(publish::Arguments),
    Push(push::Arguments),
    Pull(pull::Arguments),
    Registry(registry::Arguments),
    Runner(runner::Arguments),
    Runs(runs::Arguments),
    Release(release::Arguments),
    Proxy(proxy::Arguments),
    Env(env::Arguments),
    Targets(targets::Arguments),
    Where(whereabouts::Where),
    Trace(whereabouts::Trace),
    Project(project::Arguments),
    Triggers(triggers::Arguments),
    Sbom(sbom::Arguments),
    Key(key::Arguments),
    Secret(secret::Arguments),
    Server(server::Arguments),
    Gc(gc::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
}

/// What a command gives the removal of what it no longer needs before it ends: enough for ordinary steps, and nobody notices.
const LAST_REMOVALS: Duration = Duration::from_millis(300);

/// Reads the command line, does what it says, and tells how it went.
pub(crate) fn main() -> ExitCode {
    if offered::answer() {
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Help and version are no mistakes.
            let exit = if told.use_stderr() { Exit::Usage } else { Exit::Passed };
            let _ = told.print();
            return ExitCode::from(exit.code());
        }
    };
    diagnostics::listen(cli.command.says_what_fails());
    let mode = OutputMode::choose(cli.json, io::stdout().is_terminal(), |name| std::env::var(name).ok());
    let ended = match threads().enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(cli.command.obey(mode));
            // Work that nobody waits for any more (a fetch that was interrupted, a file being hashed) ends with the process.
            runtime.shutdown_background();
            await_removals(LAST_REMOVALS);
            ended
        }
        Err(refused) => Err(Problem {
            what: "this process can't start its threads".into(),
            place: None,
            why: Some(refused.to_string()),
            remedy: Some("see `ulimit -u` and the memory that is left".into()),
            exit: Exit::Environment,
        }),
    };
    ended.unwrap_or_else(|problem| {
        output::error(&problem, mode.is_json());
        ExitCode::from(problem.exit.code())
    })
}

/// Threads that share out small work only: what takes long has threads of its own. Each has to be started, and waited for at
/// the end.
fn threads() -> tokio::runtime::Builder {
    const MOST: usize = 4;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(available_parallelism().map_or(MOST, |cores| cores.get().min(MOST)));
    builder
}

impl Command {
    /// Whether it stays, and nobody is told by its end of what failed meanwhile.
    const fn says_what_fails(&self) -> bool {
        matches!(self, Self::Server(server) if server.stays())
    }

    /// Whether it is about what runs somewhere, or about what is kept: whoever gives it wants to know of machines that nobody needs.
    const fn tells_of_machines(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Release(_) | Self::Status(_) | Self::Gc(_))
    }

    async fn obey(self, mode: OutputMode) -> Result<ExitCode, Problem> {
        if self.tells_of_machines() {
            env::tell_of_overdue(mode);
        }
        let exit = match self {
            // Its exit code is that of another program.
            Self::Shell(arguments) => return arguments.obey(mode).await,
            Self::Run(arguments) => arguments.obey(mode).await,
            Self::Runner(arguments) => arguments.obey(mode).await,
            Self::Runs(arguments) => arguments.obey(mode).await,
            Self::Schema(arguments) => arguments.obey(),
            Self::Plan(arguments) => arguments.obey(mode).await,
            Self::Why(arguments) => arguments.obey(mode).await,
            Self::Rollback(arguments) => arguments.obey(mode).await,
            Self::Status(arguments) => arguments.obey(mode).await,
            Self::Logs(arguments) => arguments.obey(mode),
            Self::Secret(arguments) => arguments.obey(mode).await,
            Self::Server(arguments) => arguments.obey(mode).await,
            Self::Stop(arguments) => arguments.obey(mode).await,
            Self::Audit(arguments) => arguments.obey(mode).await,
            Self::Inspect(arguments) => arguments.obey(mode).await,
            Self::Diff(arguments) => arguments.obey(mode).await,
            Self::Apply(arguments) => arguments.obey(mode).await,
            Self::Verify(arguments) => arguments.obey(mode).await,
            Self::Extract(arguments) => arguments.obey(mode).await,
            Self::Packages(arguments) => arguments.obey(mode).await,
            Self::Publish(arguments) => arguments.obey(mode).await,
            Self::Parameters(arguments) => arguments.obey(mode).await,
            Self::Transform(arguments) => arguments.obey(mode).await,
            Self::Pack(arguments) => arguments.obey(mode).await,
            Self::Project(arguments) => arguments.obey(mode).await,
            Self::Triggers(arguments) => arguments.obey(mode).await,
            Self::Sbom(arguments) => arguments.obey(mode).await,
            Self::Key(arguments) => arguments.obey(mode),
            Self::Push(arguments) => arguments.obey(mode).await,
            Self::Pull(arguments) => arguments.obey(mode).await,
            Self::Registry(arguments) => arguments.obey(mode).await,
            Self::Release(arguments) => arguments.obey(mode).await,
            Self::Proxy(arguments) => arguments.obey(mode).await,
            Self::Env(arguments) => arguments.obey(mode).await,
            Self::Targets(arguments) => arguments.obey(mode).await,
            Self::Where(arguments) => arguments.obey(mode).await,
            Self::Trace(arguments) => arguments.obey(mode).await,
            Self::Gc(arguments) => arguments.obey(mode).await,
            Self::Init(arguments) => arguments.obey(mode).await,
            Self::Completions(arguments) => arguments.obey(mode).await,
            Self::Doctor(arguments) => arguments.obey(mode).await,
        }?;
        Ok(ExitCode::from(exit.code()))
    }
}
