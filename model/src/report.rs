//! What a run's tests said, and the proof that a run passed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Name, Plan, RunId, StepOutcome};

mod merge;

/// Results of the tests that one step ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestSummary {
    /// Tests that passed.
    pub passed: u32,
    /// Tests that failed or broke.
    pub failed: u32,
    /// Tests that were skipped.
    pub skipped: u32,
    /// The failures, in the order of the report.
    pub failures: Vec<TestFailure>,
}

/// What a step's reports said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResults {
    /// Of its tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestSummary>,
    /// Of what they covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// Of what linters and compilers found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Findings>,
}

/// How much of the code the tests ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Lines that were run.
    pub lines: u64,
    /// Lines that could have been.
    pub of_lines: u64,
    /// Branches that were taken.
    pub branches: u64,
    /// Branches that could have been.
    pub of_branches: u64,
}

/// What linters and compilers found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// How many are errors.
    pub errors: u32,
    /// How many are warnings.
    pub warnings: u32,
    /// How many are neither.
    pub notes: u32,
    /// The first of them, the worst first.
    pub shown: Vec<Finding>,
}

/// One thing that a linter or a compiler found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the workspace where it lies in it.
    pub path: String,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The rule, as the tool calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What it says.
    pub message: String,
}

/// How bad a finding is; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// For information.
    Note,
    /// To be looked at.
    Warning,
    /// To be mended.
    Error,
}

/// One failed test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestFailure {
    /// The suite or class, as the report says.
    pub suite: String,
    /// The test's name.
    pub name: String,
    /// The first lines of what it said.
    pub message: String,
    /// The file of the test or of the failure, where the report says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// What is known of one step at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// How it ended.
    pub outcome: StepOutcome,
    /// What its reports said.
    pub results: StepResults,
    /// What it left for later steps.
    pub layer: Option<Digest>,
    /// Attempts that were made; 0 where it did not run. A step that passed at the second attempt or later is flaky.
    #[serde(default)]
    pub attempts: u32,
}

/// The end of a run: one report for every step of its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestReport {
    /// The run.
    pub run: RunId,
    /// The plan it executed.
    pub plan: Digest,
    /// Reports by step.
    pub steps: BTreeMap<Name, StepReport>,
}

/// Proof that a plan was carried out as it says: each step succeeded, or failed and may, or was not meant to run; and each
/// step whose outputs are to be packed succeeded. Packages are made from nothing else.
///
/// The only way to one is [`TestReport::into_passed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed(TestReport);

/// Why a report is not a pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPassed {
    /// The report belongs to another plan.
    #[error("the report is about plan {report}, not {plan}")]
    OtherPlan {
        /// The plan that was asked about.
        plan: Digest,
        /// The plan the report is about.
        report: Digest,
    },
    /// A step is missing from the report.
    #[error("the report says nothing of step `{0}`")]
    Missing(Name),
    /// A step did not succeed.
    #[error("step `{step}` {}", .outcome.as_clause())]
    Unsuccessful {
        /// The step.
        step: Name,
        /// How it ended.
        outcome: StepOutcome,
    },
    /// A step whose outputs are to be packed left none, because it failed though it may, or was not meant to run.
    #[error("the package takes outputs of step `{step}`, which {}", .outcome.as_clause())]
    NothingToPack {
        /// The step.
        step: Name,
        /// How it ended.
        outcome: StepOutcome,
    },
}

impl TestReport {
    /// Turns the report into the proof, if it covers every step of `plan` and [`Plan::judge`] accepts how each ended.
    ///
    /// # Errors
    /// The first reason why it is not a pass, in the order of the plan.
    pub fn into_passed(self, plan: &Plan) -> Result<Passed, NotPassed> {
        let digest = plan.digest();
        if self.plan != digest {
            return Err(NotPassed::OtherPlan { plan: digest, report: self.plan });
        }
        plan.judge(&|step| self.steps.get(step).map(|report| report.outcome))?;
        Ok(Passed(self))
    }
}

impl Passed {
    /// The report behind the proof.
    pub fn report(&self) -> &TestReport {
        &self.0
    }
}
