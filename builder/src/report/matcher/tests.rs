//! Lines as compilers and linters write them.

use proptest::prelude::*;
use staith_model::Severity;

use super::*;

/// Each finding as `severity path:line:column [rule] message`.
fn found(name: &str, output: &str) -> Vec<String> {
    let mut matcher = Matcher::named(name).unwrap();
    output.lines().for_each(|line| matcher.push(line));
    let told = |finding: &Finding| {
        let number = |number: Option<u32>| number.map(|number| format!(":{number}")).unwrap_or_default();
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let rule = finding.rule.as_deref().unwrap_or("-");
        let (line, column) = (number(finding.line), number(finding.column));
        format!("{severity} {}{line}{column} [{rule}] {}", finding.path, finding.message)
    };
    matcher.finish().shown.iter().map(told).collect()
}

#[test]
fn gcc_and_clang() {
    let output = "\
In file included from src/a.c:1:
\x1b[01m\x1b[Ksrc/a.c:3:5:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[K'x' undeclared (first use in this function)
    3 |     x = 1;
      |     ^
src/a.c:3:5: note: each undeclared identifier is reported only once
/workspace/src/b.c:12:9: warning: unused variable 'y' [\x1b]8;;https://gcc.gnu.org/\x07-Wunused-variable\x1b]8;;\x07]
src/b.c:4: error: no column here
/usr/bin/ld: src/main.c:7: undefined reference to `missing'
/usr/bin/ld: /tmp/ccX1.o: in function `main':
main.c:(.text+0xe): undefined reference to `other'
collect2: error: ld returned 1 exit status
src/a.c:9:1: fatal error: gone.h: No such file or directory
make: *** [Makefile:3: a.o] Error 1
12:30:15: error: a time is no place
";
    assert_eq!(
        found("gcc", output),
        [
            "error src/a.c:3:5 [-] 'x' undeclared (first use in this function)",
            "error src/b.c:4 [-] no column here",
            "error src/main.c:7 [-] undefined reference to `missing'",
            "error main.c [-] undefined reference to `other'",
            "error  [-] ld returned 1 exit status",
            "error src/a.c:9:1 [-] gone.h: No such file or directory",
            "warning src/b.c:12:9 [-Wunused-variable] unused variable 'y'",
            "note src/a.c:3:5 [-] each undeclared identifier is reported only once",
        ]
    );
}

#[test]
fn go() {
    let output = "# example.org/shop\n./main.go:3:5: undefined: x\nvet: ./pay.go:7:2: too few values\n\
                  cart.go:9:1: exported func lacks a comment (revive)\nok  \texample.org/shop/cart\t0.003s\n";
    assert_eq!(
        found("go", output),
        [
            "error main.go:3:5 [-] undefined: x",
            "error pay.go:7:2 [-] too few values",
            "error cart.go:9:1 [revive] exported func lacks a comment",
        ]
    );
}

#[test]
fn rustc_says_it_over_several_lines() {
    let output = "\
   Compiling shop v0.1.0 (/workspace)
warning: unused variable: `y`
 --> src/main.rs:2:9
  |
2 |     let y = 1;
  |         ^ help: if this is intentional, prefix it with an underscore: `_y`
  |
  = note: `#[warn(unused_variables)]` (part of `#[warn(unused)]`) on by default

\x1b[1m\x1b[91merror[E0425]\x1b[0m\x1b[1m: cannot find value `x` in this scope\x1b[0m
 \x1b[1m\x1b[94m--> \x1b[0msrc/main.rs:3:5
  |

warning: unneeded `return` statement
  --> src/cart.rs:8:5
   |
   = help: for further information visit https://rust-lang.github.io/rust-clippy/rust-1.95.0/index.html#needless_return

error: could not compile `shop` (bin \"shop\") due to 1 previous error; 1 warning emitted
src/short.rs:1:2: error[E0001]: in the short form
";
    assert_eq!(
        found("rustc", output),
        [
            "error src/main.rs:3:5 [E0425] cannot find value `x` in this scope",
            "error src/short.rs:1:2 [E0001] in the short form",
            "warning src/main.rs:2:9 [unused_variables] unused variable: `y`",
            "warning src/cart.rs:8:5 [clippy::needless_return] unneeded `return` statement",
        ]
    );
}

#[test]
fn msbuild_csc_and_tsc() {
    let output = "\
/workspace/Shop.cs(3,5): error CS0103: The name 'x' does not exist [/workspace/Shop.csproj]
  2>Pay.cs(7): warning CS0168: The variable is declared but never used [Pay.csproj::TargetFramework=net9.0]
CSC : error CS2001: Source file 'a.cs' could not be found.
/workspace/Shop.csproj : error NU1101: Unable to find package Nope.
Build FAILED.
/workspace/Shop.cs(3,5): error CS0103: The name 'x' does not exist [/workspace/Shop.csproj]
    1 Error(s)
";
    let expected = [
        "error Shop.cs:3:5 [CS0103] The name 'x' does not exist",
        "error  [CS2001] Source file 'a.cs' could not be found.",
        "error Shop.csproj [NU1101] Unable to find package Nope.",
        "warning Pay.cs:7 [CS0168] The variable is declared but never used",
    ];
    assert_eq!(found("msbuild", output), expected);
    assert_eq!(found("csc", output), expected);
    let output = "src/a.ts(3,5): error TS2304: Cannot find name 'x'.\n\
                  \x1b[96msrc/b.ts\x1b[0m:\x1b[93m7\x1b[0m:\x1b[93m2\x1b[0m - \x1b[91merror\x1b[0m\x1b[90m TS2345: \x1b[0mWrong.\n\
                  error TS18003: No inputs were found.\nFound 2 errors.\n";
    assert_eq!(
        found("tsc", output),
        [
            "error src/a.ts:3:5 [TS2304] Cannot find name 'x'.",
            "error src/b.ts:7:2 [TS2345] Wrong.",
            "error  [TS18003] No inputs were found.",
        ]
    );
}

#[test]
fn eslint_says_the_file_once() {
    let output = "
/workspace/src/cart.js
   3:5   error    'x' is defined but never used  no-unused-vars
  12:10  warning  Unexpected console statement   no-console
  14:1   error    Parsing error: Unexpected token }

src/pay.css
  2:0  ✖  Unexpected empty block  block-no-empty

✖ 4 problems (3 errors, 1 warning)
  1:1  error  nowhere  none
";
    assert_eq!(
        found("eslint", output),
        [
            "error src/cart.js:3:5 [no-unused-vars] 'x' is defined but never used",
            "error src/cart.js:14:1 [-] Parsing error: Unexpected token }",
            "error src/pay.css:2 [block-no-empty] Unexpected empty block",
            "warning src/cart.js:12:10 [no-console] Unexpected console statement",
        ]
    );
}

#[test]
fn python_s_linters_and_tracebacks() {
    let output = "\
shop/cart.py:3:1: F401 'os' imported but unused
./shop/cart.py:9:80: W291 trailing whitespace
shop/pay.py:7: error: Incompatible return value type  [return-value]
shop/pay.py:7: note: Expected a number
shop/cart.py:1:0: C0114: Missing module docstring (missing-module-docstring)
E722 Do not use bare `except`
  --> shop/ship.py:4:5
   |
Traceback (most recent call last):
  File \"/workspace/shop/main.py\", line 12, in <module>
    main()
  File \"/workspace/shop/cart.py\", line 5, in main
    json.loads(text)
  File \"/usr/lib/python3.13/json/__init__.py\", line 346, in loads
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
  File \"shop/bad.py\", line 2
    if x
        ^
SyntaxError: expected ':'
";
    assert_eq!(
        found("python", output),
        [
            "error shop/cart.py:3:1 [F401] 'os' imported but unused",
            "error shop/pay.py:7 [return-value] Incompatible return value type",
            "error shop/ship.py:4:5 [E722] Do not use bare `except`",
            "error shop/cart.py:5 [json.decoder.JSONDecodeError] \
             json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
            "error shop/bad.py:2 [SyntaxError] SyntaxError: expected ':'",
            "warning shop/cart.py:9:80 [W291] trailing whitespace",
            "note shop/pay.py:7 [-] Expected a number",
            "note shop/cart.py:1 [C0114] Missing module docstring (missing-module-docstring)",
        ]
    );
}

#[test]
fn php_says_where_at_the_end() {
    let output = "\
PHP Parse error:  syntax error, unexpected token \"}\" in /workspace/src/a.php on line 3
Parse error: syntax error, unexpected token \"}\" in /workspace/src/a.php on line 3
Errors parsing src/a.php
PHP Fatal error:  Uncaught Error: no in src/b.php:7
Stack trace:
#0 {main}
Deprecated: Optional parameter before required in src/c.php on line 9
src/d.php:4:1: error - Missing doc comment
";
    assert_eq!(
        found("php", output),
        [
            "error src/a.php:3 [-] syntax error, unexpected token \"}\"",
            "error src/b.php:7 [-] Uncaught Error: no",
            "error src/d.php:4:1 [-] Missing doc comment",
            "warning src/c.php:9 [-] Optional parameter before required",
        ]
    );
}

#[test]
fn generic_takes_the_common_forms() {
    let output = "\
src/a.x:3:5: error: one
src/b.x(7,2): WARNING: two
##vso[task.logissue type=error;sourcepath=a.c;linenumber=3;code=100]three
::notice file=app.js,line=1,col=5::four
::group::not a problem
";
    assert_eq!(
        found("generic", output),
        [
            "error src/a.x:3:5 [-] one",
            "error a.c:3 [100] three",
            "warning src/b.x:7:2 [-] two",
            "note app.js:1:5 [-] four"
        ]
    );
}

#[test]
fn names_are_known_and_nothing_else_is() {
    for name in Matcher::NAMES {
        assert!(Matcher::named(name).is_some(), "{name}");
    }
    assert!(Matcher::named("cobol").is_none() && Matcher::named("").is_none());
}

#[test]
fn what_is_told_twice_is_counted_once() {
    let mut matcher = Matcher::named("gcc").unwrap();
    for _ in 0..3 {
        matcher.push("a.h:1:1: warning: odd");
    }
    (1..=200).for_each(|line| matcher.push(&format!("a.c:{line}: error: bad")));
    let findings = matcher.finish();
    assert_eq!((findings.errors, findings.warnings, findings.shown.len()), (200, 1, 100));
}

proptest! {
    #[test]
    fn no_lines_break_a_matcher(
        name in prop::sample::select(&Matcher::NAMES[..]),
        lines in prop::collection::vec(
            "(error|warning|note|a\\.py|/b/c\\.c|[A-Z][0-9]+|File \"|\", line |--> |PHP |Warning: | in | on line |\\(|\\)|:|::|\\[|\\]|  |, | - |[0-9]{1,12}|\u{1b}\\[|✖|é|\t){0,14}",
            0..12
        )
    ) {
        let mut matcher = Matcher::named(name).unwrap();
        lines.iter().for_each(|line| matcher.push(line));
        for finding in matcher.finish().shown {
            prop_assert!(finding.line != Some(0) && finding.column != Some(0));
            prop_assert!(!finding.path.chars().any(char::is_control) && finding.message.len() <= 4 << 10);
        }
    }

    #[test]
    fn long_lines_are_cut_where_a_character_ends(
        name in prop::sample::select(&Matcher::NAMES[..]),
        text in "(:1|é:|\\(2\\)|\\[x|Warning: ){1,3}"
    ) {
        let mut matcher = Matcher::named(name).unwrap();
        matcher.push(&text.repeat(30_000));
        matcher.finish();
    }
}
