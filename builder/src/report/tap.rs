//! TAP, the Test Anything Protocol, of versions 12 to 14: as Perl's tests, node:test, tape, node-tap, Bats, pgTAP and
//! others write it.
//!
//! A test that only sums up the subtests before it is not counted beside them.

use staith_model::{TestFailure, TestSummary};

use super::{Failed, ReportProblem, case::Case, text};

mod point;
mod yaml;

use point::{Directive, Line, Point};
use yaml::Diagnosis;

/// Deeper than tests are nested by people.
const DEEPEST: usize = 64;
/// A level of subtests is indented by this many spaces.
const INDENT: usize = 4;
/// Bytes of a line that are read.
const BYTES_READ: usize = 16 << 10;

/// The results in a TAP stream.
pub(super) fn read(bytes: &[u8]) -> Failed<TestSummary> {
    let mut tap = Tap { levels: vec![Level::default()], ..Tap::default() };
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        tap.take(&String::from_utf8_lossy(&text[..text.len().min(BYTES_READ)]))
            .map_err(|problem| (problem, offset))?;
        offset += line.len();
        if tap.bailed_out {
            break;
        }
    }
    Ok(tap.finish())
}

/// Whether a line can be the first of a TAP stream.
pub(super) fn begins(line: &str) -> bool {
    matches!(point::parse(line), Line::Version(_) | Line::Plan(_) | Line::Point(_) | Line::Bail(_))
}

/// Tests at one indentation.
#[derive(Debug, Default)]
struct Level {
    name: String,
    plan: Option<u64>,
    seen: u64,
    sum: TestSummary,
    /// What the subtests came to whose own test point has not come yet.
    below: Option<TestSummary>,
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Tap {
    /// The level that is read, and those around it, outermost first; never empty.
    levels: Vec<Level>,
    /// A failed test whose explanation may still follow.
    failed: Option<Case>,
    /// The indentation of the YAML block that is read, and the block.
    yaml: Option<(usize, Diagnosis)>,
    /// The name of the subtest that begins.
    announced: String,
    bailed_out: bool,
}

impl Tap {
    fn take(&mut self, line: &str) -> Result<(), ReportProblem> {
        let body = line.trim_start_matches(' ');
        let indent = line.len() - body.len();
        if self.take_yaml(line, indent, body) {
            return Ok(());
        }
        let said = point::parse(body);
        if let Line::Comment(comment) = said {
            return self.comment(comment, indent);
        }
        if said == Line::Other || !indent.is_multiple_of(INDENT) || !self.go_to(indent / INDENT)? {
            return Ok(());
        }
        match said {
            Line::Version("12" | "13" | "14") | Line::Comment(_) | Line::Other => {}
            Line::Version(other) => return Err(ReportProblem::OtherTap(text::name(other))),
            Line::Plan(tests) => {
                self.settle();
                self.level().plan = Some(tests);
            }
            Line::Point(point) => self.point(&point),
            Line::Bail(reason) => self.bail_out(reason),
        }
        Ok(())
    }

    /// Takes a line of a YAML block, or one that begins or ends it.
    fn take_yaml(&mut self, line: &str, indent: usize, body: &str) -> bool {
        match &mut self.yaml {
            None if body == "---" && indent > 0 => {
                self.yaml = Some((indent, Diagnosis::default()));
                true
            }
            None => false,
            Some((of_block, _)) if indent < *of_block && !body.is_empty() => {
                // The end is missing; what comes is not a part of it.
                self.end_yaml();
                false
            }
            Some((of_block, _)) if indent == *of_block && body == "..." => {
                self.end_yaml();
                true
            }
            Some((_, diagnosis)) => {
                diagnosis.take(line);
                true
            }
        }
    }

    fn end_yaml(&mut self) {
        if let (Some((_, mut diagnosis)), Some(case)) = (self.yaml.take(), &mut self.failed) {
            let (file, line) = diagnosis.location();
            case.is_at(file, line);
            case.say(&diagnosis.message);
            case.say(&diagnosis.rest);
        }
    }

    fn comment(&mut self, comment: &str, indent: usize) -> Result<(), ReportProblem> {
        if let Some(name) = comment.strip_prefix("Subtest: ") {
            // Some announce a subtest before it, some in it; one in an announced one begins that.
            if !self.announced.is_empty() && indent == INDENT * self.levels.len() {
                self.go_to(self.levels.len())?;
            }
            self.settle();
            self.announced = name.to_owned();
        } else if let Some(case) = &mut self.failed {
            case.say(comment);
            case.say("\n");
        }
        Ok(())
    }

    /// Goes to another level; false where the indentation can't be one, so that the line means nothing.
    fn go_to(&mut self, depth: usize) -> Result<bool, ReportProblem> {
        if depth > self.levels.len() {
            return Ok(false);
        }
        if depth == self.levels.len() {
            if depth == DEEPEST {
                return Err(ReportProblem::TooDeep(DEEPEST));
            }
            self.settle();
            self.levels.push(Level { name: std::mem::take(&mut self.announced), ..Level::default() });
        }
        while self.levels.len() > depth + 1 {
            self.leave();
        }
        Ok(true)
    }

    /// Ends the innermost level.
    fn leave(&mut self) {
        self.settle();
        if let Some(level) = self.levels.pop() {
            let sum = level.close();
            self.level().below.get_or_insert_default().merge(sum);
        }
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    /// Counts the failed test whose explanation is over.
    fn settle(&mut self) {
        self.end_yaml();
        if let Some(case) = self.failed.take() {
            case.count_in(&mut self.level().sum);
        }
    }

    fn point(&mut self, point: &Point<'_>) {
        self.settle();
        self.announced.clear();
        let suite = self.suite();
        let level = self.level();
        level.seen = level.seen.saturating_add(1);
        let below = level.below.take().filter(|sum| sum.total() > 0);
        let excused = match point.directive {
            Some(Directive::Skip) => true,
            Some(Directive::Todo) => !point.ok,
            None => false,
        };
        match below {
            Some(below) if excused => level.sum.merge(as_skipped(&below)),
            Some(below) => {
                let explained = point.ok || below.failed > 0;
                level.sum.merge(below);
                if !explained {
                    self.failed = Some(failing(suite, point));
                }
            }
            None if excused => level.sum.skipped = level.sum.skipped.saturating_add(1),
            None if point.ok => level.sum.passed = level.sum.passed.saturating_add(1),
            None => self.failed = Some(failing(suite, point)),
        }
    }

    /// The names of the subtests around.
    fn suite(&self) -> String {
        let names: Vec<&str> =
            self.levels.iter().map(|level| level.name.as_str()).filter(|name| !name.is_empty()).collect();
        names.join(" > ")
    }

    fn bail_out(&mut self, reason: &str) {
        self.settle();
        let message =
            if reason.is_empty() { "it bailed out".into() } else { format!("it bailed out: {reason}") };
        let suite = self.suite();
        let level = self.level();
        fail_by_itself(&mut level.sum, 1, suite, "(the test program itself)", message);
        self.bailed_out = true;
    }

    fn finish(mut self) -> TestSummary {
        if self.bailed_out {
            // What it still wanted to do is explained by that.
            self.levels.iter_mut().for_each(|level| level.plan = None);
        }
        while self.levels.len() > 1 {
            self.leave();
        }
        self.settle();
        let without_plan = !self.bailed_out && self.level().plan.is_none();
        let mut sum = self.levels.pop().map(Level::close).unwrap_or_default();
        if without_plan {
            let message = "there is no plan (`1..N`), so nobody knows whether these are all tests; \
                           the test program probably ended early";
            fail_by_itself(&mut sum, 1, String::new(), "(the plan)", message.into());
        }
        sum
    }
}

impl Level {
    /// What the level came to, with what its plan says is missing.
    fn close(mut self) -> TestSummary {
        if let Some(below) = self.below.take() {
            self.sum.merge(below);
        }
        match self.plan {
            Some(0) if self.seen == 0 => self.sum.skipped = self.sum.skipped.saturating_add(1),
            Some(plan) if plan != self.seen => {
                let missing = u32::try_from(plan.saturating_sub(self.seen)).unwrap_or(u32::MAX).max(1);
                let message = format!("{plan} tests were planned, and {} ran", self.seen);
                fail_by_itself(&mut self.sum, missing, self.name, "(the plan)", message);
            }
            _ => {}
        }
        self.sum
    }
}

fn failing(suite: String, point: &Point<'_>) -> Case {
    let name = match (point.description, point.number) {
        ("", Some(number)) => format!("test {number}"),
        ("", None) => "(a test without a name)".to_owned(),
        (description, _) => point::unescape(description),
    };
    let mut case = Case::new(suite, name);
    case.fail(String::new());
    case
}

fn as_skipped(sum: &TestSummary) -> TestSummary {
    TestSummary {
        passed: sum.passed,
        skipped: sum.skipped.saturating_add(sum.failed),
        ..TestSummary::default()
    }
}

/// Counts tests that failed without a test point of their own.
fn fail_by_itself(sum: &mut TestSummary, failed: u32, suite: String, name: &str, message: String) {
    let (suite, message) = (text::name(&suite), text::message("", &message));
    let failure = TestFailure { suite, name: name.to_owned(), message, file: None, line: None };
    sum.merge(TestSummary { failed, failures: vec![failure], ..TestSummary::default() });
}
