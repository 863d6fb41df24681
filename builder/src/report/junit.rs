//! JUnit XML, as pytest, Surefire, Gradle, GoogleTest, Jest, Mocha, cargo-nextest, gotestsum, PHPUnit, RSpec and others
//! write it. There is no standard; what they agree on is read, and what they say of places is used where it is there.

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
    Suites,
    Suite,
    Case,
    /// A failure or an error of a case, or of a suite that could not even start.
    Failure,
    /// Anything else: properties, output, ...
    Other,
}

/// A suite that is open, or what holds all suites.
#[derive(Debug, Default)]
struct Suite {
    name: String,
    file: Option<String>,
    claim: Claim,
    /// What was counted before it.
    before: Counted,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Junit {
    summary: TestSummary,
    open: Vec<Open>,
    /// The suites around, outermost first.
    suites: Vec<Suite>,
    case: Option<Case>,
}

impl Junit {
    /// The results, once all is read.
    pub(super) fn results(self) -> TestSummary {
        self.summary
    }

    fn meaning(&self, tag: &str) -> Open {
        match (self.open.last(), tag) {
            (None | Some(Open::Suites), "testsuites") => Open::Suites,
            (None | Some(Open::Suites | Open::Suite), "testsuite") => Open::Suite,
            (Some(Open::Suites | Open::Suite), "testcase") => Open::Case,
            (Some(Open::Case | Open::Suite), "failure" | "error") => Open::Failure,
            _ => Open::Other,
        }
    }

    fn begin_suite(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        let name = attribute(element, "name")?.unwrap_or_default();
        let around = self.suites.last().and_then(|suite| suite.file.clone());
        let file = attribute(element, "file")?.filter(|file| !file.is_empty()).or(around);
        let of = |name| number(element, name);
        let claim = Claim::default()
            .of_tests(of("tests")?, [of("skipped")?, of("disabled")?])
            .of_failures([of("failures")?, of("errors")?]);
        self.suites.push(Suite { name, file, claim, before: Counted::of(&self.summary) });
        Ok(())
    }

    /// A suite that says of itself what its cases do not say.
    fn end_suite(&mut self) {
        let Some(Suite { name, claim, before, .. }) = self.suites.pop() else { return };
        claim.hold_to(before, &mut self.summary, name);
    }

    fn begin_case(&self, element: &BytesStart<'_>) -> Result<Case, ReportProblem> {
        let suite = self.suites.last();
        let class = match attribute(element, "classname")? {
            Some(class) => Some(class),
            None => attribute(element, "class")?,
        };
        let class = class.filter(|class| !class.trim().is_empty());
        let class = class.or_else(|| suite.map(|suite| suite.name.clone())).unwrap_or_default();
        let name = attribute(element, "name")?.unwrap_or_else(|| "(a test without a name)".to_owned());
        let mut case = Case::new(class, name);
        // GoogleTest writes `status="notrun"` for tests that are switched off.
        case.skipped = attribute(element, "status")?
            .is_some_and(|status| ["notrun", "skipped", "disabled"].contains(&status.as_str()));
        let file = match attribute(element, "file")? {
            Some(file) => Some(file),
            None => attribute(element, "filepath")?,
        };
        let line = match number(element, "line")? {
            // pytest counts from 0 where it writes lines at all.
            Some(line) if suite.is_some_and(|suite| suite.name == "pytest") => Some(line.saturating_add(1)),
            Some(line) => Some(line),
            None => number(element, "lineno")?,
        };
        case.is_at(file.or_else(|| suite.and_then(|suite| suite.file.clone())), line);
        Ok(case)
    }

    fn begin_failure(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        let message = match attribute(element, "message")? {
            Some(message) => message,
            None => attribute(element, "type")?.unwrap_or_default(),
        };
        if self.open.last() == Some(&Open::Suite) {
            let suite = self.suites.last().map(|suite| suite.name.clone()).unwrap_or_default();
            self.case = Some(Case::new(suite, "(the suite itself)".to_owned()));
        }
        let (file, line) = (attribute(element, "file")?, number(element, "line")?);
        if let Some(case) = &mut self.case {
            case.fail(message);
            if file.is_some() {
                case.is_at(file, line);
            }
        }
        Ok(())
    }
}

impl Elements for Junit {
    fn open(&mut self, tag: &str, element: &BytesStart<'_>, _: usize) -> Result<(), ReportProblem> {
        let meaning = self.meaning(tag);
        match meaning {
            Open::Suite | Open::Suites => self.begin_suite(element)?,
            Open::Case => self.case = Some(self.begin_case(element)?),
            Open::Failure => self.begin_failure(element)?,
            Open::Other if self.open.last() == Some(&Open::Case) && tag == "skipped" => {
                if let Some(case) = &mut self.case {
                    case.skipped = true;
                }
            }
            Open::Other => {}
        }
        self.open.push(meaning);
        Ok(())
    }

    fn say(&mut self, text: &str) {
        if let (Some(Open::Failure), Some(case)) = (self.open.last(), &mut self.case) {
            case.say(text);
        }
    }

    fn close(&mut self) {
        let closed = self.open.pop();
        if matches!(closed, Some(Open::Suite | Open::Suites)) {
            self.end_suite();
        }
        let of_the_suite = closed == Some(Open::Failure) && self.open.last() == Some(&Open::Suite);
        if let Some(case) = self.case.take_if(|_| closed == Some(Open::Case) || of_the_suite) {
            case.count_in(&mut self.summary);
        }
    }
}
