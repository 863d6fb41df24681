use proptest::prelude::*;

use super::*;

fn matched(pattern: &str, text: &str) -> Vec<String> {
    let pattern = Pattern::new(pattern, true).unwrap_or_else(|bad| panic!("{bad}"));
    let marked = pattern.replace_all(text, "\0").unwrap().unwrap_or_default();
    // What was matched is what lies between the pieces that were left.
    let mut rest = text;
    let mut matched = Vec::new();
    let pieces: Vec<&str> = marked.split('\0').collect();
    for pair in pieces.windows(2) {
        rest = &rest[pair[0].len()..];
        let end = if pair[1].is_empty() { rest.len() } else { rest.find(pair[1]).unwrap() };
        matched.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    matched
}

#[test]
fn dotnets_dialect_is_understood() {
    let cases: &[(&str, &str, usize)] = &[
        ("LAMP", "lamp Lamp x", 2),
        ("^b", "a\nb", 0),
        ("x$", "x\nb x\n", 1),
        ("x$", "x\nb x\n\n", 0),
        (r"x\Z", "x\n", 1),
        (r"x\z", "x\n", 0),
        ("(?m)^b$", "a\nb\nb", 2),
        ("(?m-i)^second$", "first\nSecond\nsecond\n", 1),
        ("a.b", "a\nb a-b a\rb", 2),
        ("(?s)a.b", "a\nb", 1),
        ("{Name}", "{Name} Name", 1),
        ("a{,2}", "a{,2}", 1),
        ("x{2}", "xx", 1),
        (r"\<b\>", "<b>", 1),
        (r"[a-z-[aeiou]]", "abe", 1),
        (r"[^a-z-[0-9]]", "a5!", 1),
        (r"[[&&~]", "[&~", 3),
        (r"[]x]", "]x", 2),
        (r"[\w-]", "-", 1),
        (r"[\]\-\\]", r"]-\", 3),
        ("(?x) a b # comment\n c", "abc", 1),
        ("(?'n'a)\\k'n'", "aa", 1),
        (r"(a)\1", "aa", 1),
        ("(?i:A)b", "aB", 1),
        (r"\u043B\x41\t\e\cA\011", "лA\t\u{1b}\u{1}\t", 1),
        (r"\ud83c\udfee", "🏮", 1),
        ("(?<=a)b(?!c)", "ab abc", 1),
        ("(?>a+)b", "aab", 1),
        ("(?n)(a)(?<x>b)", "ab", 1),
        (r"(?# a comment)a", "a", 1),
        (r"C:\\build\\shop$", r"C:\build\shop", 1),
    ];
    for (pattern, text, times) in cases {
        assert_eq!(matched(pattern, text).len(), *times, "{pattern} in {text:?}");
    }
}

#[test]
fn what_dotnet_would_refuse_or_means_otherwise_is_refused() {
    let bad = [
        "(",
        ")",
        "a)",
        "[",
        "[a",
        "*",
        "a**",
        "a++",
        "(*FAIL)",
        r"\",
        r"\K",
        r"\Q",
        r"\h",
        r"\R",
        "(?P<x>a)",
        "(?|a|b)",
        "(?(n)a|b)",
        "(?<a-b>c)",
        "(?<1>a)",
        r"\p{IsGreek}",
        r"\pL",
        "[b-a]",
        r"(?<n>a)(b)\1",
        r"\ud83c",
        "(?#",
        r"\10",
        "(?",
        "[a-[b]c]",
    ];
    for pattern in bad {
        assert!(Pattern::new(pattern, true).is_err(), "{pattern}");
    }
    let deep = "(".repeat(100) + &")".repeat(100);
    assert!(Pattern::new(&deep, true).is_err());
    assert!(Pattern::new(&"a".repeat(5000), true).is_err());
    assert!(Pattern::new(r"(\w{1000}){1000}", true).is_err());
}

#[test]
fn a_search_that_would_not_end_is_given_up() {
    let pattern = Pattern::new(r"(?=a)(a|aa)+$(?<=b)", true).unwrap();
    assert_eq!(pattern.is_match(&"a".repeat(200)), Err(Exhausted::Steps(r"(?=a)(a|aa)+$(?<=b)".into())));
}

#[test]
fn a_long_text_is_searched_to_its_end() {
    let text = "line of text\n".repeat(300_000) + "x\n";
    let replaced = Pattern::new("x$", true).unwrap().replace_all(&text, "Z").unwrap().unwrap();
    assert!(replaced.ends_with("\nZ\n") && replaced.len() == text.len());
}

#[test]
fn a_text_does_not_grow_without_measure() {
    let value = "v".repeat(1 << 20);
    let grown = Pattern::new("(?=a)", true).unwrap().replace_all(&"a".repeat(1000), &value);
    assert_eq!(grown, Err(Exhausted::Size("(?=a)".into())));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(pattern in r"[a-z0-9()\[\]{}|?*+^$.\\<>=!:#'&~-]{0,40}", text in "[a-z\n]{0,20}") {
        if let Ok(pattern) = Pattern::new(&pattern, true) {
            let _ = pattern.is_match(&text);
            let _ = pattern.replace_all(&text, "$1");
        }
    }

    #[test]
    fn an_escaped_text_matches_itself(text in "[ -~а-я\n\t]{1,30}") {
        let escaped: String = text
            .chars()
            .map(|c| if c.is_ascii_punctuation() && c != '_' { format!("\\{c}") } else { c.to_string() })
            .collect();
        let pattern = Pattern::new(&escaped, false).unwrap();
        prop_assert_eq!(pattern.replace_all(&text, "").unwrap(), Some(String::new()));
    }
}
