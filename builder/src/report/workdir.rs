//! Paths as seen from the workspace: a program that runs in a folder of it names files as seen from there.

use staith_model::{RelPath, StepResults};

/// Makes paths that are relative to `workdir` relative to the workspace. One that begins with `workdir` was so already:
/// many linters name files from the root of the repository, wherever they run.
pub fn from_workspace(results: &mut StepResults, workdir: Option<&RelPath>) {
    let Some(workdir) = workdir.map(RelPath::as_str) else { return };
    let findings = results.findings.iter_mut().flat_map(|findings| &mut findings.shown);
    let failures = results.tests.iter_mut().flat_map(|tests| &mut tests.failures);
    for path in failures.filter_map(|failure| failure.file.as_mut()) {
        // Traces of these languages name files without their folders, so that nobody knows what they are relative to.
        let is_bare = !path.contains('/')
            && [".java", ".kt", ".scala", "_test.go"].iter().any(|end| path.ends_with(end));
        if !is_bare {
            *path = below(workdir, path);
        }
    }
    for finding in findings.filter(|finding| !finding.path.is_empty()) {
        finding.path = below(workdir, &finding.path);
    }
}

fn below(workdir: &str, path: &str) -> String {
    let is_elsewhere = path.starts_with(['/', '\\', '<']) || path.contains(':');
    let is_known = path.strip_prefix(workdir).is_some_and(|rest| rest.starts_with('/'));
    if is_elsewhere || is_known {
        return path.to_owned();
    }
    let (mut folder, mut inside) = (Some(workdir), path);
    while let (Some(around), Some(rest)) = (folder, inside.strip_prefix("../")) {
        folder = around.rsplit_once('/').map(|(around, _)| around);
        inside = rest;
    }
    folder.map_or_else(|| inside.to_owned(), |folder| format!("{folder}/{inside}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_workspace() {
        for (path, from_workspace) in [
            ("src/a.c", "app/web/src/a.c"),
            ("app/web/src/a.c", "app/web/src/a.c"),
            ("app/webs/a.c", "app/web/app/webs/a.c"),
            ("../lib/a.c", "app/lib/a.c"),
            ("../../../a.c", "../a.c"),
            ("/usr/include/stdio.h", "/usr/include/stdio.h"),
            ("C:\\a.c", "C:\\a.c"),
        ] {
            assert_eq!(below("app/web", path), from_workspace);
        }
    }
}
