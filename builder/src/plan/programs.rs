//! Which programs a step surely runs.

use staith_model::Command;

use super::{
    cargo,
    shell::{Word, surely_run},
};

/// What the shell does by itself.
const BUILT_IN: [&str; 33] = [
    ":", "[", "bg", "command", "declare", "echo", "exec", "export", "false", "fg", "getopts", "jobs", "kill",
    "let", "local", "printf", "pwd", "read", "readonly", "set", "shift", "test", "times", "trap", "true",
    "type", "typeset", "ulimit", "umask", "unset", "wait", "cd", "eval",
];

/// The programs that a step looks up in `PATH` and can't do without, each once, in the order in which it runs them.
///
/// Conservative: a program that is not sure is not named. Of a list it is the first text; of a shell script, the first word
/// of each simple command up to the first place that would need a real shell to be understood. Programs with a `/` are
/// files of the project or of the host and are not looked up.
pub fn programs(command: &Command) -> Vec<String> {
    let mut programs: Vec<String> = Vec::new();
    let mut add = |words: &[Option<&str>]| {
        let Some(Some(program)) = words.first() else { return };
        if !looked_up(program) {
            return;
        }
        for name in [*program].into_iter().chain(cargo::behind(words).iter().copied()) {
            if !programs.iter().any(|known| known == name) {
                programs.push(name.to_owned());
            }
        }
    };
    match command {
        Command::Argv(arguments) => {
            add(&arguments.iter().map(|argument| Some(argument.as_str())).collect::<Vec<_>>());
        }
        Command::Shell(script) => {
            for simple in surely_run(script) {
                let words: Vec<_> = simple.words.iter().map(Word::exactly).collect();
                if !words.first().copied().flatten().is_some_and(is_the_shells_own) {
                    add(&words);
                }
            }
        }
    }
    programs
}

fn is_the_shells_own(word: &str) -> bool {
    BUILT_IN.contains(&word) || super::shell::NOTHING_IS_SURE_AFTER.contains(&word)
}

/// Whether a word is a plain name that `PATH` is searched for.
fn looked_up(word: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && word.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(script: &str) -> Vec<String> {
        programs(&Command::Shell(script.to_owned()))
    }

    #[test]
    fn sure_programs_of_scripts() {
        let table: [(&str, &[&str]); 38] = [
            ("make", &["make"]),
            ("make all && ctest; strip x", &["make", "ctest", "strip"]),
            ("make\nmake install\n\n# done\nls", &["make", "ls"]),
            ("cat x | jq . | sort", &["cat", "jq", "sort"]),
            ("a &&\n  b |\n\n c", &["a", "b", "c"]),
            ("make \\\n  all; ls", &["make", "ls"]),
            ("CC=clang CXX='c++ x' make", &["make"]),
            ("A=1; B=\"$A\"\nmake", &["make"]),
            ("make > log 2>&1; ls >>log", &["make", "ls"]),
            (">log make", &["make"]),
            ("server & curl localhost", &["server", "curl"]),
            ("echo \"a && b; c\" 'd | e' && ls", &["ls"]),
            ("set -eux; export A=1 B; make", &["make"]),
            ("./gradlew build; ls", &["ls"]),
            ("make # && rm x\nls", &["make", "ls"]),
            ("make $FLAGS ${MORE} \"$X\"; ls", &["make", "ls"]),
            ("make *.c; ls", &["make", "ls"]),
            ("cargo build || exit 1; ls", &["cargo", "ls"]),
            ("cargo build || false\nls", &["cargo", "ls"]),
            // Tried, not needed.
            ("podman build . || docker build .; ls", &["ls"]),
            ("a || b || exit 1; ls", &["ls"]),
            ("a || exit 0", &[]),
            ("a && b || true; ls", &["ls"]),
            ("[ -f x ] && npm ci; ls", &["ls"]),
            ("command -v yarn && yarn; ls", &["ls"]),
            ("git diff --quiet && make; ls", &["git", "ls"]),
            // Sure up to here.
            ("ls; cd app && npm ci", &["ls"]),
            ("ls\nPATH=x make", &["ls"]),
            ("ls; export PATH=/x:$PATH; make", &["ls"]),
            ("ls; if true; then make; fi; rm x", &["ls"]),
            ("ls; for x in a; do make; done", &["ls"]),
            ("ls; f() { make; }; f", &["ls"]),
            ("ls; (make)", &["ls"]),
            ("ls; x=$(make); rm y", &["ls"]),
            ("ls; cat <<END\nmake\nEND\n", &["ls"]),
            ("ls; $MAKE all; rm x", &["ls"]),
            ("ls; exit 0; make", &["ls"]),
            ("ls; set +e; make", &["ls"]),
        ];
        for (script, expected) in table {
            assert_eq!(of(script), expected, "{script:?}");
        }
    }

    #[test]
    fn more_that_only_a_shell_understands() {
        for script in [
            "`make`",
            "\"$X\"",
            "ma'ke",
            "$(ls)",
            "! make",
            "while make; do :; done",
            "case x in x) make;; esac",
            "{ make; }",
            "f () { make; }",
            ". ./env; make",
            "eval make",
            "alias make=x; make",
            "ma*e",
            "~/make",
            "2>log make",
            "make |& x",
            "\"A=1\"",
            "A\\=1 ",
            "make ${X:-$(x)}",
            "exec make",
            "read PATH; make",
            "unset PATH; make",
        ] {
            assert_eq!(of(script), Vec::<String>::new(), "{script:?}");
        }
    }

    #[test]
    fn a_list_needs_no_shell() {
        let of =
            |words: &[&str]| programs(&Command::Argv(words.iter().map(|word| (*word).to_owned()).collect()));
        assert_eq!(of(&["make", "&&", "ls"]), ["make"]);
        assert_eq!(of(&["cd", "x"]), ["cd"]);
        assert_eq!(of(&["./x"]), Vec::<String>::new());
    }

    #[test]
    fn cargo_calls_other_programs() {
        assert_eq!(of("cargo fmt --check"), ["cargo", "cargo-fmt", "rustfmt"]);
        assert_eq!(of("cargo +nightly clippy"), ["cargo", "cargo-clippy", "clippy-driver"]);
        assert_eq!(of("cargo build; cargo fmt"), ["cargo", "cargo-fmt", "rustfmt"]);
        assert_eq!(of("cargo \"$X\" fmt"), ["cargo"]);
        let list = Command::Argv(vec!["cargo".into(), "fmt".into()]);
        assert_eq!(programs(&list), ["cargo", "cargo-fmt", "rustfmt"]);
    }

    proptest! {
        #[test]
        fn no_script_breaks_the_reader(script in "[a-z $|&;()<>{}`'\"\\\\#=\n*~é!\\[\\]0-9-]{0,60}") {
            // A word may go on after quotes and after a line's end that is escaped.
            let joined = script.replace("\\\n", "").replace(['\'', '"'], "");
            for program in of(&script) {
                prop_assert!(joined.contains(&program));
                prop_assert!(looked_up(&program));
            }
        }

        /// What is sure of a beginning that ends with a line stays sure, whatever follows.
        #[test]
        fn more_script_never_takes_a_program_back(
            first in "[a-c ]{0,8}[|&;]{0,2}[a-c ]{1,8}\n", second in "[a-c $|&;()`'\"\n]{0,20}",
        ) {
            let whole = of(&format!("{first}true\n{second}"));
            for program in of(&format!("{first}true\n")) {
                prop_assert!(whole.contains(&program), "{program} of {first:?} then {second:?}");
            }
        }
    }
}
