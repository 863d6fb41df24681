//! What reports and a step's own lines say: tests, coverage and findings, as a person sees them.

use staith_model::{Event, EventKind, StepOutcome, StepResults};
use staith_tests::world::World;

/// A project with one step, which leaves its `given` file as its report.
fn reporting(report: &str, given: &str, more: &str) -> World {
    let world = World::new();
    world.write(
        "runner.toml",
        &format!(
            "name = \"one\"\nversion = \"1\"\n[steps.only]\nrun = \"cp given {report}\"\nreports = [\"{report}\"]\n{more}\n"
        ),
    );
    world.write("given", given);
    world.commit("first");
    world
}

/// How the only step ended, and what its reports said.
fn finished(json_lines: &str) -> (StepOutcome, StepResults) {
    let events = json_lines.lines().map(serde_json::from_str::<Event>);
    let ends = events.flatten().filter_map(|event| match event.what {
        EventKind::StepFinished { outcome, results, .. } => Some((outcome, results)),
        _ => None,
    });
    let mut ends: Vec<_> = ends.collect();
    ends.pop().expect(json_lines)
}

const SARIF: &str = r#"{"version": "2.1.0", "runs": [{
  "tool": {"driver": {"name": "lint", "rules": [{"id": "no-eval", "defaultConfiguration": {"level": "error"}}]}},
  "results": [
    {"ruleId": "no-var", "message": {"text": "use let"},
     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "src/b.js"}, "region": {"startLine": 9}}}]},
    {"ruleId": "no-eval", "message": {"text": "eval is evil"},
     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "file:///workspace/src/a.js"},
                                         "region": {"startLine": 3, "startColumn": 5}}}]}]}]}"#;

#[test]
fn an_error_in_a_sarif_report_fails_its_step_whatever_the_exit_code() {
    let world = reporting("lint.sarif", SARIF, "");
    let said = world.staith(&["run"]).exits(10).says("1 error and 1 warning found");
    said.says("src/a.js:3:5: error: eval is evil [no-eval]").says("src/b.js:9: warning: use let [no-var]");
    let (outcome, results) = finished(&world.staith(&["run", "--json"]).exits(10).out);
    let findings = results.findings.unwrap();
    assert_eq!((outcome, findings.errors, findings.warnings), (StepOutcome::Failed, 1, 1));
    assert_eq!((findings.shown[0].path.as_str(), findings.shown[0].line), ("src/a.js", Some(3)));
}

#[test]
fn warnings_are_counted_and_what_a_known_step_said_is_said_again() {
    let world = reporting("lint.sarif", &SARIF.replace("\"level\": \"error\"", "\"level\": \"note\""), "");
    world.staith(&["run"]).exits(0).says("found: 1 warning, 1 note").never_says("eval is evil");
    world.staith(&["run"]).exits(0).says("cached, found: 1 warning, 1 note");
    let (outcome, results) = finished(&world.staith(&["run", "--json"]).exits(0).out);
    assert_eq!((outcome, results.findings.unwrap().shown.len()), (StepOutcome::Cached, 2));
}

#[test]
fn a_failed_test_shows_name_file_and_line() {
    let junit = r#"<testsuite name="s"><testcase classname="shop.Cart" name="adds" file="tests/cart.py" line="12">
        <failure message="3 is not 4"/></testcase></testsuite>"#;
    let world = reporting("junit.xml", junit, "");
    world.staith(&["run"]).exits(10).says("shop.Cart: adds (tests/cart.py:12)").says("3 is not 4");

    let trx = r#"<TestRun xmlns="http://microsoft.com/schemas/VisualStudio/TeamTest/2010"><Results>
        <UnitTestResult testId="1" testName="Adds" outcome="Failed"><Output><ErrorInfo><Message>3 is not 4</Message>
        <StackTrace>   at Shop.CartTests.Adds() in /workspace/tests/CartTests.cs:line 17</StackTrace></ErrorInfo>
        </Output></UnitTestResult></Results><TestDefinitions><UnitTest id="1"><TestMethod className="Shop.CartTests"/>
        </UnitTest></TestDefinitions></TestRun>"#;
    let world = reporting("results.trx", trx, "");
    world.staith(&["run"]).exits(10).says("Shop.CartTests: Adds (tests/CartTests.cs:17)").says("3 is not 4");

    let tap = "TAP version 13\n1..3\nok 1 - opens\nnot ok 2 - adds\n#   at t/cart.t line 12.\n";
    let world = reporting("tests.out", tap, "");
    let said = world.staith(&["run"]).exits(10).says("2 of 3 tests failed").says("adds (t/cart.t:12)");
    said.says("3 tests were planned, and 2 ran");
}

#[test]
fn files_are_named_from_the_workspace_wherever_a_step_runs() {
    let world = reporting("lint.sarif", &SARIF.replace("file:///workspace/src", "src"), "workdir = \"app\"");
    world.edit("runner.toml", |text| text.replace("[\"lint.sarif\"]", "[\"app/lint.sarif\"]"));
    world.write("app/given", &SARIF.replace("file:///workspace/", ""));
    world.staith(&["run"]).exits(10).says("app/src/a.js:3:5: error: eval is evil");
}

#[test]
fn coverage_is_shown() {
    let world = reporting("lcov.info", "TN:\nSF:a.js\nDA:1,4\nDA:2,0\nDA:3,1\nend_of_record\n", "");
    world.staith(&["run"]).exits(0).says("coverage: 66 % of lines");
    let cobertura =
        r#"<coverage lines-valid="100" lines-covered="87" branches-valid="10" branches-covered="7"/>"#;
    world.write("given", cobertura);
    world.staith(&["run"]).exits(0).says("coverage: 87 % of lines, 70 % of branches");
}

#[test]
fn reports_of_all_kinds_are_read_beside_each_other() {
    let world = reporting("out/given", "<testsuite><testcase name='a'/></testsuite>", "");
    world.write("lcov.info", "SF:a.js\nDA:1,4\nend_of_record\n");
    world.write("more.tap", "1..2\nok\nok\n");
    world.edit("runner.toml", |text| {
        text.replace("cp given out/given", "mkdir out; cp given lcov.info more.tap out")
            .replace("out/given", "out/*")
    });
    world.staith(&["run"]).exits(0).says("tests: 3 passed, coverage: 100 % of lines");
}

#[test]
fn what_is_no_report_is_told_with_its_place() {
    let world = reporting("r", "{\n \"version\": \"2.1.0\",\n \"runs\": 5\n}", "");
    world.staith(&["run"]).exits(10).says("`r` can't be read: line 3, column").says("SARIF");
    world.write("given", "[{\"filePath\": \"a.js\"}]");
    world
        .staith(&["run"])
        .exits(10)
        .says("these are: tests as JUnit XML, TRX or TAP, coverage as Cobertura or LCOV");
    world.write("given", "<testsuite><testcase name='a'/>");
    world.staith(&["run"]).exits(10).says("it ends inside `<testsuite>`");
}

#[test]
fn a_matcher_explains_a_failure_and_never_makes_one() {
    let world = World::new();
    let line = r"\033[1msrc/a.c:3:5: \033[31merror:\033[0m no such thing [-Wodd]\n";
    let pipeline = |end: &str| {
        format!(
            "name = \"one\"\nversion = \"1\"\n[steps.only]\nrun = '''printf '{line}' >&2; {end}'''\nmatcher = \"gcc\"\n"
        )
    };
    world.write("runner.toml", &pipeline("exit 1"));
    world.commit("first");
    let said = world.staith(&["run"]).exits(10).says("src/a.c:3:5: error: no such thing [-Wodd]");
    said.says("exit code 1; 1 error found");
    world.write("runner.toml", &pipeline("exit 0"));
    world.staith(&["run"]).exits(0).says("found: 1 error");
}

#[test]
fn coverage_below_what_is_asked_for_fails_its_step_and_a_pass_holds_for_no_higher_bar() {
    let world = reporting(
        "lcov.info",
        "TN:\nSF:a.js\nDA:1,4\nDA:2,0\nDA:3,1\nend_of_record\n",
        "coverage = { lines = 66 }",
    );
    world.staith(&["run"]).exits(0).says("coverage: 66 % of lines");
    world.staith(&["run"]).exits(0).says("cached");
    world.edit("runner.toml", |text| text.replace("lines = 66", "lines = 67"));
    world.staith(&["why", "only"]).exits(0).says("coverage");
    let said = world.staith(&["run"]).exits(10);
    said.says("66.66 % of lines are covered, and 67 % is the least").never_says("cached");
    world.edit("runner.toml", |text| text.replace("lines = 67", "branches = 1"));
    world.staith(&["run"]).exits(10).says("no report says how many branches are covered");
}

#[test]
fn what_may_be_found_decides_for_reports_and_matchers() {
    let world = reporting("lint.sarif", SARIF, "findings = { level = \"error\", most = 1 }");
    world.staith(&["run"]).exits(0).says("found: 1 error, 1 warning");
    world.edit("runner.toml", |text| text.replace("level = \"error\"", "level = \"warning\""));
    world.staith(&["run"]).exits(10).says("2 warnings and errors found, and 1 is the most");

    let world = World::new();
    let run = "echo 'src/a.c:3:5: warning: odd [-Wodd]'";
    let pipeline = format!(
        "name = \"one\"\nversion = \"1\"\n[steps.only]\nrun = \"{run}\"\nmatcher = \"gcc\"\nfindings = {{ level = \"warning\" }}\n"
    );
    world.write("runner.toml", &pipeline);
    world.staith(&["run"]).exits(10).says("1 warning or error found, and 0 is the most");
}

#[test]
fn a_report_is_not_taken_for_better_than_it_says_of_itself() {
    let world =
        reporting("junit.xml", "<testsuite tests='2' failures='1'><testcase name='a'/></testsuite>", "");
    world.staith(&["run"]).exits(10).says("1 of 2 tests failed").says("has no test that did");
    world.write("given", "<testsuites/>");
    world.staith(&["run"]).exits(0).says("tests: 0 tests");
    let crashed = r#"{"version": "2.1.0", "runs": [{"results": [], "invocations": [{"executionSuccessful": false,
        "exitCodeDescription": "segmentation fault"}]}]}"#;
    world.write("given", crashed);
    world.staith(&["run"]).exits(10).says("`junit.xml` is not whole").says("segmentation fault");
}
