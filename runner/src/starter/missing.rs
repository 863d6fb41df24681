//! What a first pipeline names and a folder does not have: where a person says which kind of project it is to become.

use staith_builder::{pipeline::Pipeline, source::Globs};

use super::Folder;

/// The inputs of a pipeline's steps that must be there and are not, each once, as the pipeline writes them. Hidden files are
/// not looked at.
pub(crate) fn missing(pipeline: &str, folder: &Folder) -> Vec<String> {
    let steps = Pipeline::parse("runner.toml", pipeline).map(|pipeline| pipeline.steps().to_vec());
    let mut missing: Vec<String> = Vec::new();
    for step in steps.unwrap_or_default() {
        let absent = |glob: &&String| !glob.starts_with('.') && !is_there(glob, folder);
        let absent: Vec<&String> = step.inputs.iter().filter(absent).collect();
        // A path must be there; of globs, one has to match.
        let nothing = step.inputs.iter().all(|glob| glob.starts_with('.') || !is_there(glob, folder));
        for glob in absent.into_iter().filter(|glob| nothing || !glob.contains(['*', '?', '[', '{'])) {
            if !missing.contains(glob) {
                missing.push(glob.clone());
            }
        }
    }
    missing
}

fn is_there(glob: &String, folder: &Folder) -> bool {
    Globs::or_everything(std::slice::from_ref(glob))
        .is_ok_and(|globs| folder.files().any(|path| globs.matches(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::starter::Kind;

    #[test]
    fn what_a_folder_lacks_is_told_and_what_it_has_is_not() {
        let of = |kind: Kind, files: &[(&str, &str)]| {
            let folder = Folder::of("shop", files);
            missing(&kind.pipeline(&folder), &folder)
        };
        assert_eq!(of(Kind::Rust, &[]), ["Cargo.*"]);
        let rust = [("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"1.0.0\"\n"), ("src/main.rs", "")];
        assert_eq!(of(Kind::Rust, &rust), [""; 0]);
        assert_eq!(of(Kind::Python, &[]), ["setup.py"]);
        let run = "name = 'x'\nversion = '1'\n[steps.a]\nrun = 'x'\ninputs = ['src', 'a/*', 'b/*']\n";
        assert_eq!(missing(run, &Folder::of("x", &[("a/one", "")])), ["src"]);
        assert_eq!(missing(run, &Folder::of("x", &[("src/one", "")])), [""; 0]);
    }
}
