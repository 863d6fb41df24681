//! Only the keeper, for the tests of this crate; `staith` has it as a hidden sub-command.

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, listen] = arguments.as_slice() else { return ExitCode::from(64) };
    let Ok(listen) = listen.parse() else { return ExitCode::from(64) };
    staith_releaser::keeper::keeper_main(Path::new(dir), listen)
}
