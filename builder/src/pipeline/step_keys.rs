//! The keys of a `[steps.*]` table.

use super::{
    bars,
    keys::{
        CONDITION, DURATION, GLOBS, HOST, IMAGE, Keys, NAME, NAMES, PATH, REQUIRED, SCRIPT_OR_ARGUMENTS,
        SECRETS, SIZE, Shape, VARIABLES, key,
    },
    matrix, placement,
    resources::{CPU, NETWORKS, PROCESSES},
    retries,
    steps::KNOWN_MATCHERS,
};

pub(super) const KEYS: Keys = Keys {
    known: &[
        key(
            "run",
            SCRIPT_OR_ARGUMENTS,
            REQUIRED,
            "What the step runs. A text is a script for `/bin/sh -e`. A list is a program and its arguments, without a shell.",
        ),
        key(
            "needs",
            NAMES,
            "none",
            "Steps that must have succeeded first. The step sees their outputs, and those of the steps that they need.",
        ),
        key(
            "inputs",
            GLOBS,
            "all",
            "Source files that the step sees. What it can't see can't change it, so a step with few inputs is rarely run again. \
             A path without wildcards must be there, and all globs together must match a file.",
        ),
        key(
            "outputs",
            GLOBS,
            "none",
            "Files that the step leaves for the steps that need it, and for the package.",
        ),
        key(
            "reports",
            GLOBS,
            "none",
            "Files with results that the step writes, see [Results](#results). A failed test or an error in one of them fails the \
             step.",
        ),
        key(
            "matcher",
            Shape::Word(&KNOWN_MATCHERS),
            "none",
            "What finds problems in the lines that the step writes, see [Results](#results).",
        ),
        key(
            "coverage",
            bars::COVERAGE,
            "none",
            "What has to be covered, in percent: `{ lines = 80, branches = 60 }`. The step fails where it is less.",
        ),
        key(
            "findings",
            bars::FINDINGS,
            "no errors in reports",
            "What may be found, in reports and by the matcher: `{ level = \"warning\", most = 0 }`. The step fails where it is more.",
        ),
        key(
            "env",
            VARIABLES,
            "none",
            "Environment variables. `PATH` can't be set (declare tools instead), nor can names that start with `STAITH_`.",
        ),
        key(
            "secrets",
            SECRETS,
            "none",
            "Secrets that the step gets as environment variables: a list of names, or a table of variables and the secrets' \
             names. Values are never in the file.",
        ),
        key(
            "image",
            Shape::Text(&IMAGE),
            "the file's `image`",
            "The step's root file system: an OCI image. `\"host\"` is this machine's own programs.",
        ),
        key(
            "network",
            Shape::Word(&NETWORKS),
            "`\"loopback\"`",
            "`\"none\"`: no network at all. `\"loopback\"`: a loopback interface of the step's own. `\"outbound\"`: that, and other \
             machines by HTTP and HTTPS.",
        ),
        key(
            "allow",
            Shape::List { of: &Shape::Text(&HOST), filled: true },
            "all hosts",
            "The only hosts that the step may reach with `network = \"outbound\"`: `\"repo.org\"`, or `\"*.example.org\"` for all \
             below it.",
        ),
        key(
            "services",
            Shape::List { of: &Shape::Text(&NAME), filled: true },
            "none",
            "Services that run beside the step, each reached under its own name.",
        ),
        key(
            "when",
            Shape::Text(&CONDITION),
            "all needs succeeded",
            "A condition, see below. A step whose condition does not hold is left out, and so are the steps that need it, but for those whose own condition asks what became of it.",
        ),
        key(
            "matrix",
            matrix::SHAPE,
            "none",
            "Lists of values: the step becomes one step for each combination of them, see below.",
        ),
        key("timeout", Shape::Text(&DURATION), "`\"30m\"`", "The step is ended after this time."),
        key(
            "retry",
            retries::SHAPE,
            "never",
            "How often the step is tried again where the environment failed, or `{ attempts = 3, on = [\"environment\", \
             \"timeout\"] }`.",
        ),
        key(
            "continue-on-failure",
            Shape::Truth,
            "`false`",
            "Whether the run may pass though this step did not. The steps that need it run then, too, without its outputs.",
        ),
        key(
            "runner",
            placement::SHAPE,
            "the file's `runner`",
            "Which runners of a server may take the step: `{ pool = \"linux\", labels = [\"gpu\"] }`, see [Where steps \
             run](#where-steps-run).",
        ),
        key("workdir", Shape::Text(&PATH), "the project's folder", "Where the step runs."),
        key(
            "memory",
            Shape::Text(&SIZE),
            "half of the host's",
            "Memory that the step may use, from `\"16MiB\"`.",
        ),
        key(
            "cpu",
            CPU,
            "the host's",
            "Processors that the step may use, from `0.01` to `1024`, for example `1.5`.",
        ),
        key("processes", PROCESSES, "the host's", "Processes and threads that the step may have at once."),
        key(
            "disk",
            Shape::Text(&SIZE),
            "the host's",
            "Bytes that the step may write, its workspace and `/tmp` together, from `\"1MiB\"`. A file counts as 4 KiB at least, and none may be longer than this.",
        ),
        key(
            "kind",
            Shape::Text(&NAME),
            "the step's name",
            "What the step is for: `lint`, `restore`, `build`, `unit-test`, `integration-test`, or a name of your own.",
        ),
    ],
    elsewhere: &ELSEWHERE,
};

const ELSEWHERE: [(&str, &str); 42] = [
    ("command", "run"),
    ("cmd", "run"),
    ("script", "run"),
    ("depends", "needs"),
    ("depends_on", "needs"),
    ("depends-on", "needs"),
    ("dependencies", "needs"),
    ("after", "needs"),
    ("artifacts", "outputs"),
    ("environment", "env"),
    ("variables", "env"),
    ("cwd", "workdir"),
    ("dir", "workdir"),
    ("working-directory", "workdir"),
    ("cpus", "cpu"),
    ("mem", "memory"),
    ("pids", "processes"),
    ("storage", "disk"),
    ("junit", "reports"),
    ("sarif", "reports"),
    ("type", "kind"),
    ("container", "image"),
    ("docker", "image"),
    ("hosts", "allow"),
    ("allowed-hosts", "allow"),
    ("retries", "retry"),
    ("if", "when"),
    ("only", "when"),
    ("rules", "when"),
    ("condition", "when"),
    ("strategy", "matrix"),
    ("service", "services"),
    ("allow-failure", "continue-on-failure"),
    ("allow_failure", "continue-on-failure"),
    ("continue-on-error", "continue-on-failure"),
    ("problem-matcher", "matcher"),
    ("runs-on", "runner"),
    ("runs_on", "runner"),
    ("pool", "runner"),
    ("labels", "runner"),
    ("tags", "runner"),
    ("agent", "runner"),
];
