//! The program that Staith puts on machines; see the library.

fn main() -> std::process::ExitCode {
    staith_machine::main()
}
