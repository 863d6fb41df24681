//! LCOV's trace files, as lcov, c8, nyc, Jest, cargo-llvm-cov, Dart and others write them.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use staith_model::Coverage;

use super::{Failed, ReportProblem, text};

/// What has been read so far. A file that several tests cover has several records, which are united line by line.
#[derive(Debug, Default)]
struct Lcov {
    files: HashMap<Vec<u8>, u32>,
    /// The record that is open.
    record: Option<Record>,
    /// File, line, whether it was run.
    lines: Vec<(u32, u64, bool)>,
    /// File, line, which branch, whether it was taken.
    branches: Vec<(u32, u64, u64, bool)>,
    /// Of records that hold sums only.
    sums: Coverage,
}

/// A record that is open.
#[derive(Debug, Default)]
struct Record {
    file: u32,
    has_lines: bool,
    has_branches: bool,
    /// What it says of itself.
    sums: Coverage,
}

/// The results in a trace file.
pub(super) fn read(bytes: &[u8]) -> Failed<Coverage> {
    let mut lcov = Lcov::default();
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii();
        if !text.is_empty() && !text.starts_with(b"#") && lcov.take(text).is_none() {
            let line = text::name(&String::from_utf8_lossy(&text[..text.len().min(80)]));
            return Err((ReportProblem::MalformedLcov(line), offset));
        }
        offset += line.len();
    }
    if lcov.record.is_some() {
        return Err((ReportProblem::CutOff("a record (`end_of_record` is missing)".into()), bytes.len()));
    }
    Ok(lcov.results())
}

impl Lcov {
    /// Takes a line; `None` if it is none of a trace file's.
    fn take(&mut self, line: &[u8]) -> Option<()> {
        if line == b"end_of_record" {
            let record = self.record.take()?;
            self.end(&record);
            return Some(());
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (key, value) = (&line[..colon], &line[colon + 1..]);
        if key == b"SF" {
            // The record before has no end: it was cut off, and another program went on.
            if self.record.is_some() {
                return None;
            }
            let next = u32::try_from(self.files.len()).ok()?;
            let file = *self.files.entry(value.to_vec()).or_insert(next);
            self.record = Some(Record { file, ..Record::default() });
            return Some(());
        }
        let known = key.len() <= 8 && key.iter().all(u8::is_ascii_uppercase);
        match (&mut self.record, key) {
            (Some(record), b"DA") => {
                let [number, hits] = fields(value)?;
                record.has_lines = true;
                self.lines.push((record.file, whole(number)?, is_hit(hits)));
            }
            (Some(record), b"BRDA") => {
                let [number, block, branch, taken] = fields(value)?;
                record.has_branches = true;
                let mut which = DefaultHasher::new();
                (block, branch).hash(&mut which);
                self.branches.push((record.file, whole(number)?, which.finish(), is_hit(taken)));
            }
            (Some(record), b"LF") => record.sums.of_lines = whole(value)?,
            (Some(record), b"LH") => record.sums.lines = whole(value)?,
            (Some(record), b"BRF") => record.sums.of_branches = whole(value)?,
            (Some(record), b"BRH") => record.sums.branches = whole(value)?,
            (None, b"TN") => {}
            // FN, FNDA, FNF, FNH, VER and what later versions add.
            (Some(_), _) if known => {}
            _ => return None,
        }
        Some(())
    }

    fn end(&mut self, record: &Record) {
        let mut sums = record.sums;
        if record.has_lines || sums.lines > sums.of_lines {
            (sums.lines, sums.of_lines) = (0, 0);
        }
        if record.has_branches || sums.branches > sums.of_branches {
            (sums.branches, sums.of_branches) = (0, 0);
        }
        self.sums.merge(sums);
    }

    fn results(mut self) -> Coverage {
        // What was hit comes last of its like, so that it is what stays.
        self.lines.sort_unstable();
        self.branches.sort_unstable();
        let lines = last_of_each(&self.lines, |a, b| (a.0, a.1) == (b.0, b.1));
        let branches = last_of_each(&self.branches, |a, b| (a.0, a.1, a.2) == (b.0, b.1, b.2));
        let mut sum = self.sums;
        for (_, _, hit) in lines {
            sum.merge(Coverage { lines: u64::from(*hit), of_lines: 1, ..Coverage::default() });
        }
        for (_, _, _, taken) in branches {
            sum.merge(Coverage { branches: u64::from(*taken), of_branches: 1, ..Coverage::default() });
        }
        sum
    }
}

/// Of each run of like items, the last.
fn last_of_each<T>(sorted: &[T], alike: impl Fn(&T, &T) -> bool) -> impl Iterator<Item = &T> {
    sorted.chunk_by(alike).filter_map(<[T]>::last)
}

/// The first fields of a value, separated by commas; there may be more.
fn fields<const N: usize>(value: &[u8]) -> Option<[&[u8]; N]> {
    let mut parts = value.split(|byte| *byte == b',');
    let mut fields = [&value[..0]; N];
    for field in &mut fields {
        *field = parts.next()?;
    }
    Some(fields)
}

fn whole(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

/// Counts may be larger than 64 bits, or `-` for what was never reached; negative ones are a known mistake of gcov's.
fn is_hit(count: &[u8]) -> bool {
    !count.starts_with(b"-") && count.iter().any(|byte| (b'1'..=b'9').contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_file_s_records_are_one_file() {
        let one = "TN:a\nSF:x.c\nDA:1,1\nDA:2,0\nBRDA:1,0,0,-\nBRDA:1,0,1,2\nend_of_record\n";
        let two = "TN:b\nSF:x.c\nDA:1,0\nDA:2,7\nDA:3,0\nBRDA:1,0,0,1\nend_of_record\n";
        let sum = read(format!("{one}{two}").as_bytes()).unwrap();
        assert_eq!(sum, Coverage { lines: 2, of_lines: 3, branches: 2, of_branches: 2 });
    }

    #[test]
    fn sums_count_where_there_are_no_lines() {
        let sum = read(b"SF:x.c\nLF:10\nLH:9\nBRF:2\nBRH:5\nend_of_record\n").unwrap();
        assert_eq!(sum, Coverage { lines: 9, of_lines: 10, branches: 0, of_branches: 0 });
    }
}
