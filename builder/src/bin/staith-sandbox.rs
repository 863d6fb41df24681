//! The built-in sandbox's helper and nothing else, for tests. The product serves as its own helper.

use std::process::ExitCode;

fn main() -> ExitCode {
    staith_builder::sandbox::helper_main()
}
