//! What each program's reports come to, file and line of failures included.

use staith_model::{Coverage, Finding, Severity, StepResults, TestSummary};

use super::super::read;

macro_rules! fixture {
    ($name:literal) => {
        read($name, include_bytes!(concat!("../fixtures/", $name))).unwrap_or_else(|error| panic!("{error}"))
    };
}

/// Passed, failed, skipped.
type Counts = (u32, u32, u32);

/// The counts, and each failure as `suite|name|file:line`.
fn told(tests: Option<TestSummary>) -> (Counts, Vec<String>) {
    let tests = tests.unwrap();
    let place = |file: Option<&str>, line: Option<u32>| match (file, line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (Some(file), None) => file.to_owned(),
        (None, _) => "-".to_owned(),
    };
    let failures = tests.failures.iter();
    let failures =
        failures.map(|f| format!("{}|{}|{}", f.suite, f.name, place(f.file.as_deref(), f.line))).collect();
    ((tests.passed, tests.failed, tests.skipped), failures)
}

#[test]
fn junit_failures_have_their_places() {
    let table: [(StepResults, Counts, &[&str]); 11] = [
        (
            fixture!("pytest.xml"),
            (1, 2, 1),
            &[
                "tests.test_guestbook|test_greets[Zoë]|tests/test_guestbook.py:12",
                "tests.test_db|test_connects|-",
            ],
        ),
        (fixture!("pytest-xunit1.xml"), (1, 1, 0), &["tests.test_cart|test_adds|tests/test_cart.py:9"]),
        (
            fixture!("surefire.xml"),
            (2, 2, 1),
            &[
                "org.example.GuestbookTest|listsInOrder|GuestbookTest.java:31",
                "org.example.GuestbookTest|broken|GuestbookTest.java:40",
            ],
        ),
        (fixture!("jest.xml"), (1, 1, 1), &["guestbook greets|guestbook greets|src/guestbook.test.js:9"]),
        (fixture!("nextest.xml"), (1, 1, 0), &["guestbook|book::tests::closes|src/book.rs:31"]),
        (fixture!("gotestsum.xml"), (1, 1, 1), &["example.org/shop/cart|TestAdds/twice|cart_test.go:17"]),
        (fixture!("phpunit.xml"), (1, 1, 1), &["Shop.Tests.CartTest|testAdds|tests/CartTest.php:23"]),
        (fixture!("gtest.xml"), (1, 1, 2), &["Book|Closes|book_test.cc:10"]),
        (fixture!("rspec.xml"), (1, 1, 0), &["spec.cart_spec|Cart adds|spec/cart_spec.rb:11"]),
        (fixture!("node.xml"), (1, 1, 0), &["test|adds|test/cart.test.js:8"]),
        (fixture!("nested.xml"), (0, 3, 0), &["inner|a|-", "outer|b|-", "outer|(the suite itself)|-"]),
    ];
    for (results, counts, failures) in table {
        let (found, places) = told(results.tests);
        assert_eq!(
            (found, places.iter().map(String::as_str).collect::<Vec<_>>()),
            (counts, failures.to_vec())
        );
    }
}

#[test]
fn where_a_failure_says_no_place_the_test_s_own_is_shown() {
    let of = |suite: &str, attributes: &str| {
        let text = format!(
            "<testsuite name='{suite}'><testcase name='a' {attributes}><failure message='no'/></testcase></testsuite>"
        );
        told(read("r", text.as_bytes()).unwrap().tests).1.concat()
    };
    assert_eq!(of("s", "file='./a.php' line='12'"), "s|a|a.php:12");
    assert_eq!(of("pytest", "file='a.py' line='11'"), "pytest|a|a.py:12");
    assert_eq!(of("s", "file='a.cc' lineno='4'"), "s|a|a.cc:4");
    assert_eq!(of("s", "file='/workspace/a.js' line='x'"), "s|a|a.js");
    assert_eq!(of("s' file='b.js", ""), "s|a|b.js");
    assert_eq!(of("s", "file='' line='1'"), "s|a|-");
}

#[test]
fn trx_of_visual_studio_s_test_platform() {
    let tests = fixture!("vstest.trx").tests;
    let messages: Vec<String> =
        tests.iter().flat_map(|it| &it.failures).map(|it| it.message.clone()).collect();
    let (counts, failures) = told(tests);
    assert_eq!(counts, (2, 3, 1));
    assert_eq!(
        failures,
        [
            "Shop.Tests.CartTests|Adds|tests/CartTests.cs:17",
            "Shop.Tests.SumTests|Sums (2,2)|-",
            "|(the test run itself)|-"
        ]
    );
    assert!(messages[0].starts_with("Assert.Equal() Failure: Values differ\nExpected: 4"), "{messages:?}");
    assert_eq!(messages[2], "The active test run was aborted. Reason: Test host process crashed");
}

#[test]
fn xunit_and_nunit_by_themselves() {
    let xunit = fixture!("xunit.xml").tests;
    let failures = &xunit.as_ref().unwrap().failures;
    assert_eq!(failures[0].message, "still open");
    assert!(failures[1].message.starts_with("Assert.Equal() Failure: Values differ\n"), "{failures:?}");
    let adds = "Shop.Tests.CartTests|Adds(count: 2)|tests/CartTests.cs:17".to_owned();
    assert_eq!(told(xunit), ((1, 2, 1), vec!["|Shop.Tests.CartTests|-".to_owned(), adds]));
    let nunit = fixture!("nunit.xml").tests;
    assert_eq!(told(nunit), ((1, 1, 1), vec!["Shop.Tests.CartTests|Adds|tests/CartTests.cs:17".to_owned()]));
}

#[test]
fn tap_of_every_version() {
    let message = |tests: &Option<TestSummary>| tests.as_ref().unwrap().failures[0].message.clone();
    let node = fixture!("node.tap").tests;
    assert!(message(&node).starts_with("Expected values to be strictly equal:\n\n3 !== 4\n"), "{node:?}");
    assert!(message(&node).contains("expected: 4"), "{node:?}");
    assert_eq!(told(node), ((1, 1, 2), vec!["Cart|adds|test/cart.test.js:8".into()]));
    let perl = fixture!("perl.tap").tests;
    assert!(message(&perl).contains("got: '3'"), "{perl:?}");
    assert_eq!(told(perl), ((3, 1, 1), vec!["|adds # twice|t/cart.t:12".into()]));
    let bats = fixture!("bats.tap").tests;
    assert_eq!(told(bats), ((1, 1, 1), vec!["|adds|test/cart.bats:7".into()]));
    let tape = fixture!("tape.tap").tests;
    assert_eq!(told(tape), ((0, 1, 0), vec!["|should be strictly equal|test/cart.js:6".into()]));
}

#[test]
fn tap_that_is_not_whole_fails() {
    let of = |text: &str| {
        let tests = read("t.tap", text.as_bytes()).unwrap().tests;
        let messages: Vec<_> =
            tests.iter().flat_map(|it| &it.failures).map(|it| it.message.clone()).collect();
        let (counts, _) = told(tests);
        (counts, messages.join(" / "))
    };
    assert_eq!(of("1..4\nok 1\nok 2\n"), ((2, 2, 0), "4 tests were planned, and 2 ran".into()));
    assert_eq!(of("ok 1\nok 2\n1..1\n"), ((2, 1, 0), "1 tests were planned, and 2 ran".into()));
    assert!(of("ok 1\n").1.starts_with("there is no plan (`1..N`)"));
    assert_eq!(of("1..9\nok 1\nBail out! no disk\nok 2\n"), ((1, 1, 0), "it bailed out: no disk".into()));
    assert_eq!(of("1..0 # SKIP no network\n"), ((0, 0, 1), String::new()));
    assert_eq!(of("1..99999999999999999\nok\n").0, (1, u32::MAX, 0));
    assert_eq!(of("1..1\nnot ok 1 - a\n  ---\n  message: 'cut off").0, (0, 1, 0));
    // A subtest whose plan is not met fails, whatever is said of it.
    assert_eq!(of("    1..2\n    ok 1\nok 1 - sub\n1..1\n").0, (1, 1, 0));
    // A subtest that fails for a reason of its own.
    assert_eq!(of("    1..1\n    ok 1\nnot ok 1 - sub\n1..1\n").0, (1, 1, 0));
    // One that is known to fail.
    assert_eq!(of("    1..1\n    not ok 1\nnot ok 1 - sub # TODO\n1..1\n").0, (0, 0, 1));
    let newer = read("t.tap", b"TAP version 15\n1..1\nok\n").unwrap_err().to_string();
    assert!(newer.contains("line 1, column 1: it is TAP of version `15`"), "{newer}");
    let deep: String = (0..80).map(|depth| format!("{}ok\n", " ".repeat(4 * depth))).collect();
    assert!(read("t.tap", deep.as_bytes()).unwrap_err().to_string().contains("nested more than 64 deep"));
}

#[test]
fn coverage_of_both_formats() {
    let of =
        |lines, of_lines, branches, of_branches| Some(Coverage { lines, of_lines, branches, of_branches });
    assert_eq!(fixture!("coveragepy.xml").coverage, of(35, 40, 6, 8));
    assert_eq!(fixture!("gcovr.xml").coverage, of(3, 5, 1, 2));
    assert_eq!(fixture!("c8.info").coverage, of(2, 4, 1, 2));
}

#[test]
fn what_only_looks_like_coverage_is_told() {
    for (text, expected) in [
        ("<coverage generated='1'><project/></coverage>", "this is Clover"),
        ("<!DOCTYPE coverage [<!ENTITY a 'b'>]><coverage/>", "it has a document type"),
        ("<report name='x'><package/></report>", "JaCoCo"),
        ("mode: set\nexample.org/a.go:1.2,3.4 1 1\n", "gocover-cobertura"),
        ("TN:\nSF:a.c\nDA:1,1\n", "line 4, column 1: it ends inside a record (`end_of_record` is missing)"),
        ("TN:\nSF:a.c\nDA:x,1\nend_of_record\n", "line 3, column 1: `DA:x,1` is not a line of an LCOV"),
        ("SF:a.c\nDA:1,1\nSF:b.c\nend_of_record\n", "line 3, column 1: `SF:b.c` is not"),
        ("TN:\nend_of_record\n", "line 2, column 1: `end_of_record` is not"),
    ] {
        let told = read("c", text.as_bytes()).unwrap_err().to_string();
        assert!(told.contains(expected), "{text:?}: {told}");
    }
}

fn finding(
    severity: Severity,
    path: &str,
    at: (Option<u32>, Option<u32>),
    rule: &str,
    message: &str,
) -> Finding {
    Finding {
        severity,
        path: path.into(),
        line: at.0,
        column: at.1,
        rule: Some(rule.to_owned()).filter(|rule| !rule.is_empty()),
        message: message.into(),
    }
}

#[test]
fn sarif_says_what_the_standard_means() {
    use Severity::{Error, Note, Warning};
    let eslint = fixture!("eslint.sarif").findings.unwrap();
    assert_eq!((eslint.errors, eslint.warnings, eslint.notes), (1, 1, 0));
    assert_eq!(
        eslint.shown,
        [
            finding(
                Error,
                "src/my cart.js",
                (Some(3), Some(5)),
                "no-unused-vars",
                "'total' is assigned a value but never used."
            ),
            finding(
                Warning,
                "src/pay.js",
                (Some(9), Some(7)),
                "eqeqeq",
                "Expected '===' and instead saw '=='."
            ),
        ]
    );
    let other = fixture!("alphabetical.sarif").findings.unwrap();
    let rule = "null-dereference/certain";
    let odd = &other.shown[2];
    assert_eq!(
        other.shown[0],
        finding(Error, "src/cart.c", (Some(12), None), rule, "'cart' may be null {0} {2} {")
    );
    assert_eq!((odd.severity, odd.rule.as_deref(), odd.line), (Note, Some("from-extension"), None));
    assert_eq!(odd.message, "nobody accepted that");
    assert_eq!((other.errors, other.warnings, other.notes), (1, 0, 2));
}

#[test]
fn json_that_is_no_sarif_is_told_with_its_place() {
    for (text, expected) in [
        ("{\"runs\": []}", "it is SARIF of version ``, and 2.1.0 is read"),
        ("{\"version\": \"2.0.0\", \"runs\": []}", "it is SARIF of version `2.0.0`"),
        ("{\"version\": \"1\"}", "line 1, column 1: it starts with `{`"),
        ("[{\"filePath\": \"a.js\"}]", "most linters can write SARIF"),
        ("{\n \"version\": \"2.1.0\",\n \"runs\": [\n", "it ends inside its JSON"),
        ("{\n \"version\": 2 }", "line 2, column"),
        ("{\"version\": \"2.1.0\",\n\"runs\": [\n{\"results\": [\n  {\"message\": 5}]}]}", "line 4, column"),
        ("{\"version\": \"2.1.0\", \"runs\": {}}", "expected a list"),
        ("{\"version\": \"2.1.0\", \"runs\": []} more", "line 1, column"),
    ] {
        let told = read("s", text.as_bytes()).unwrap_err().to_string();
        assert!(told.starts_with("the report `s` can't be read: line "), "{told}");
        assert!(told.contains(expected), "{text:?}: {told}");
    }
    let deep = format!("{{\"version\": \"2.1.0\", \"runs\": {}", "[".repeat(1_000_000));
    assert!(read("s", deep.as_bytes()).is_err());
}
