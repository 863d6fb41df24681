//! The forms in which a secret is likely to appear.

use std::fmt::Write as _;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};

use super::admission::different_bytes;

/// Shorter forms are found by chance.
const SHORTEST_FORM: usize = 6;
/// Shorter lines of a secret with several are rather structure (`}`, `end`) than secret.
const SHORTEST_LINE: usize = 8;
/// A value in JSON that is this long and has no spaces is taken for a key or token, whatever its name.
const LONG_VALUE: usize = 16;
/// Of longer values only the likeliest forms are looked for: each form costs memory as often as it has bytes.
const LONG_SECRET: usize = 4 << 10;

/// Adds all forms of a secret: to `exact` those that are found byte by byte, to `folded` those that tools break into lines.
pub(super) fn collect(value: &str, exact: &mut Vec<Vec<u8>>, folded: &mut Vec<Vec<u8>>) {
    for part in parts(value) {
        let few = part.len() > LONG_SECRET;
        let mut plain = vec![part.as_bytes().to_vec()];
        plain.extend(json(&part).into_iter().map(String::into_bytes));
        let mut wrapped = base64(part.as_bytes());
        if !few {
            plain.extend(urls(&part).into_iter().map(String::into_bytes));
            plain.extend([shell(&part), xml(&part)].map(String::into_bytes));
            plain.push(part.chars().rev().collect::<String>().into_bytes());
            plain.push(part.bytes().rev().collect());
            plain.extend(every_byte(&part).map(String::into_bytes));
            wrapped.extend(hexadecimal(part.as_bytes()).map(String::into_bytes));
            wrapped.extend(base32(part.as_bytes()));
        }
        let long_enough = |form: &Vec<u8>| form.len() >= SHORTEST_FORM;
        exact.extend(plain.into_iter().filter(long_enough));
        folded.extend(wrapped.into_iter().filter(long_enough));
    }
}

/// The secret itself and the parts of it that are secret alone: a program that reads a key line by line also prints it so.
fn parts(value: &str) -> Vec<String> {
    // What a file or `echo` has added at the end is not printed along with the rest.
    let value = value.trim_end_matches(['\n', '\r']);
    let mut parts = vec![value.to_owned()];
    let parsed: Option<serde_json::Value> = serde_json::from_str(value)
        .ok()
        .filter(|parsed: &serde_json::Value| parsed.is_object() || parsed.is_array());
    match parsed {
        Some(parsed) => values_in(&parsed, false, &mut parts),
        None => lines_of(value, &mut parts),
    }
    parts
}

fn lines_of(value: &str, parts: &mut Vec<String>) {
    if value.contains('\n') {
        // A program on the way may have changed the line ends.
        parts.push(value.replace("\r\n", "\n"));
        let secret = |line: &&str| {
            line.len() >= SHORTEST_LINE && different_bytes(line) >= 5 && !line.starts_with("-----")
        };
        parts.extend(value.lines().map(str::trim).filter(secret).map(str::to_owned));
    }
}

/// The texts in a JSON document that are secret by their name, or look like a key.
fn values_in(value: &serde_json::Value, named: bool, parts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => {
            let like_a_key = text.len() >= LONG_VALUE && !text.contains(' ') && !text.starts_with("http");
            if text.contains('\n') {
                parts.push(text.clone());
                lines_of(text, parts);
            } else if different_bytes(text) >= 5 && (like_a_key || named && text.len() >= SHORTEST_FORM) {
                parts.push(text.clone());
            }
        }
        serde_json::Value::Array(all) => all.iter().for_each(|one| values_in(one, named, parts)),
        serde_json::Value::Object(all) => {
            for (name, one) in all {
                let name = name.to_ascii_lowercase();
                let says_so = ["secret", "password", "passwd", "token", "key", "credential", "auth"];
                values_in(one, says_so.iter().any(|word| name.contains(word)), parts);
            }
        }
        _ => {}
    }
}

/// Base64 in both alphabets, wherever in a longer text the secret begins: three bytes become four digits, so there are three
/// ways to lie across them. The digits that also depend on what stands beside the secret are left out; where it ends the
/// text, they are known.
fn base64(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for offset in 0..3 {
        let mut shifted = vec![0; offset];
        shifted.extend_from_slice(secret);
        let first = (offset * 8).div_ceil(6);
        let whole = shifted.len() * 8 / 6;
        for engine in [&STANDARD, &URL_SAFE] {
            let digits = engine.encode(&shifted);
            let unpadded = digits.trim_end_matches('=').len();
            for end in [whole, unpadded, digits.len()] {
                forms.push(digits.as_bytes()[first..end].to_vec());
            }
        }
    }
    forms
}

/// Base32 in capitals: five bytes become eight digits, so there are five ways to lie across them. The rest as for base64.
fn base32(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for offset in 0..5 {
        let mut shifted = vec![0; offset];
        shifted.extend_from_slice(secret);
        let digits = base32_digits(&shifted);
        let first = (offset * 8).div_ceil(5);
        for end in [shifted.len() * 8 / 5, digits.len()] {
            forms.push(digits[first..end].to_vec());
        }
    }
    forms
}

/// The digits without padding.
fn base32_digits(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let digit = |at: usize| (0..5).fold(0, |digit, next| digit << 1 | usize::from(bit(at * 5 + next)));
    (0..(bytes.len() * 8).div_ceil(5)).map(|at| DIGITS[digit(at)]).collect()
}

/// Every byte as `\xNN`, with digits in both cases.
fn every_byte(secret: &str) -> [String; 2] {
    let (mut lower, mut upper) = (String::new(), String::new());
    for byte in secret.bytes() {
        let _ = write!(lower, "\\x{byte:02x}");
        let _ = write!(upper, "\\x{byte:02X}");
    }
    [lower, upper]
}

fn hexadecimal(secret: &[u8]) -> [String; 2] {
    let lower = secret.iter().fold(String::with_capacity(secret.len() * 2), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    let upper = lower.to_ascii_uppercase();
    [lower, upper]
}

/// Escaped as in URLs: by the standard, as JavaScript does, as forms do, and every byte; each with digits in both cases.
fn urls(secret: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for kept in ["-_.~", "-_.!~*'()", "-_.!~*'();/?:@&=+$,#", "*-._", "/-_.~"] {
        forms.extend(percent(secret, |byte| byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte)));
    }
    forms.extend(percent(secret, |_| false));
    if secret.contains(' ') {
        let spaced: Vec<String> = forms.iter().map(|form| form.replace("%20", "+")).collect();
        forms.extend(spaced);
    }
    forms
}

fn percent(secret: &str, is_kept: impl Fn(u8) -> bool) -> [String; 2] {
    let (mut upper, mut lower) = (String::new(), String::new());
    for byte in secret.bytes() {
        if is_kept(byte) {
            upper.push(char::from(byte));
            lower.push(char::from(byte));
        } else {
            let _ = write!(upper, "%{byte:02X}");
            let _ = write!(lower, "%{byte:02x}");
        }
    }
    [upper, lower]
}

/// Escaped as in JSON: as little as possible, ASCII only, with `\/`, and as Go and others do for HTML; and once more, as JSON
/// in JSON.
fn json(secret: &str) -> Vec<String> {
    let least = serde_json::to_string(secret).unwrap_or_default();
    let least = least.get(1..least.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let ascii = escape(&least, |c| !c.is_ascii(), false);
    let html = escape(&least, |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'), false);
    let mut forms = vec![
        least.replace('/', "\\/"),
        escape(&least, |c| !c.is_ascii(), true),
        ascii.replace('/', "\\/"),
        ascii,
        html,
    ];
    if let Ok(twice) = serde_json::to_string(&least) {
        forms.extend(twice.get(1..twice.len() - 1).map(str::to_owned));
    }
    forms.push(least);
    forms
}

fn escape(text: &str, which: impl Fn(char) -> bool, upper: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if which(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ =
                    if upper { write!(escaped, "\\u{unit:04X}") } else { write!(escaped, "\\u{unit:04x}") };
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// As `set -x` of a shell shows it, between single quotes.
fn shell(secret: &str) -> String {
    secret.replace('\'', "'\\''")
}

fn xml(secret: &str) -> String {
    let escapes = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&#39;")];
    escapes.iter().fold(secret.to_owned(), |text, (plain, escaped)| text.replace(plain, escaped))
}
