//! Where a failure is: `file:line` as test runners, compilers and stack traces of many languages write it.

use crate::engine::WORKSPACE;

use super::text;

/// Lines of a failure's text that are searched.
const LINES_READ: usize = 400;
/// Bytes of such a line that are searched.
const BYTES_READ: usize = 1000;

/// A file, and a line in it from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) file: String,
    pub(super) line: Option<u32>,
}

/// Endings of files in which people write programs: `localhost:8080` and `example.org:443` are no places in a program.
const SOURCE_ENDINGS: [&str; 78] = [
    "asm", "astro", "bash", "bats", "bzl", "c", "cbl", "cc", "cjs", "clj", "cljs", "cpp", "cr", "cs",
    "cshtml", "cts", "cu", "cxx", "d", "dart", "elm", "erl", "ex", "exs", "f", "f90", "feature", "fs", "fsx",
    "go", "gradle", "groovy", "h", "hh", "hpp", "hs", "hxx", "inc", "java", "jl", "js", "jsx", "kt", "kts",
    "lua", "m", "ml", "mjs", "mm", "mts", "nim", "p6", "pas", "php", "phpt", "pl", "pm", "proto", "ps1",
    "py", "pyi", "pyx", "r", "raku", "rb", "rs", "s", "scala", "sh", "sql", "svelte", "swift", "t", "ts",
    "tsx", "vb", "vue", "zig",
];

/// What shows in a line of a stack trace that it is not the project's own.
const FOREIGN: [&str; 24] = [
    "node_modules/",
    "node:",
    "(internal/",
    "site-packages/",
    "dist-packages/",
    "<frozen",
    "/rustc/",
    ".cargo/",
    "/vendor/",
    "/usr/",
    "/opt/",
    "/gems/",
    "org.junit.",
    "junit.framework.",
    "org.opentest4j.",
    "org.testng.",
    "org.hamcrest.",
    "org.assertj.",
    "org.mockito.",
    "java.base/",
    "jdk.internal.",
    "java.lang.reflect.",
    "NUnit.Framework.",
    "Xunit.",
];

/// The place to show for a failure: what its texts say, checked against the file that the report names for the test;
/// else that file and line themselves. Of several places, one in the test itself is better than one that it calls.
pub(super) fn of_failure<'t>(
    texts: impl Iterator<Item = &'t str>,
    file: Option<&str>,
    line: Option<u64>,
    suite: &str,
) -> Option<Location> {
    let named = file.map(|file| in_workspace(file.trim()));
    let places = texts.flat_map(|text| text.lines().take(LINES_READ)).filter_map(in_line);
    let mut best: Option<(u8, Location)> = None;
    for place in places {
        let rank = rank(&place, named.as_deref(), suite);
        if best.as_ref().is_none_or(|(other, _)| rank > *other) {
            best = Some((rank, place));
        }
    }
    match (named, best) {
        (Some(file), Some((_, place))) if is_same(&file, &place.file) => {
            Some(Location { file, line: place.line })
        }
        (Some(file), _) => {
            let line = line.and_then(|line| u32::try_from(line).ok()).filter(|line| *line > 0);
            Some(Location { file, line })
        }
        (None, best) => best.map(|(_, place)| place),
    }
}

fn rank(place: &Location, named: Option<&str>, suite: &str) -> u8 {
    let name = place.file.rsplit('/').next().unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    let of_the_suite = suite.split(['.', ':', '/', '\\', '#', ' ', '$']).any(|part| part == stem);
    let lower = place.file.to_ascii_lowercase();
    if named.is_some_and(|named| is_same(named, &place.file)) {
        3
    } else if of_the_suite {
        2
    } else {
        u8::from(lower.contains("test") || lower.contains("spec"))
    }
}

/// Whether two paths end in the same file, as far as both say: a trace may say less or more than the report.
fn is_same(one: &str, other: &str) -> bool {
    let ends = |long: &str, short: &str| {
        long.strip_suffix(short).is_some_and(|before| before.is_empty() || before.ends_with(['/', '\\']))
    };
    ends(one, other) || ends(other, one)
}

/// The first place that a line names, unless the line is about somebody else's program.
pub(super) fn in_line(line: &str) -> Option<Location> {
    let line = &line[..line.floor_char_boundary(BYTES_READ)];
    if !line.bytes().any(|byte| byte.is_ascii_digit()) || FOREIGN.iter().any(|mark| line.contains(mark)) {
        return None;
    }
    quoted_file(line).or_else(|| at_file_line(line)).or_else(|| file_colon_line(line))
}

/// Python's `File "shop.py", line 12`.
pub(super) fn quoted_file(line: &str) -> Option<Location> {
    let (_, rest) = line.split_once("File \"")?;
    let (file, rest) = rest.split_once("\", line ")?;
    Some(Location { file: in_workspace(file), line: Some(leading_number(rest)?.0) })
}

/// .NET's `in /workspace/Shop.cs:line 12`, Perl's `at t/shop.t line 12.`, PHP's `in shop.php on line 12`,
/// Bats's `in test file shop.bats, line 12`.
fn at_file_line(line: &str) -> Option<Location> {
    let ways = [(" in ", ":line "), (" in ", " on line "), (" file ", ", line "), ("at ", " line ")];
    for (before, between) in ways {
        let Some((head, tail)) = line.rsplit_once(between) else { continue };
        let Some((number, _)) = leading_number(tail) else { continue };
        let file = match head.rsplit_once(before) {
            Some((_, file)) => file,
            None => head.strip_prefix(before.trim_start()).unwrap_or_default(),
        };
        if is_source(file) {
            return Some(Location { file: in_workspace(file), line: Some(number) });
        }
    }
    None
}

/// What all others write: `src/shop.rs:12`, `(file:///workspace/shop.js:12:5)`.
fn file_colon_line(line: &str) -> Option<Location> {
    let around = |c: char| c.is_whitespace() || "\"'`()[]<>{},;=|".contains(c);
    line.split(around).find_map(|word| {
        let places = word.match_indices(':').map(|(place, _)| place);
        let (file, number) = places
            .filter_map(|place| Some((&word[..place], leading_number(&word[place + 1..])?.0)))
            .find(|(file, _)| is_source(file))?;
        Some(Location { file: in_workspace(file), line: Some(number) })
    })
}

/// Whether a text looks like the path of a program's source.
fn is_source(path: &str) -> bool {
    let path = path.strip_prefix("file://").unwrap_or(path);
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let ending = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, ending)| ending);
    !path.contains("://") && ending.is_some_and(|ending| SOURCE_ENDINGS.contains(&ending))
}

/// A number from 1 at the start of a text, and what follows it.
pub(super) fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..end].parse().ok().filter(|number| *number > 0)?;
    Some((number, &text[end..]))
}

/// A path as it is shown: relative to the workspace where it lies in it, on one line.
pub(super) fn in_workspace(path: &str) -> String {
    let path = path.strip_prefix("file://localhost").or_else(|| path.strip_prefix("file://")).unwrap_or(path);
    let inside = path.strip_prefix(WORKSPACE).and_then(|rest| rest.strip_prefix('/'));
    let mut path = inside.unwrap_or(path);
    while let Some(rest) = path.strip_prefix("./") {
        path = rest.trim_start_matches('/');
    }
    text::name(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(line: &str) -> Option<(String, u32)> {
        in_line(line).map(|place| (place.file, place.line.unwrap()))
    }

    #[test]
    fn every_language_says_it_in_its_own_way() {
        for (line, file, number) in [
            ("  File \"/workspace/tests/cart.py\", line 12, in test_adds", "tests/cart.py", 12),
            ("tests/test_guestbook.py:12: AssertionError", "tests/test_guestbook.py", 12),
            ("thread 'a' panicked at src/book.rs:31:9:", "src/book.rs", 31),
            ("\tat org.example.GuestbookTest.lists(GuestbookTest.java:31)", "GuestbookTest.java", 31),
            ("    at Object.toBe (/workspace/src/guestbook.test.js:9:21)", "src/guestbook.test.js", 9),
            ("    at TestContext.<anonymous> (file:///workspace/test/cart.js:5:10)", "test/cart.js", 5),
            (
                "   at Shop.CartTests.Adds() in /workspace/tests/CartTests.cs:line 12",
                "tests/CartTests.cs",
                12,
            ),
            ("#   at t/cart.t line 12.", "t/cart.t", 12),
            ("    cart_test.go:17: got 3, want 4", "cart_test.go", 17),
            ("/workspace/tests/CartTest.php:21", "tests/CartTest.php", 21),
            ("# (in test file test/cart.bats, line 4)", "test/cart.bats", 4),
            (r"C:\src\Shop.cs:12", r"C:\src\Shop.cs", 12),
            ("./spec/cart_spec.rb:8:in `block (2 levels)'", "spec/cart_spec.rb", 8),
        ] {
            assert_eq!(found(line), Some((file.to_owned(), number)), "{line}");
        }
    }

    #[test]
    fn what_looks_like_a_place_and_is_none() {
        for line in [
            "connect to localhost:8080 failed",
            "GET http://127.0.0.1:8080/healthz and example.org:443",
            "at 12:30:15, version 1.2.3:4",
            "    at node_modules/expect/build/index.js:12:3",
            "\tat org.junit.jupiter.api.AssertionUtils.fail(AssertionUtils.java:55)",
            "  at /usr/lib/python3/unittest.py:5",
            "src/a.rs:0",
            "src/a.rs:99999999999",
            ".rs:4",
        ] {
            assert_eq!(found(line), None, "{line}");
        }
    }

    #[test]
    fn the_test_itself_is_the_better_place() {
        let trace = "src/cart.py:7: in add\ntests/test_cart.py:12: in test_adds\nsrc/price.py:3: ValueError";
        let of = |file, line, suite| of_failure([trace].into_iter(), file, line, suite);
        let place = |file: &str, line| Some(Location { file: file.into(), line });
        assert_eq!(of(None, None, "x"), place("tests/test_cart.py", Some(12)));
        assert_eq!(of(None, None, "shop.price"), place("src/price.py", Some(3)));
        assert_eq!(of(Some("/workspace/src/cart.py"), Some(1), "x"), place("src/cart.py", Some(7)));
        assert_eq!(of(Some("tests/other.py"), Some(30), "x"), place("tests/other.py", Some(30)));
        assert_eq!(of(Some("tests/other.py"), Some(0), "x"), place("tests/other.py", None));
        assert_eq!(of_failure(["nothing"].into_iter(), None, Some(3), "x"), None);
    }

    proptest! {
        #[test]
        fn no_line_breaks_the_search(line in "[a-c./:\\\\\"() 0-9\u{1b}é]{0,60}", prefix in "(File \"|in |at |)") {
            if let Some(place) = in_line(&format!("{prefix}{line}")) {
                prop_assert!(place.line != Some(0));
                prop_assert!(!place.file.chars().any(char::is_control));
            }
        }
    }
}
