//! Sub-commands of cargo that are programs of their own.

/// The programs behind `cargo fmt` and `cargo clippy`, which rustup installs as components and a minimal toolchain lacks.
/// A word that is not sure is `None`.
pub(super) fn behind(words: &[Option<&str>]) -> &'static [&'static str] {
    let sub_command = match words {
        [Some("cargo"), Some(toolchain), sub_command, ..] if toolchain.starts_with('+') => *sub_command,
        [Some("cargo"), sub_command, ..] => *sub_command,
        _ => None,
    };
    match sub_command {
        Some("fmt") => &["cargo-fmt", "rustfmt"],
        Some("clippy") => &["cargo-clippy", "clippy-driver"],
        _ => &[],
    }
}
