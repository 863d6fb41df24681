//! What a shell is offered where a name is to be typed: steps, environments, runs and packages, as far as they can be told at once. Whatever
//! is missing or has mistakes offers nothing; a person who presses a key wants no errors.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
};

use clap::CommandFactory as _;
use clap_complete::{
    CompleteEnv,
    engine::{
        ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _,
    },
};
use staith_builder::pipeline::Pipeline;
use staith_packager::store::Store;
use toml::de::DeTable;

use super::place;
use crate::{home::Home, records, workshop::PIPELINE_FILE};

/// What the scripts of `staith completions` set, to the name of the shell.
pub(super) const ASKED: &str = "STAITH_COMPLETE";
/// Runs that are offered; who means an older one knows how its id begins.
const RUNS: usize = 10;
/// Longer files are no pipelines, and reading one would take time.
const LONGEST_PIPELINE: u64 = 1 << 20;

/// Answers the shell's question, if this process was started for one.
pub(super) fn answer() -> bool {
    if env::var_os(ASKED).is_none() {
        return false;
    }
    let here = env::current_dir().ok();
    let arguments: Vec<OsString> = env::args_os().collect();
    // A question that can't be understood has no answer.
    CompleteEnv::with_factory(super::Cli::command)
        .var(ASKED)
        .try_complete(arguments, here.as_deref())
        .unwrap_or(true)
}

/// Steps of the pipeline here, by their own names and those of their variants.
pub(super) fn steps() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(pipeline().map_or_else(Vec::new, |text| steps_in(&text))))
}

/// Environments that the pipeline here describes.
pub(super) fn environments() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        candidates(pipeline().map_or_else(Vec::new, |text| below(&text, "environments")))
    })
}

/// Environments of machines that the pipeline here describes.
pub(super) fn fleets() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let parsed = pipeline().and_then(|text| Pipeline::parse(PIPELINE_FILE, &text).ok());
        let names = |pipeline: &Pipeline| {
            let fleets = pipeline.environments().filter_map(|known| known.fleet());
            fleets.map(|fleet| fleet.name.to_string()).collect()
        };
        candidates(parsed.as_ref().map_or_else(Vec::new, names))
    })
}

/// Environments that something was released to.
pub(super) fn released() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        candidates(known().into_iter().map(|known| known.environment.to_string()).collect())
    })
}

/// Projects of which something was released.
pub(super) fn projects() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        candidates(known().into_iter().map(|known| known.project.to_string()).collect())
    })
}

/// The newest runs, the newest first.
pub(super) fn runs() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let ids = Home::find().map_or_else(|_| Vec::new(), |home| records::ids(&home.runs()));
        candidates(ids.iter().take(RUNS).map(ToString::to_string).collect())
    })
}

/// Packages of the home's store: by name, by channel and by version, the newest version first.
pub(super) fn packages() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(stored()))
}

/// Files, and packages of the home's store.
pub(super) fn files_and_packages() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let files = PathCompleter::file().complete(begun);
        let mut names = stored();
        names.retain(|name| begun.to_str().is_some_and(|begun| name.starts_with(begun)));
        candidates(names).into_iter().chain(files).collect::<Vec<_>>()
    })
}

/// Channels that packages of the home's store have.
pub(super) fn channels() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let channels = store().and_then(|store| store.all_channels().ok()).unwrap_or_default();
        candidates(channels.iter().map(|channel| channel.name.to_string()).collect())
    })
}

fn stored() -> Vec<String> {
    let Some(store) = store() else { return Vec::new() };
    let mut all = Vec::new();
    for name in store.names().unwrap_or_default() {
        let channels = store.channels(&name).unwrap_or_default();
        let mut published = store.list(&name).unwrap_or_default();
        published.sort_by_key(|one| std::cmp::Reverse(one.at));
        all.push(name.to_string());
        all.extend(channels.iter().map(|channel| format!("{name}@{}", channel.name)));
        all.extend(published.iter().map(|one| format!("{name}@{}", one.package.version)));
    }
    all
}

/// The home's store, if there is one: asking makes none.
fn store() -> Option<Store> {
    let packages = Home::find().ok()?.packages();
    packages.is_dir().then(|| Store::open(&packages).ok()).flatten()
}

fn known() -> Vec<place::Known> {
    Home::find().map_or_else(|_| Vec::new(), |home| place::all(&home))
}

fn candidates(mut names: Vec<String>) -> Vec<CompletionCandidate> {
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let ordered = names.into_iter().enumerate();
    ordered.map(|(place, name)| CompletionCandidate::new(name).display_order(Some(place))).collect()
}

fn pipeline() -> Option<String> {
    let is_readable =
        fs::metadata(PIPELINE_FILE).is_ok_and(|found| found.is_file() && found.len() <= LONGEST_PIPELINE);
    is_readable.then(|| fs::read_to_string(PIPELINE_FILE).ok()).flatten()
}

/// In a file with mistakes, the names that can be made out.
fn steps_in(text: &str) -> Vec<String> {
    let Ok(pipeline) = Pipeline::parse(PIPELINE_FILE, text) else { return below(text, "steps") };
    let names = pipeline.steps().iter().flat_map(|step| {
        let variants = step.variants.iter().map(|variant| variant.name.to_string());
        [step.name.to_string()].into_iter().chain(variants)
    });
    names.collect()
}

/// The tables below one of this name, in the order of the file.
fn below(text: &str, table: &str) -> Vec<String> {
    let (file, _) = DeTable::parse_recoverable(text);
    let Some(below) = file.get_ref().get(table).and_then(|value| value.get_ref().as_table()) else {
        return Vec::new();
    };
    let mut names: Vec<_> =
        below.keys().map(|name| (name.span().start, name.get_ref().to_string())).collect();
    names.sort();
    names.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRIX: &str = "name = \"shop\"\nversion = \"1\"\n[steps.test]\nrun = \"true\"\nmatrix = { size = [\"s\", \"l\"] }\n";

    #[test]
    fn variants_are_offered_with_their_step() {
        assert_eq!(steps_in(MATRIX), ["test", "test-s", "test-l"]);
    }

    #[test]
    fn what_can_be_made_out_of_a_file_with_mistakes_is_offered() {
        let text = format!("{MATRIX}unknown = 1\n[steps.build]\nrun = \"true\n[environments.local]\n");
        assert_eq!(steps_in(&text)[0], "test");
        assert_eq!(
            below(&format!("{MATRIX}[environments.b]\n[environments.a]\n"), "environments"),
            ["b", "a"]
        );
        assert_eq!(below("steps = 3", "steps"), [] as [&str; 0]);
        assert_eq!(below("\u{0}[[[", "steps"), [] as [&str; 0]);
    }
}
