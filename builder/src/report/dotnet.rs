//! What xUnit.net (`<assemblies>`) and NUnit (`<test-run>`) write by themselves, without Visual Studio's test platform.

use quick_xml::events::BytesStart;
use staith_model::TestSummary;

use super::{
    ReportProblem,
    case::Case,
    claim::{Claim, Counted},
    xml::{Elements, attribute, number},
};

/// What an open element means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// A test, or a part of the run that failed without one.
    Case,
    Failure,
    /// What went wrong, or where.
    Text,
    Other,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct DotNet {
    summary: TestSummary,
    open: Vec<Open>,
    case: Option<Case>,
    claim: Claim,
}

impl DotNet {
    /// The results, once all is read.
    pub(super) fn results(mut self) -> TestSummary {
        self.claim.hold_to(Counted::default(), &mut self.summary, String::new());
        self.summary
    }

    /// What the file says of an assembly (xUnit.net) or of the whole run (NUnit).
    fn sum_up(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        let of = |name| number(element, name);
        let not_run = [of("skipped")?, of("inconclusive")?];
        self.claim = self.claim.of_tests(of("total")?, not_run).of_failures([of("failed")?, of("errors")?]);
        Ok(())
    }

    fn begin_case(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        let class = match attribute(element, "classname")? {
            Some(class) => class,
            None => attribute(element, "type")?.unwrap_or_default(),
        };
        let name = attribute(element, "name")?.unwrap_or_else(|| "(a test without a name)".to_owned());
        // xUnit.net repeats the class in the name.
        let short = name.strip_prefix(&class).and_then(|rest| rest.strip_prefix('.'));
        let mut case = Case::new(class.clone(), short.unwrap_or(&name).to_owned());
        match attribute(element, "result")?.as_deref() {
            Some("Pass" | "Passed" | "Warning") => {}
            Some("Skip" | "Skipped" | "NotRun" | "Inconclusive" | "Ignored") => case.skipped = true,
            _ => case.fail(String::new()),
        }
        self.case = Some(case);
        Ok(())
    }

    /// xUnit.net's errors of an assembly: of fixtures that could not be made, and the like.
    fn begin_error(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        let name = attribute(element, "name")?.unwrap_or_else(|| "(the test run itself)".to_owned());
        let mut case = Case::new(String::new(), name);
        case.fail(String::new());
        self.case = Some(case);
        Ok(())
    }
}

impl Elements for DotNet {
    fn open(&mut self, tag: &str, element: &BytesStart<'_>, _: usize) -> Result<(), ReportProblem> {
        let meaning = match (self.open.last(), tag) {
            (Some(Open::Other), "test" | "test-case" | "error") => Open::Case,
            (Some(Open::Case), "failure") => Open::Failure,
            (Some(Open::Failure), "message" | "stack-trace") => Open::Text,
            _ => Open::Other,
        };
        match (meaning, tag) {
            (Open::Case, "error") => self.begin_error(element)?,
            (Open::Case, _) => self.begin_case(element)?,
            (_, "assembly" | "test-run") => self.sum_up(element)?,
            _ => {}
        }
        self.open.push(meaning);
        Ok(())
    }

    fn say(&mut self, text: &str) {
        if let (Some(Open::Text), Some(case)) = (self.open.last(), &mut self.case) {
            case.say(text);
        }
    }

    fn close(&mut self) {
        match (self.open.pop(), &mut self.case) {
            (Some(Open::Case), case) => {
                if let Some(case) = case.take() {
                    case.count_in(&mut self.summary);
                }
            }
            (Some(Open::Text), Some(case)) => case.say("\n"),
            _ => {}
        }
    }
}
