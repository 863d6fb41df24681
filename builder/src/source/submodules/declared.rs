//! What a .gitmodules file declares. Pure. Read here and not by git's library, which would follow `include`.

/// One submodule, as it is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Declared {
    /// What git calls it; a part of paths, and checked to be no more than that.
    pub(super) name: String,
    /// Where it is in the repository.
    pub(super) path: String,
    /// Where it comes from, as it is written.
    pub(super) url: String,
}

/// No honest file is larger, in bytes.
const LARGEST: usize = 1 << 20;

/// All submodules of a file. Lines that git would not understand declare nothing.
pub(super) fn declared(text: &[u8]) -> Vec<Declared> {
    let text = String::from_utf8_lossy(text.get(..LARGEST).unwrap_or(text));
    let mut all: Vec<Declared> = Vec::new();
    let mut name = None;
    for line in joined_lines(text.trim_start_matches('\u{feff}')) {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            name = submodule_name(section);
            continue;
        }
        let (Some(name), Some((key, value))) = (&name, line.split_once('=')) else { continue };
        let at = all.iter().position(|one| one.name == *name).unwrap_or_else(|| {
            all.push(Declared { name: name.clone(), ..Declared::default() });
            all.len() - 1
        });
        // As git has it: the last one counts.
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => all[at].path = unquoted(value.trim()),
            "url" => all[at].url = unquoted(value.trim()),
            _ => {}
        }
    }
    all
}

/// A name that is safe as a part of a path: git's own rule.
pub(super) fn is_safe_name(name: &str) -> bool {
    let honest = |part: &str| !matches!(part, "" | "." | "..") && !part.starts_with('-');
    !name.contains(['\0', '\\']) && name.split('/').all(honest)
}

/// Lines that end in a backslash go on in the next one.
pub(in crate::source) fn joined_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let (kept, more) = match line.strip_suffix('\\') {
            Some(kept) if !kept.ends_with('\\') => (kept, true),
            _ => (line, false),
        };
        match lines.last_mut() {
            Some(last) if goes_on => last.push_str(kept),
            _ => lines.push(kept.to_owned()),
        }
        goes_on = more;
    }
    lines
}

/// The name in `submodule "name"]`.
fn submodule_name(section: &str) -> Option<String> {
    let (kind, rest) = section.split_once('"')?;
    let end = rest.rfind('"')?;
    let is_one =
        kind.trim().eq_ignore_ascii_case("submodule") && rest[end + 1..].trim_start().starts_with(']');
    is_one.then(|| unquoted(&format!("\"{}\"", &rest[..end])))
}

/// A value without its quotes, escapes and comment.
pub(in crate::source) fn unquoted(value: &str) -> String {
    let (mut text, mut quoted, mut chars) = (String::new(), false, value.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(c) => text.push(c),
                None => {}
            },
            '#' | ';' if !quoted => break,
            c => text.push(c),
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(name: &str, path: &str, url: &str) -> Declared {
        Declared { name: name.into(), path: path.into(), url: url.into() }
    }

    #[test]
    fn files_are_read_as_git_writes_them() {
        let text = b"# all of them\n[submodule \"libs/a\"]\n\tpath = libs/a\n\turl = ../a.git ; ours\n\tbranch = main\n\
            [core]\n\tpath = no\n[Submodule \"b \\\"x\\\"\"]\n\tURL = \"https://h/b#c\"\n\tpath = \"with space\"\n\
            [include]\n\tpath = /etc/passwd\n[submodule \"c\"]\n\tpath = \\\nlong\n\turl = one\n\turl = two\n";
        let expected = vec![
            one("libs/a", "libs/a", "../a.git"),
            one("b \"x\"", "with space", "https://h/b#c"),
            one("c", "long", "two"),
        ];
        assert_eq!(declared(text), expected);
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_safe() {
        for bad in ["", ".", "..", "../x", "a/../b", "/a", "a/", "a//b", "-x", "a/-x", "a\0", "a\\b"] {
            assert!(!is_safe_name(bad), "{bad:?}");
        }
        assert!(is_safe_name("libs/a.b"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]\"\\\\=a-z \n#;.]{0,60}", bytes: Vec<u8>) {
            declared(format!("[submodule \"x\"]\n{text}").as_bytes());
            declared(text.as_bytes());
            declared(&bytes);
        }
    }
}
