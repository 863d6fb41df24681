//! The program for machines as this crate's tests break it: built with debug assertions, it dies where it is told to.

fn main() -> std::process::ExitCode {
    staith_machine::main()
}
