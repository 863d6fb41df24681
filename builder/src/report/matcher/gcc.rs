//! GCC and Clang, and whoever writes as they do; Go, which says no word for how bad it is.

use staith_model::{Finding, Severity};

use super::{
    Lines,
    scan::{finding, place, rule_at_end, severity},
};

/// Programs whose errors may be about no file at all.
const DRIVERS: [&str; 14] = [
    "gcc", "g++", "cc", "c++", "cc1", "cc1plus", "clang", "clang++", "collect2", "ld", "ld.lld", "ld.gold",
    "lld", "mold",
];

#[derive(Debug)]
pub(super) struct Gcc;

impl Lines for Gcc {
    fn take(&mut self, line: &str) -> Option<Finding> {
        at_a_place(line).or_else(|| of_the_linker(line)).or_else(|| of_the_driver(line))
    }
}

/// `src/a.c:3:5: warning: unused variable 'x' [-Wunused-variable]`
pub(super) fn at_a_place(line: &str) -> Option<Finding> {
    let at = place(line)?;
    let (severity, rest) = severity(at.rest)?;
    // `error[E0382]: ...` is rustc's short form.
    let (code, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((code, rest)) => (Some(code), rest),
        None => (None, rest),
    };
    let rest = rest.trim_start();
    let message = rest.strip_prefix(':').or_else(|| rest.strip_prefix("- "))?;
    let (message, rule) = rule_at_end(message);
    Some(at.finding(severity, code.or(rule), message))
}

/// `/usr/bin/ld: src/a.c:12: undefined reference to `x'`, where the part about the file depends on much.
fn of_the_linker(line: &str) -> Option<Finding> {
    let start = line.find("undefined reference to ").or_else(|| line.find("multiple definition of "))?;
    let (before, message) = line.split_at(start);
    let before = before.trim_end_matches([' ', ':']);
    let before = before.split_once("ld: ").map_or(before, |(_, rest)| rest);
    match place(&format!("{before}:")) {
        Some(at) => Some(at.finding(Severity::Error, None, message)),
        None => {
            let path = before.split([':', '(']).next().unwrap_or_default();
            Some(finding(Severity::Error, path, None, message))
        }
    }
}

/// `clang: error: linker command failed`
fn of_the_driver(line: &str) -> Option<Finding> {
    let (program, rest) = line.split_once(": ")?;
    let name = program.rsplit('/').next()?;
    // Compilers for other machines have those in front of their names: `arm-none-eabi-gcc`.
    let name = if DRIVERS.contains(&name) { name } else { name.rsplit('-').next()? };
    let (severity, rest) = severity(rest).filter(|_| DRIVERS.contains(&name))?;
    let (message, rule) = rule_at_end(rest.strip_prefix(':')?);
    Some(finding(severity, "", rule, message))
}

#[derive(Debug)]
pub(super) struct Go;

impl Lines for Go {
    /// `./main.go:3:5: undefined: x`
    fn take(&mut self, line: &str) -> Option<Finding> {
        let line = line.strip_prefix("vet: ").unwrap_or(line);
        let at = place(line).filter(|at| at.path.ends_with(".go"))?;
        Some(match severity(at.rest).and_then(|(severity, rest)| Some((severity, rest.strip_prefix(':')?))) {
            Some((severity, message)) => at.finding(severity, None, message),
            None => {
                // golangci-lint has its linter's name at the end.
                let (message, rule) = match at.rest.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("))
                {
                    Some((message, rule)) if !rule.contains(' ') => (message, Some(rule)),
                    _ => (at.rest, None),
                };
                at.finding(Severity::Error, rule, message)
            }
        })
    }
}
