//! Rows 41 to 45: what a step writes. The engines hand on bytes; what becomes of them is the same for both, and the scenarios
//! through the command line look at it.

use super::row::{Row, elsewhere};

pub fn rows() -> Vec<Row> {
    let hostile = "tests/tests/hostile_output.rs";
    vec![
        elsewhere(
            41,
            "output without end",
            "tests/tests/logs.rs",
            "a_flood_is_whole_in_the_log_and_takes_no_memory",
        ),
        elsewhere(41, "a line without end", "tests/tests/logs.rs", "a_line_without_end_takes_no_memory"),
        elsewhere(41, "bytes that are no text", hostile, "bytes_that_are_no_text_are_shown_as_such"),
        elsewhere(42, "control sequences", hostile, "no_control_sequence_reaches_a_terminal"),
        elsewhere(43, "markup", hostile, "markup_and_commands_are_text"),
        elsewhere(44, "lines that look like commands", hostile, "markup_and_commands_are_text"),
        elsewhere(
            45,
            "secrets in many clothes",
            "tests/tests/secrets.rs",
            "a_secret_that_a_step_writes_is_nowhere",
        ),
        elsewhere(
            45,
            "secrets in colours",
            "tests/tests/secrets.rs",
            "colours_in_the_middle_of_a_secret_do_not_show_it",
        ),
    ]
}
