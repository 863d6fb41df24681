//! The pieces that lines of compilers and linters are made of. Each is found in one pass, however hostile the line.

use staith_model::{Finding, Severity};

use super::super::{
    location::{in_workspace, leading_number},
    text,
};

/// A place at the start of a line, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At<'l> {
    pub(super) path: &'l str,
    pub(super) line: u32,
    pub(super) column: Option<u32>,
    pub(super) rest: &'l str,
}

impl At<'_> {
    pub(super) fn finding(&self, severity: Severity, rule: Option<&str>, message: &str) -> Finding {
        Finding { line: Some(self.line), column: self.column, ..finding(severity, self.path, rule, message) }
    }
}

/// A finding that knows no line.
pub(super) fn finding(severity: Severity, path: &str, rule: Option<&str>, message: &str) -> Finding {
    Finding {
        severity,
        path: in_workspace(path.trim()),
        line: None,
        column: None,
        rule: rule.map(text::name).filter(|rule| !rule.is_empty()),
        message: text::message("", message.trim()),
    }
}

/// `path:line:` or `path:line:column:`, where the last colon may be a space.
pub(super) fn place(line: &str) -> Option<At<'_>> {
    let starts = line.match_indices(':').map(|(colon, _)| colon);
    for colon in starts {
        let Some((number, rest)) = leading_number(&line[colon + 1..]) else { continue };
        let path = &line[..colon];
        if !is_path(path) {
            return None;
        }
        if let Some((column, rest)) = rest.strip_prefix(':').and_then(leading_number)
            && let Some(rest) = after_place(rest)
        {
            return Some(At { path, line: number, column: Some(column), rest });
        }
        // Some programs count columns from 0.
        let rest = rest.strip_prefix(":0").filter(|rest| rest.starts_with(':')).unwrap_or(rest);
        return after_place(rest).map(|rest| At { path, line: number, column: None, rest });
    }
    None
}

fn after_place(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix(" - ")).or_else(|| rest.strip_prefix(' '));
    rest.map(str::trim_start)
}

/// `path(line)`, `path(line,column)` or with the end of the range too, then a colon.
pub(super) fn place_in_parentheses(line: &str) -> Option<At<'_>> {
    let (before, rest) = line.split_once("):").or_else(|| line.split_once(") :"))?;
    let (path, numbers) = before.rsplit_once('(')?;
    let (number, after) = leading_number(numbers)?;
    let column = after.strip_prefix(',').and_then(leading_number).map(|(column, _)| column);
    let only_numbers = numbers.bytes().all(|byte| byte.is_ascii_digit() || b", -".contains(&byte));
    (only_numbers && is_path(path)).then_some(At { path, line: number, column, rest: rest.trim_start() })
}

/// Whether a text may be a path: what stands before the numbers of a time of day, or in a sentence, is none.
pub(super) fn is_path(text: &str) -> bool {
    let named = text.contains(['.', '/', '\\']) && text.chars().any(char::is_alphabetic);
    named && !text.starts_with(char::is_whitespace) && !text.contains("://") && text.len() <= 1024
}

/// The word for how bad it is, and what follows its colon.
pub(super) fn severity(text: &str) -> Option<(Severity, &str)> {
    const WORDS: [(&str, Severity); 10] = [
        ("fatal error", Severity::Error),
        ("internal compiler error", Severity::Error),
        ("sorry, unimplemented", Severity::Error),
        ("fatal", Severity::Error),
        ("error", Severity::Error),
        ("warning", Severity::Warning),
        ("note", Severity::Note),
        ("remark", Severity::Note),
        ("info", Severity::Note),
        ("hint", Severity::Note),
    ];
    WORDS.iter().find_map(|(word, severity)| {
        let head = text.get(..word.len()).filter(|head| head.eq_ignore_ascii_case(word))?;
        let rest = &text[head.len()..];
        let ends = rest.is_empty() || rest.starts_with([':', ' ', '[', '\t']);
        ends.then_some((*severity, rest))
    })
}

/// A rule's code such as `CS0103` or `E501` at the start of a text, and what follows it and its colon.
pub(super) fn code(text: &str) -> Option<(&str, &str)> {
    let end = text.find([':', ' ', '\t']).unwrap_or(text.len());
    let (code, rest) = text.split_at(end);
    let letters = code.bytes().take_while(u8::is_ascii_uppercase).count();
    let digits = code.len().saturating_sub(letters);
    let is_code = (1..=8).contains(&letters) && (1..=6).contains(&digits);
    let is_code = is_code && code.bytes().skip(letters).all(|byte| byte.is_ascii_digit());
    is_code.then(|| (code, rest.trim_start_matches(':').trim_start()))
}

/// A message and the name in brackets at its end, where it has one that looks like a rule's.
pub(super) fn rule_at_end(text: &str) -> (&str, Option<&str>) {
    let text = text.trim_end();
    let parts = text.strip_suffix(']').and_then(|text| text.rsplit_once('['));
    match parts {
        Some((message, rule))
            if !rule.is_empty() && !rule.contains(char::is_whitespace) && !message.trim().is_empty() =>
        {
            (message.trim_end(), Some(rule))
        }
        _ => (text, None),
    }
}
