//! Reports that say of themselves what their contents do not say.

use super::*;

fn tests(text: &str) -> TestSummary {
    read("r", text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}")).tests.unwrap()
}

#[test]
fn failures_without_a_case_and_tests_without_any_are_failures() {
    let table = [
        ("<testsuite failures='1' tests='1'><testcase name='a'/></testsuite>", (1, 1, 0)),
        ("<testsuite errors='2' tests='9'><testcase name='a'/></testsuite>", (1, 2, 0)),
        ("<testsuites failures='1'><testsuite><testcase name='a'/></testsuite></testsuites>", (1, 1, 0)),
        ("<testsuite tests='3'></testsuite>", (0, 3, 0)),
        ("<testsuites tests='3'/>", (0, 3, 0)),
        // An outer suite repeats what the inner one says; it is counted once.
        (
            "<testsuites tests='3' failures='1'><testsuite tests='3' failures='1'></testsuite></testsuites>",
            (0, 1, 0),
        ),
        (
            "<testsuites tests='2' failures='1'><testsuite tests='1' failures='1'><testcase><failure/></testcase></testsuite>\
             <testsuite tests='1' failures='1'><testcase/></testsuite></testsuites>",
            (1, 2, 0),
        ),
        // Nothing was left out that had run.
        ("<testsuite tests='3' skipped='3'></testsuite>", (0, 0, 0)),
        ("<testsuite tests='2' disabled='1' skipped='1'/>", (0, 0, 0)),
        // Catch2 counts assertions.
        (
            "<testsuite tests='10' failures='3'><testcase><failure/><failure/><failure/></testcase></testsuite>",
            (0, 1, 0),
        ),
        ("<testsuite tests='many' failures=''><testcase/></testsuite>", (1, 0, 0)),
        (
            "<TestRun><ResultSummary outcome='Failed'><Counters total='2' executed='2' passed='1' failed='1'/>\
             </ResultSummary></TestRun>",
            (0, 1, 0),
        ),
        (
            "<TestRun><ResultSummary outcome='Completed'><Counters executed='2'/></ResultSummary></TestRun>",
            (0, 2, 0),
        ),
        ("<TestRun><ResultSummary outcome='Aborted'/></TestRun>", (0, 1, 0)),
        (
            "<TestRun><ResultSummary outcome='Completed'><Counters total='0' executed='0'/></ResultSummary></TestRun>",
            (0, 0, 0),
        ),
        ("<assemblies><assembly total='2' failed='1'><collection/></assembly></assemblies>", (0, 1, 0)),
        ("<test-run result='Failed' total='3' failed='0' skipped='1'></test-run>", (0, 2, 0)),
    ];
    for (text, expected) in table {
        let summary = tests(text);
        assert_eq!(counts(&summary), expected, "{text}");
        assert_eq!(summary.failures.is_empty(), summary.failed == 0, "{text}");
    }
    let told = tests("<testsuite name='s' tests='7' failures='2'><testcase/></testsuite>").failures.remove(0);
    assert_eq!((told.suite.as_str(), told.name.as_str()), ("s", "(what the report says of itself)"));
    assert_eq!(told.message, "the report says that 2 failed, and has no test that did");
}

#[test]
fn a_program_that_says_that_it_failed_is_no_clean_result() {
    let sarif = |invocation: &str| {
        format!(
            r#"{{"version": "2.1.0", "runs": [{{"invocations": [{{{invocation}}}],
               "results": [{{"message": {{"text": "found"}}, "level": "warning"}}]}}]}}"#
        )
    };
    let crashed = sarif(
        r#""executionSuccessful": false, "exitCode": 3,
           "toolExecutionNotifications": [{"level": "note", "message": {"text": "began"}},
                                          {"level": "error", "message": {"text": "out of memory"}}]"#,
    );
    let (sum, errors) = read_all([("lint.sarif", crashed.as_bytes())]);
    assert_eq!(sum.findings.unwrap().warnings, 1, "what it had found is not lost");
    let told = errors[0].to_string();
    assert!(
        told.starts_with("the report `lint.sarif` is not whole: line 1, column 31: the program"),
        "{told}"
    );
    assert!(told.contains("says that it failed (out of memory)"), "{told}");
    let told = read("r", sarif(r#""executionSuccessful": false, "exitCode": 3"#).as_bytes()).unwrap_err();
    assert!(told.to_string().contains("(exit code 3)"), "{told}");
    for fine in [r#""executionSuccessful": true, "exitCode": 1"#, "", r#""toolExecutionNotifications": null"#]
    {
        assert!(read("r", sarif(fine).as_bytes()).is_ok(), "{fine}");
    }
}
