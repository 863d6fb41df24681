//! What is built: the arguments that `run`, `plan` and `why` share, and how the subject is found.

use std::{collections::BTreeMap, env, path::PathBuf};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use staith_builder::{
    execute::Stop,
    pipeline::Pipeline,
    plan::Occasion,
    source::{Called, Origin, Resolved, Selection, SourceError},
};
use staith_model::{Exit, RelPath, Trigger, TriggerKind};

use crate::{
    home::Home,
    output::{self, OutputMode, Problem},
    workshop::{EngineName, Workshop},
};

/// What is built, and on which occasion.
#[derive(Debug, Args)]
pub(super) struct Subject {
    /// A project's directory, or a repository: a path, file://, https://, ssh:// or host:path
    #[arg(default_value = ".", value_name = "PATH|URL")]
    source: String,
    /// Take this branch, tag or commit instead of the working directory
    #[arg(long = "ref", value_name = "NAME", conflicts_with = "clean")]
    reference: Option<String>,
    /// Take what would come out if --ref were merged into this branch, as a pull request asks for; the event is
    /// pull-request then, unless --event says otherwise
    #[arg(long, value_name = "BRANCH", requires = "reference")]
    onto: Option<String>,
    /// Take HEAD instead of the working directory
    #[arg(long)]
    clean: bool,
    /// What set it off, for the conditions of steps; local if not given
    #[arg(long, value_name = "EVENT", value_parser = event())]
    event: Option<TriggerKind>,
    /// The branch that is built; that of the repository if not given
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// The tag that is built; one that points to the commit if not given
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,
    /// The branch that a pull request asks to go to; that of --onto if not given
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Paths count as changed if they differ from this branch, tag or commit; of a pull request, from its target
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// Give a parameter of the pipeline a value; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// What isolates steps; the built-in sandbox if not given
    #[arg(long, value_enum, value_name = "ENGINE", env = "STAITH_ENGINE")]
    engine: Option<EngineName>,
}

fn event() -> impl TypedValueParser<Value = TriggerKind> {
    let known = TriggerKind::ALL.map(TriggerKind::as_str);
    PossibleValuesParser::new(known)
        .map(|text| TriggerKind::ALL.into_iter().find(|kind| kind.as_str() == text).unwrap_or_default())
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a setting is NAME=VALUE".to_owned()),
    }
}

const TAKEN_FOR_A_PULL_REQUEST: &str =
    "the merge is run as a pull request, which gets no secrets; --event says what else it is";

/// A subject that was found.
pub(super) struct Found {
    pub(super) workshop: Workshop,
    pub(super) source: Resolved,
    pub(super) pipeline: Pipeline,
    pub(super) occasion: Occasion,
    /// Where it is, for people and for later runs.
    pub(super) place: PathBuf,
    /// Whether it is what is in the directory now.
    pub(super) as_it_is: bool,
}

impl Subject {
    /// Finds the source, reads its pipeline, and finds out what the occasion is. Hears signals while it does: a repository
    /// on another machine may take its time.
    ///
    /// # Errors
    /// The arguments contradict each other, the source can't be had, or its pipeline has mistakes.
    pub(super) async fn find(&self, home: &Home, stop: &Stop, mode: OutputMode) -> Result<Found, Problem> {
        let settings = self.settings()?;
        let origin = self.origin(home)?;
        let place = origin.place().display().to_string();
        let workshop = Workshop::open(home)?.isolated_by(self.engine.unwrap_or_default(), home);
        let mut progress = output::fetching(&place, mode);
        let (selection, base) = (self.selection(), self.base());
        let (at, as_it_is) = (origin.place().to_owned(), selection == Selection::AsItIs);
        let finding = tokio::task::spawn_blocking(move || -> Result<_, Problem> {
            let source = workshop.find(&origin, &selection, &mut |seen| progress(&seen))?;
            let called = workshop.called(&source, &selection)?;
            let changed = base.map(|base| base.changed(&workshop, &origin, &source)).transpose()?.flatten();
            Ok((workshop, source, called, changed))
        });
        let (workshop, source, called, changed) = tokio::select! {
            found = finding => found.map_err(|panicked| Problem::bug(panicked.to_string()))??,
            () = stop.cancel.cancelled() => {
                return Err(Problem::new(Exit::Interrupted, "interrupted before anything was run"));
            }
        };
        source.notices.iter().for_each(|notice| output::notice(notice, mode));
        if self.is_taken_for_a_pull_request() {
            output::notice(TAKEN_FOR_A_PULL_REQUEST, mode);
        }
        let pipeline = workshop.pipeline(&source, &place)?;
        let occasion = Occasion { trigger: self.trigger(called)?, changed, settings };
        Ok(Found { workshop, source, pipeline, occasion, place: at, as_it_is })
    }

    /// What isolates steps, if the command line or the environment says so.
    pub(super) fn engine(&self) -> Option<EngineName> {
        self.engine
    }

    /// The place that is named.
    ///
    /// # Errors
    /// It is none, or Staith's home lies in it.
    pub(super) fn origin(&self, home: &Home) -> Result<Origin, Problem> {
        let here = env::current_dir().map_err(|refused| {
            Problem::new(Exit::Environment, "the current directory can't be read")
                .with_why(refused.to_string())
                .with_remedy("change to a directory that exists")
        })?;
        let origin = Origin::parse(&self.source, &here)?;
        if let Origin::Directory { root, .. } = &origin
            && home.path().starts_with(root)
        {
            let what = format!("{} lies in the project itself", home.path().display());
            return Err(Problem::new(Exit::Configuration, what)
                .with_why("what Staith keeps would be part of what it builds, and change with every run")
                .with_remedy("set STAITH_HOME to a directory outside of the project"));
        }
        Ok(origin)
    }

    fn selection(&self) -> Selection {
        match (&self.reference, &self.onto) {
            (Some(head), Some(base)) => Selection::Merge { head: head.clone(), base: base.clone() },
            (Some(name), None) => Selection::Reference(name.clone()),
            (None, _) if self.clean => Selection::Head,
            (None, _) => Selection::AsItIs,
        }
    }

    /// What others ask to be merged is not this person's own work: it gets no secrets unless they say what it is.
    fn is_taken_for_a_pull_request(&self) -> bool {
        self.event.is_none() && self.onto.is_some()
    }

    fn kind(&self) -> TriggerKind {
        let unsaid = if self.onto.is_some() { TriggerKind::PullRequest } else { TriggerKind::Local };
        self.event.unwrap_or(unsaid)
    }

    fn target(&self) -> Option<&String> {
        let onto = self.onto.as_ref().filter(|_| self.kind() == TriggerKind::PullRequest);
        self.target.as_ref().or(onto)
    }

    fn base(&self) -> Option<Base> {
        let target = self.target().filter(|_| self.kind() == TriggerKind::PullRequest);
        let named = self.base.as_ref().map(|name| Base { name: name.clone(), is_asked_for: true });
        named.or_else(|| target.map(|name| Base { name: name.clone(), is_asked_for: false }))
    }

    /// The same commit and event are the same trigger on every machine: a tag is built without regard to the branch that
    /// happens to be checked out, and a branch without regard to tags.
    fn trigger(&self, called: Called) -> Result<Trigger, Problem> {
        let kind = self.kind();
        let branch = self.branch.clone().or(called.branch.filter(|_| kind != TriggerKind::Tag));
        let has_tag = matches!(kind, TriggerKind::Tag | TriggerKind::Local);
        let tag = self.tag.clone().or(called.tag.filter(|_| has_tag));
        if kind == TriggerKind::Tag && tag.is_none() {
            return Err(Problem::new(Exit::Usage, "the event is `tag`, and no tag points to the commit")
                .with_remedy("name it with --tag, or take it with --ref; what is not committed has no tag"));
        }
        Ok(Trigger { kind, branch, target: self.target().cloned(), tag, merged_into: self.onto.clone() })
    }

    fn settings(&self) -> Result<BTreeMap<String, String>, Problem> {
        let mut settings = BTreeMap::new();
        for (name, value) in &self.settings {
            if settings.insert(name.clone(), value.clone()).is_some_and(|before| before != *value) {
                let what = format!("--set gives `{name}` two values");
                return Err(Problem::new(Exit::Usage, what).with_remedy("give it once"));
            }
        }
        Ok(settings)
    }
}

/// What a source is compared with.
struct Base {
    name: String,
    /// Otherwise it follows from another argument, and need not be there: everything counts as changed then.
    is_asked_for: bool,
}

impl Base {
    fn changed(
        &self,
        workshop: &Workshop,
        origin: &Origin,
        source: &Resolved,
    ) -> Result<Option<Vec<RelPath>>, Problem> {
        match workshop.changed_since(origin, source, &self.name) {
            Err(SourceError::NoSuchReference { .. } | SourceError::NotARepository(_))
                if !self.is_asked_for =>
            {
                Ok(None)
            }
            changed => Ok(Some(changed?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        subject: Subject,
    }

    fn subject(arguments: &[&str]) -> Subject {
        Line::try_parse_from([&["staith"], arguments].concat()).ok().unwrap().subject
    }

    fn trigger(arguments: &[&str]) -> Result<Trigger, Problem> {
        subject(arguments).trigger(Called { branch: Some("main".into()), tag: Some("v1".into()) })
    }

    #[test]
    fn branch_and_tag_are_those_of_the_repository_as_far_as_the_event_has_them() {
        let of = |arguments: &[&str]| {
            let trigger = trigger(arguments).unwrap();
            (trigger.branch, trigger.tag)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of(&[]), (some("main"), some("v1")));
        assert_eq!(of(&["--event", "push"]), (some("main"), None));
        assert_eq!(of(&["--event", "pull-request", "--branch", "topic"]), (some("topic"), None));
        assert_eq!(of(&["--event", "tag"]), (None, some("v1")));
        assert_eq!(of(&["--event", "tag", "--tag", "v2"]), (None, some("v2")));
        assert_eq!(of(&["--event", "schedule", "--tag", "v2"]), (some("main"), some("v2")));
        let merge = trigger(&["--ref", "topic", "--onto", "main"]).unwrap();
        assert_eq!(
            (merge.kind, merge.target, merge.merged_into),
            (TriggerKind::PullRequest, some("main"), some("main"))
        );
        let own = trigger(&["--ref", "topic", "--onto", "main", "--event", "local"]).unwrap();
        assert_eq!((own.kind, own.target, own.merged_into), (TriggerKind::Local, None, some("main")));
        let untagged = subject(&["--event", "tag"]).trigger(Called::default()).unwrap_err();
        assert_eq!(untagged.exit, Exit::Usage);
    }

    #[test]
    fn only_a_pull_request_is_compared_with_its_target_unasked() {
        let base = |arguments: &[&str]| subject(arguments).base().map(|base| (base.name, base.is_asked_for));
        assert_eq!(base(&["--event", "push", "--target", "main"]), None);
        assert_eq!(base(&["--event", "pull-request", "--target", "main"]), Some(("main".into(), false)));
        let both = ["--event", "pull-request", "--target", "main", "--base", "v1"];
        assert_eq!(base(&both), Some(("v1".into(), true)));
    }

    #[test]
    fn settings_are_names_and_values() {
        let settings = subject(&["--set", "a=1", "--set", "b=x=y", "--set", "c=", "--set", "a=1"]).settings();
        let expected = [("a", "1"), ("b", "x=y"), ("c", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(settings.unwrap(), expected.into());
        assert_eq!(subject(&["--set", "a=1", "--set", "a=2"]).settings().unwrap_err().exit, Exit::Usage);
        for bad in ["a", "=1", ""] {
            assert!(Line::try_parse_from(["staith", "--set", bad]).is_err(), "{bad}");
        }
    }
}
