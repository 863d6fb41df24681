//! TRX, the results of Visual Studio's and .NET's test platform.

use std::collections::HashMap;

use quick_xml::events::BytesStart;
use staith_model::TestSummary;

use super::{
    ReportProblem,
    case::Case,
    claim::{Claim, Counted},
    xml::{Elements, attribute, number},
};

/// Classes of tests that are remembered until the results that are shown are known.
const CLASSES_KEPT: usize = 100_000;

/// What an open element means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// The result of one test, or of a group of results.
    Result,
    ErrorInfo,
    Message,
    StackTrace,
    /// Where a test is defined; its methods name the class.
    Definition,
    /// Something that was said of the whole run.
    RunInfo,
    RunInfoText,
    Other,
}

/// A result that is open.
#[derive(Debug)]
struct Pending {
    id: String,
    outcome: Outcome,
    /// It sums up other results, which are counted instead of it.
    is_group: bool,
    case: Case,
}

/// What a TRX file calls an outcome, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Trx {
    open: Vec<Open>,
    results: Vec<Pending>,
    counts: TestSummary,
    /// Failures wait for the classes of their tests, which are usually defined after the results.
    failures: Vec<(String, Case)>,
    classes: HashMap<String, String>,
    definition: Option<String>,
    run: Option<Case>,
    claim: Claim,
}

impl Trx {
    /// The results, once all is read.
    pub(super) fn results(self) -> TestSummary {
        let mut summary = self.counts;
        let classes = self.classes;
        summary.failures = self
            .failures
            .into_iter()
            .map(|(id, case)| match classes.get(&id) {
                Some(class) => case.in_suite(class.clone()).into_failure(),
                None => case.into_failure(),
            })
            .collect();
        self.claim.hold_to(Counted::default(), &mut summary, String::new());
        summary
    }

    fn begin_result(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        if let Some(group) = self.results.last_mut() {
            group.is_group = true;
        }
        let name = attribute(element, "testName")?.unwrap_or_else(|| "(a test without a name)".to_owned());
        self.results.push(Pending {
            id: attribute(element, "testId")?.unwrap_or_default(),
            outcome: outcome(attribute(element, "outcome")?.as_deref()),
            is_group: false,
            case: Case::new(String::new(), name),
        });
        Ok(())
    }

    fn end_result(&mut self) {
        let Some(Pending { id, outcome, mut case, is_group: false }) = self.results.pop() else { return };
        let counter = match outcome {
            Outcome::Passed => &mut self.counts.passed,
            Outcome::Skipped => &mut self.counts.skipped,
            Outcome::Failed => &mut self.counts.failed,
        };
        *counter = counter.saturating_add(1);
        if outcome == Outcome::Failed && self.failures.len() < TestSummary::FAILURES_KEPT {
            if !case.has_failed() {
                case.fail(String::new());
            }
            self.failures.push((id, case));
        }
    }

    /// Errors of the run itself, such as a test host that crashed: the tests that it did not run are in no result.
    fn begin_run_info(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        if attribute(element, "outcome")?.as_deref() == Some("Error") {
            let mut case = Case::new(String::new(), "(the test run itself)".to_owned());
            case.fail(String::new());
            self.run = Some(case);
        }
        Ok(())
    }

    /// What the file says of the whole run.
    fn sum_up(&mut self, tag: &str, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        if tag == "Counters" {
            let of = |name| number(element, name);
            let kinds = [of("failed")?, of("error")?, of("timeout")?, of("aborted")?];
            let claim = Claim::default().of_tests(of("executed")?, [None, None]).of_failures(kinds);
            self.claim = self.claim.or(claim);
        } else if let Some("Failed" | "Error" | "Timeout" | "Aborted") =
            attribute(element, "outcome")?.as_deref()
        {
            self.claim = self.claim.or(Claim::default().of_failures([Some(1)]));
        }
        Ok(())
    }

    fn end_run_info(&mut self) {
        let Some(case) = self.run.take() else { return };
        self.counts.failed = self.counts.failed.saturating_add(1);
        if self.failures.len() < TestSummary::FAILURES_KEPT {
            self.failures.push((String::new(), case));
        }
    }

    fn define(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        let Some(id) = self.definition.take() else { return Ok(()) };
        if let Some(class) = attribute(element, "className")?
            && self.classes.len() < CLASSES_KEPT
        {
            // MSTest writes `Shop.CartTests, Shop.Tests, Version=1.0.0.0, ...`.
            let class = class.split(',').next().unwrap_or_default().trim().to_owned();
            self.classes.insert(id, class);
        }
        Ok(())
    }
}

impl Elements for Trx {
    fn open(&mut self, tag: &str, element: &BytesStart<'_>, _: usize) -> Result<(), ReportProblem> {
        let meaning = match (self.open.last(), tag) {
            (_, "UnitTest") => Open::Definition,
            (_, "RunInfo") => Open::RunInfo,
            (Some(Open::RunInfo), "Text") => Open::RunInfoText,
            // UnitTestResult, GenericTestResult, WebTestResult, ManualTestResult, TestResultAggregation, ...
            (_, tag) if tag.ends_with("TestResult") || tag == "TestResultAggregation" => Open::Result,
            (Some(Open::Other), "ErrorInfo") => Open::ErrorInfo,
            (Some(Open::ErrorInfo), "Message") => Open::Message,
            (Some(Open::ErrorInfo), "StackTrace") => Open::StackTrace,
            _ => Open::Other,
        };
        match meaning {
            Open::Result => self.begin_result(element)?,
            Open::Definition => self.definition = attribute(element, "id")?,
            Open::RunInfo => self.begin_run_info(element)?,
            Open::Message | Open::StackTrace => {
                if let Some(result) = self.results.last_mut() {
                    result.case.fail(String::new());
                }
            }
            Open::Other if matches!(tag, "ResultSummary" | "Counters") => self.sum_up(tag, element)?,
            Open::Other if tag == "TestMethod" => self.define(element)?,
            Open::Other | Open::ErrorInfo | Open::RunInfoText => {}
        }
        self.open.push(meaning);
        Ok(())
    }

    fn say(&mut self, text: &str) {
        let case = match self.open.last() {
            Some(Open::Message | Open::StackTrace) => self.results.last_mut().map(|result| &mut result.case),
            Some(Open::RunInfoText) => self.run.as_mut(),
            _ => None,
        };
        if let Some(case) = case {
            case.say(text);
        }
    }

    fn close(&mut self) {
        match self.open.pop() {
            Some(Open::Result) => self.end_result(),
            Some(Open::RunInfo) => self.end_run_info(),
            Some(Open::Definition) => self.definition = None,
            _ => {}
        }
    }
}

/// A missing outcome is a failure: the test platform leaves that word out.
fn outcome(said: Option<&str>) -> Outcome {
    match said {
        Some("Passed" | "PassedButRunAborted" | "Completed" | "Warning") => Outcome::Passed,
        Some("NotExecuted" | "NotRunnable" | "Inconclusive" | "Pending" | "NotFound") => Outcome::Skipped,
        _ => Outcome::Failed,
    }
}
