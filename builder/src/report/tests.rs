//! Reports of the shapes that test runners write, and hostile ones.

use proptest::prelude::*;
use staith_model::TestSummary;

use super::*;

mod claims;
mod hostile;
mod producers;

fn junit(path: &str, bytes: &[u8]) -> Result<TestSummary, ReportError> {
    read(path, bytes).map(|results| results.tests.unwrap())
}

const PYTEST: &[u8] = include_bytes!("fixtures/pytest.xml");
const SUREFIRE: &[u8] = include_bytes!("fixtures/surefire.xml");
const GTEST: &[u8] = include_bytes!("fixtures/gtest.xml");
const JEST: &[u8] = include_bytes!("fixtures/jest.xml");
const NEXTEST: &[u8] = include_bytes!("fixtures/nextest.xml");
const NESTED: &[u8] = include_bytes!("fixtures/nested.xml");

fn counts(summary: &TestSummary) -> (u32, u32, u32) {
    (summary.passed, summary.failed, summary.skipped)
}

fn refused(text: &str) -> ReportError {
    junit("r.xml", text.as_bytes()).unwrap_err()
}

#[test]
fn pytest_writes_classes_and_both_kinds_of_failure() {
    let summary = junit("r.xml", PYTEST).unwrap();
    assert_eq!(counts(&summary), (1, 2, 1));
    let first = &summary.failures[0];
    assert_eq!((first.suite.as_str(), first.name.as_str()), ("tests.test_guestbook", "test_greets[Zoë]"));
    assert!(first.message.starts_with("AssertionError: assert 'Hello' == 'Hi'\n"), "{}", first.message);
    assert!(first.message.contains(">       assert greet(name) == \"Hi\""), "{}", first.message);
    assert_eq!(summary.failures[1].name, "test_connects");
    assert!(summary.failures[1].message.starts_with("failed on setup with \"Conn"));
    assert!(!summary.failures[1].message.contains("captured"));
}

#[test]
fn surefire_writes_reruns_that_are_no_failures() {
    let summary = junit("r.xml", SUREFIRE).unwrap();
    assert_eq!(counts(&summary), (2, 2, 1));
    let names: Vec<_> = summary.failures.iter().map(|failure| failure.name.as_str()).collect();
    assert_eq!(names, ["listsInOrder", "broken"]);
    assert!(summary.failures[0].message.contains("\tat org.example.GuestbookTest"));
    assert!(summary.failures[1].message.starts_with("java.lang.NullPointerException\n"));
}

#[test]
fn gtest_writes_several_failures_of_one_test() {
    let summary = junit("r.xml", GTEST).unwrap();
    assert_eq!(counts(&summary), (1, 1, 2));
    let message = &summary.failures[0].message;
    assert!(
        message.starts_with("book_test.cc:10\nExpected equality") && message.contains("book_test.cc:11"),
        "{message}"
    );
    assert_eq!(message.matches("Which is: 3").count(), 1);
}

#[test]
fn jest_writes_failures_without_attributes() {
    let summary = junit("r.xml", JEST).unwrap();
    assert_eq!(counts(&summary), (1, 1, 1));
    assert!(summary.failures[0].message.contains("Expected: \"Hi\"\nReceived: \"Hello\""));
}

#[test]
fn nextest_writes_what_panicked() {
    let summary = junit("r.xml", NEXTEST).unwrap();
    assert_eq!(counts(&summary), (1, 1, 0));
    assert_eq!(summary.failures[0].name, "book::tests::closes");
    assert!(summary.failures[0].message.contains("assertion failed: !open"));
}

#[test]
fn suites_may_hold_suites_and_fail_themselves() {
    let summary = junit("r.xml", NESTED).unwrap();
    assert_eq!(counts(&summary), (0, 3, 0));
    let told: Vec<_> =
        summary.failures.iter().map(|f| (f.suite.as_str(), f.name.as_str(), f.message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("inner", "a", ""),
            ("outer", "b", "Bad"),
            ("outer", "(the suite itself)", "the suite could not start\nno database"),
        ]
    );
}

#[test]
fn a_report_without_tests_is_no_error() {
    for text in [
        "<testsuites/>",
        "<testsuite name='x'></testsuite>",
        "\u{feff}\n<?xml version='1.0'?><testsuites></testsuites>\n",
    ] {
        assert_eq!(junit("r.xml", text.as_bytes()), Ok(TestSummary::default()), "{text}");
    }
}

#[test]
fn reports_of_a_step_add_up() {
    let (sum, errors) = read_all([("a", PYTEST), ("b", GTEST)]);
    let tests = sum.tests.unwrap();
    assert_eq!((counts(&tests), tests.failures.len(), errors), ((2, 3, 3), 3, vec![]));
    assert_eq!(read_all([]), (StepResults::default(), vec![]));
    let (sum, errors) = read_all([("a", PYTEST), ("b", b"".as_slice()), ("c", b"x".as_slice())]);
    let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!((counts(&sum.tests.unwrap()), paths), ((1, 2, 1), vec!["b", "c"]));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, expected) in [
        ("", "line 1, column 1: it is empty"),
        ("  \n", "line 1, column 1: it is empty"),
        (
            "<html>",
            "line 1, column 1: it starts with `<html>`, which begins no report that is known; these are: tests as JUnit",
        ),
        ("<testsuite>\n  <testcase>\n", "line 3, column 1: it ends inside `<testcase>`"),
        ("<testsuite>\n  <testcase></testsuite>", "line 2, column 13: it is not well-formed XML"),
        ("<testsuite>\n<testcase name='a' name", "it is not well-formed XML"),
        (
            "<testsuite/>\n<testsuite/>",
            "line 2, column 1: it is not well-formed XML: there is more than one root element",
        ),
        ("<testsuite/>\nhello", "there is text outside of the root element"),
        ("hello", "line 1, column 1: it starts with `hello`, which begins no report"),
        ("<testsuite><testcase name='&nbsp;'/></testsuite>", "it is not well-formed XML"),
        ("<testsuite>&nbsp;</testsuite>", "line 1, column 12: it uses the entity `&nbsp;`"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><testsuite/>", "it says that it is in `ISO-8859-1`"),
    ] {
        let told = refused(text).to_string();
        assert!(told.starts_with("the report `r.xml` can't be read: line "), "{told}");
        assert!(told.contains(expected), "{text:?}: {told}");
    }
}

#[test]
fn nothing_expands() {
    let bomb = "<?xml version=\"1.0\"?>\n<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>\n\
                <testsuite><testcase><failure>&b;</failure></testcase></testsuite>";
    let error = refused(bomb);
    assert_eq!((error.problem, error.place.line), (ReportProblem::DocumentType, 2));
    let file = "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><testsuite/>";
    assert_eq!(refused(file).problem, ReportProblem::DocumentType);
}

#[test]
fn depth_size_and_encoding_are_bounded() {
    let deep = "<testsuite>".repeat(100_000);
    assert_eq!(refused(&deep).problem, ReportProblem::TooDeep(64));
    let large = vec![b' '; LARGEST_REPORT + 1];
    assert_eq!(junit("r.xml", &large).unwrap_err().problem, ReportProblem::TooLarge(LARGEST_REPORT + 1));
    let bytes = b"<testsuite>\n<testcase name='\xff'/></testsuite>";
    let error = junit("r.xml", bytes).unwrap_err();
    assert_eq!((error.problem, error.place), (ReportProblem::NotUtf8, Place { line: 2, column: 17 }));
    let latin = b"<?xml version='1.0' encoding='latin1'?><testsuite name='\xe9'/>";
    assert_eq!(junit("r.xml", latin).unwrap_err().problem, ReportProblem::OtherEncoding("latin1".into()));
    let utf16 = b"\xff\xfe<\0t\0";
    assert_eq!(junit("r.xml", utf16).unwrap_err().problem, ReportProblem::OtherEncoding("UTF-16".into()));
}

#[test]
fn many_attributes_and_failures_stay_cheap() {
    let attributes: String = (0..200_000).map(|n| format!(" a{n}='x'")).collect();
    let text = format!("<testsuite><testcase{attributes}/></testsuite>");
    assert_eq!(counts(&junit("r.xml", text.as_bytes()).unwrap()), (1, 0, 0));
    let failing = format!("<testsuite>{}</testsuite>", "<testcase><failure/></testcase>".repeat(5000));
    let summary = junit("r.xml", failing.as_bytes()).unwrap();
    assert_eq!((summary.failed, summary.failures.len()), (5000, 1000));
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes: Vec<u8>) {
        let _ = junit("r.xml", &bytes);
    }

    /// A report that was stopped anywhere is never taken for a whole one.
    #[test]
    fn no_beginning_of_a_report_is_a_report(length in 0..GTEST.len() - 2) {
        prop_assert!(junit("r.xml", &GTEST[..length]).is_err());
    }

    #[test]
    fn one_byte_off_does_not_break_the_reader(place in 0..PYTEST.len(), byte: u8) {
        let mut bytes = PYTEST.to_vec();
        bytes[place] = byte;
        let _ = junit("r.xml", &bytes);
    }

    #[test]
    fn every_test_is_counted_once(outcomes in proptest::collection::vec(0..4usize, 0..40)) {
        let cases = ["<testcase name='t'/>", "<testcase><failure message='m'/></testcase>",
            "<testcase><error>e</error></testcase>", "<testcase><skipped/></testcase>"];
        let text: String = outcomes.iter().map(|outcome| cases[*outcome]).collect();
        let summary = junit("r.xml", format!("<testsuites><testsuite>{text}</testsuite></testsuites>").as_bytes()).unwrap();
        let count = |wanted: &[usize]| outcomes.iter().filter(|outcome| wanted.contains(outcome)).count() as u32;
        prop_assert_eq!(counts(&summary), (count(&[0]), count(&[1, 2]), count(&[3])));
    }
}
