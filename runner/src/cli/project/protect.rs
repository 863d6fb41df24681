//! `staith project protect`.

use std::collections::BTreeSet;

use clap::Args;
use staith_model::{
    AtDeadline, Exit, FreezeWindow, Name, Protection,
    service::{EnvironmentRules, EnvironmentView, Trust},
};
use staith_releaser::fleet::gate::mistakes;

use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// Say what protects an environment on the server
///
/// The whole of it is said each time; without options, what protects it is shown. It is kept by the server, and nothing in a repository
/// changes it: what a request to merge edits weakens nothing.
#[derive(Debug, Args)]
pub(crate) struct Protect {
    /// The project
    project: Name,
    /// The environment
    environment: Name,
    /// How many people have to say yes who may release there; who asks for the deployment is none of them
    #[arg(long, value_name = "NUMBER")]
    needed: Option<u32>,
    /// Who asks counts as well
    #[arg(long)]
    requester_may: bool,
    /// How long they are waited for, in seconds
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<u64>,
    /// What becomes of it then, if nobody said no: expire, or deploy where all else holds
    #[arg(long, value_name = "EXPIRE|DEPLOY")]
    at_deadline: Option<AtDeadline>,
    /// What people should look at before they say yes
    #[arg(long, value_name = "TEXT")]
    instructions: Option<String>,
    /// Whose code may go there at least: protected, or branch. The code says itself to which machines it goes
    #[arg(long, value_name = "TRUST")]
    trust: Option<Trust>,
    /// Release what passes on a protected branch there, without anybody asking
    #[arg(long)]
    automatic: bool,
    /// A branch that may be released there, as a glob; may be repeated
    #[arg(long = "branch", value_name = "GLOB")]
    branches: Vec<String>,
    /// An environment in which the release must have succeeded before; may be repeated
    #[arg(long, value_name = "ENVIRONMENT")]
    after: Vec<Name>,
    /// Nothing is deployed in this time: FROM..UNTIL=WHY, with times as in docs/protection.md; may be repeated
    #[arg(long = "freeze", value_name = "FROM..UNTIL=WHY", value_parser = a_freeze)]
    freezes: Vec<FreezeWindow>,
    /// All of it, as JSON, as this command shows it with --json
    #[arg(long, value_name = "JSON", value_parser = rules)]
    rules: Option<EnvironmentRules>,
    /// Take back what was said
    #[arg(long)]
    remove: bool,
}

fn a_freeze(text: &str) -> Result<FreezeWindow, String> {
    let parts = text.split_once('=').and_then(|(span, why)| Some((span.split_once("..")?, why)));
    let ((from, until), why) = parts.ok_or("a freeze is FROM..UNTIL=WHY")?;
    Ok(FreezeWindow { from: from.to_owned(), until: until.to_owned(), why: why.to_owned() })
}

fn rules(text: &str) -> Result<EnvironmentRules, String> {
    serde_json::from_str(text).map_err(|bad| bad.to_string())
}

impl Protect {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let people = server.open()?;
        let path = format!("/api/v1/projects/{}/environments/{}", self.project, self.environment);
        let place = format!("{path}/protection");
        if self.remove {
            people.delete(&place).await?;
        } else if let Some(rules) = self.said() {
            // The server knows neither globs nor hours of the releaser: it keeps them.
            let fixed = Protection { approvals: None, ..rules.protection(BTreeSet::new()) };
            if let Some(mistake) = mistakes(&fixed).first() {
                return Err(Problem::new(Exit::Usage, format!("that protects nothing: {mistake}"))
                    .with_remedy("docs/protection.md says how it is written"));
            }
            people.put(&place, &rules).await?;
        }
        let view: EnvironmentView = people.get(&path).await?;
        output::server_environments(&[view], mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }

    /// What the options say, if they say anything.
    fn said(&self) -> Option<EnvironmentRules> {
        let usual = EnvironmentRules::default();
        let base = self.rules.clone().unwrap_or_else(|| usual.clone());
        let rules = EnvironmentRules {
            needed: self.needed.unwrap_or(base.needed),
            requester_may: self.requester_may || base.requester_may,
            deadline_seconds: self.deadline.unwrap_or(base.deadline_seconds),
            at_deadline: self.at_deadline.unwrap_or(base.at_deadline),
            instructions: self.instructions.clone().unwrap_or_else(|| base.instructions.clone()),
            trust: self.trust.unwrap_or(base.trust),
            automatic: self.automatic || base.automatic,
            branches: [base.branches.clone(), self.branches.clone()].concat(),
            after: base.after.iter().chain(&self.after).cloned().collect(),
            freezes: [base.freezes.clone(), self.freezes.clone()].concat(),
            ..base
        };
        let is_said = self.rules.is_some() || self.needed.is_some() || self.trust.is_some() || rules != usual;
        is_said.then_some(rules)
    }
}
