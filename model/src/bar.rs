//! What a step's results have to come up to. Pure.

use serde::{Deserialize, Serialize};

use crate::{Coverage, Findings, Severity};

/// The least that has to be covered, in percent. `None` asks for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageBar {
    /// Of lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u8>,
    /// Of branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<u8>,
}

/// The most that may be found. A step that says nothing of it has [`FindingsBar::default`]: no errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingsBar {
    /// What counts: this and what is worse.
    pub level: Severity,
    /// As many may be found.
    pub most: u32,
}

impl Default for FindingsBar {
    fn default() -> Self {
        Self { level: Severity::Error, most: 0 }
    }
}

/// What is covered less than it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortfall {
    /// `lines` or `branches`.
    pub of: &'static str,
    /// How many are covered, and of how many; `None` where no report says.
    pub covered: Option<(u64, u64)>,
    /// The least, in percent.
    pub least: u8,
}

impl CoverageBar {
    /// What is below the bar. What no report speaks of is: no data is not success.
    pub fn missed(&self, coverage: Option<&Coverage>) -> impl Iterator<Item = Shortfall> + use<> {
        let part = |of, least: Option<u8>, covered: Option<(u64, u64)>| {
            let covered = covered.filter(|(_, all)| *all > 0);
            let least = least?;
            let reached =
                |(covered, all): (u64, u64)| u128::from(covered) * 100 >= u128::from(all) * u128::from(least);
            (!covered.is_some_and(reached)).then_some(Shortfall { of, covered, least })
        };
        let lines = part("lines", self.lines, coverage.map(|it| (it.lines, it.of_lines)));
        let branches = part("branches", self.branches, coverage.map(|it| (it.branches, it.of_branches)));
        lines.into_iter().chain(branches)
    }
}

impl FindingsBar {
    /// How many findings count.
    pub const fn counted(&self, findings: &Findings) -> u32 {
        let with_warnings = findings.errors.saturating_add(findings.warnings);
        match self.level {
            Severity::Error => findings.errors,
            Severity::Warning => with_warnings,
            Severity::Note => with_warnings.saturating_add(findings.notes),
        }
    }

    /// Whether there are more than there may be.
    pub const fn is_exceeded(&self, findings: &Findings) -> bool {
        self.counted(findings) > self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_reached_exactly_and_never_by_rounding() {
        let bar = CoverageBar { lines: Some(80), branches: Some(100) };
        let of = |lines, of_lines, branches, of_branches| {
            let coverage = Coverage { lines, of_lines, branches, of_branches };
            bar.missed(Some(&coverage)).map(|missed| missed.of).collect::<Vec<_>>()
        };
        assert_eq!(of(80, 100, 7, 7), [""; 0]);
        assert_eq!(of(7_999, 10_000, 7, 7), ["lines"]);
        assert_eq!(of(u64::MAX, u64::MAX, u64::MAX - 1, u64::MAX), ["branches"]);
        assert_eq!(of(0, 0, 0, 0), ["lines", "branches"], "nothing to cover is no data");
        assert_eq!(bar.missed(None).count(), 2);
        assert_eq!(CoverageBar::default().missed(None).count(), 0);
    }

    #[test]
    fn what_is_worse_than_the_level_counts_as_well() {
        let findings = Findings { errors: 1, warnings: 2, notes: 4, shown: Vec::new() };
        for (level, counted) in [(Severity::Error, 1), (Severity::Warning, 3), (Severity::Note, 7)] {
            let bar = |most| FindingsBar { level, most };
            assert_eq!(bar(0).counted(&findings), counted);
            assert!(bar(counted - 1).is_exceeded(&findings) && !bar(counted).is_exceeded(&findings));
        }
    }
}
