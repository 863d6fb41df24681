//! Cobertura's XML, as coverage.py, gcovr, Coverlet, Istanbul, cargo-llvm-cov, PHPUnit and others write it.

use quick_xml::events::BytesStart;
use staith_model::Coverage;

use super::{
    ReportProblem,
    xml::{Elements, attribute, number},
};

/// What an open element means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Class,
    Methods,
    Other,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Cobertura {
    /// What the root says of the whole.
    said: Coverage,
    /// What its lines add up to.
    counted: Coverage,
    /// Lines of the open class, and of its methods, which most writers repeat below the class itself.
    class: Coverage,
    methods: Coverage,
    open: Vec<Open>,
}

impl Cobertura {
    /// The results, once all is read: the root's sums where it has them, else what the lines add up to.
    pub(super) fn results(self) -> Coverage {
        let (said, counted) = (self.said, self.counted);
        let (lines, of_lines) = better((said.lines, said.of_lines), (counted.lines, counted.of_lines));
        let (branches, of_branches) =
            better((said.branches, said.of_branches), (counted.branches, counted.of_branches));
        Coverage { lines, of_lines, branches, of_branches }
    }

    fn begin(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        let number = |name| number(element, name).map(Option::unwrap_or_default);
        self.said = Coverage {
            lines: number("lines-covered")?,
            of_lines: number("lines-valid")?,
            branches: number("branches-covered")?,
            of_branches: number("branches-valid")?,
        };
        Ok(())
    }

    fn line(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        let mut line = Coverage { of_lines: 1, ..Coverage::default() };
        // Some writers count in floating point, and some beyond 64 bits.
        let hits = attribute(element, "hits")?.unwrap_or_default();
        line.lines = u64::from(hits.bytes().any(|byte| (b'1'..=b'9').contains(&byte)));
        if let Some(condition) = attribute(element, "condition-coverage")? {
            (line.branches, line.of_branches) = conditions(&condition).unwrap_or_default();
        }
        let in_methods = self.open.contains(&Open::Methods);
        let sum = if in_methods { &mut self.methods } else { &mut self.class };
        sum.merge(line);
        Ok(())
    }

    fn end_class(&mut self) {
        let (class, methods) = (std::mem::take(&mut self.class), std::mem::take(&mut self.methods));
        self.counted.merge(if class.of_lines > 0 { class } else { methods });
    }
}

impl Elements for Cobertura {
    fn open(&mut self, tag: &str, element: &BytesStart<'_>, depth: usize) -> Result<(), ReportProblem> {
        if depth == 1 && tag == "project" {
            return Err(ReportProblem::Unknown {
                start: "<coverage><project>".into(),
                hint: "; this is Clover, and most programs that write it can write Cobertura",
            });
        }
        self.open.push(match tag {
            "class" => Open::Class,
            "methods" => Open::Methods,
            _ => Open::Other,
        });
        match tag {
            "coverage" if depth == 0 => self.begin(element),
            "line" => self.line(element),
            _ => Ok(()),
        }
    }

    fn say(&mut self, _: &str) {}

    fn close(&mut self) {
        if self.open.pop() == Some(Open::Class) {
            self.end_class();
        }
    }
}

/// What was said where it makes sense and is something, else what was counted.
fn better(said: (u64, u64), counted: (u64, u64)) -> (u64, u64) {
    if said.1 > 0 && said.0 <= said.1 { said } else { counted }
}

/// `50% (1/2)` as 1 of 2.
fn conditions(text: &str) -> Option<(u64, u64)> {
    let (_, rest) = text.split_once('(')?;
    let (taken, of) = rest.trim_end().strip_suffix(')')?.split_once('/')?;
    let (taken, of) = (taken.trim().parse().ok()?, of.trim().parse().ok()?);
    (taken <= of).then_some((taken, of))
}
