//! What runs on a Windows machine, and the command line that starts it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use staith_model::Digest;

const START: &str = include_str!("start.ps1");

/// In the order in which it reads: functions come before what calls them.
const PROGRAM: &str = concat!(
    include_str!("program/words.ps1"),
    include_str!("program/files.ps1"),
    include_str!("program/releases.ps1"),
    include_str!("program/iis.ps1"),
    include_str!("program/switch.ps1"),
    include_str!("program/hooks.ps1"),
    include_str!("program/look.ps1"),
    include_str!("program/serve.ps1"),
);

/// The program as it travels: without comments, empty lines and indentation. No text in it goes over several lines.
pub(super) fn program() -> String {
    let lines = PROGRAM.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

/// The line that brings the program: the first that is written to standard input.
pub(super) fn first_line(program: &str) -> String {
    format!("{}\n", STANDARD.encode(program))
}

/// The command line. `-EncodedCommand` has letters, digits, `+`, `/` and `=` only, so `cmd.exe` and PowerShell, either of which may be
/// the default shell of Windows' sshd, hand it on as it is; and it is shorter than the 8,191 letters that `cmd.exe` takes. The
/// program itself would not be, so it comes by standard input, which `-InputFormat None` leaves to it.
pub(super) fn command(program: &str, mark: &str) -> String {
    let digest = Digest::of(program.as_bytes()).hex().to_uppercase();
    let start = START.replace("@DIGEST@", &digest).replace("@MARK@", mark);
    let bytes: Vec<u8> = start.encode_utf16().flat_map(u16::to_le_bytes).collect();
    format!(
        "powershell.exe -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -InputFormat None -EncodedCommand {}",
        STANDARD.encode(bytes)
    )
}

/// Marks our own replies among what others say. New each time, so that nothing can be prepared to look like it.
///
/// # Errors
/// There is no randomness.
pub(super) fn mark() -> Result<String, String> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| format!("there is no randomness: {error}"))?;
    Ok(format!("staith:{:016x}:", u64::from_le_bytes(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_survives_both_shells_and_is_short_enough_for_cmd() {
        let command = command(&program(), &mark().unwrap());
        let plain = |c: char| c.is_ascii_alphanumeric() || " .-+/=".contains(c);
        assert!(command.chars().all(plain), "{command}");
        assert!(command.len() < 8_000, "{}", command.len());
    }

    #[test]
    fn the_program_is_ascii_without_texts_over_several_lines() {
        let all = program();
        assert!(all.is_ascii() && !all.contains("@'") && !all.contains("@\""));
        for line in all.lines() {
            assert_eq!(outside_quotes(line).1, None, "a quote is open at the end of: {line}");
        }
        // What would make PowerShell read standard input itself.
        assert!(!START.contains("$input") && !all.contains("$input"));
    }

    #[test]
    fn every_function_that_is_called_is_there() {
        let all = program();
        let defined: Vec<&str> =
            all.lines().filter_map(|line| line.strip_prefix("function ")?.split(['(', ' ']).next()).collect();
        assert!(defined.len() > 40, "{defined:?}");
        let own = [
            "Release", "Parts", "Site", "Junction", "Reply", "Request", "Whole", "Content", "Order", "State",
            "Iis",
        ];
        let words = all.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let ours = words.filter(|word| {
            word.split_once('-').is_some_and(|(verb, noun)| {
                verb.starts_with(|c: char| c.is_ascii_uppercase()) && own.contains(&noun)
            })
        });
        for word in ours {
            assert!(defined.contains(&word), "{word}");
        }
        for name in defined {
            assert!(all.matches(name).count() > 1, "{name} is never called");
        }
    }

    #[test]
    fn brackets_are_closed() {
        let mut open = Vec::new();
        for c in outside_quotes(&program()).0.chars() {
            match c {
                '(' => open.push(')'),
                '{' => open.push('}'),
                '[' => open.push(']'),
                ')' | '}' | ']' => assert_eq!(open.pop(), Some(c)),
                _ => {}
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    /// What stands outside of quotes, and the quote that is open at the end.
    fn outside_quotes(text: &str) -> (String, Option<char>) {
        let (mut outside, mut quote) = (String::new(), None);
        for c in text.chars() {
            match (quote, c) {
                (Some(q), c) if q == c => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, c) => outside.push(c),
                _ => {}
            }
        }
        (outside, quote)
    }
}
