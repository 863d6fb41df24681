//! What of a run goes into its package: outputs of steps, and files of the source beside them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use staith_builder::source::{BadGlob, Globs};
use staith_model::{Entry, Exit, Manifest, Name, PackagePlan, RelPath};
use staith_packager::{hashing, parameters::Declarations, stopping::Stoppable, web_deploy::Content};
use tokio_util::sync::CancellationToken;

use crate::output::Problem;

/// A tree with the places of its files' bytes.
pub(crate) type Tree = (Manifest, BTreeMap<RelPath, PathBuf>);

/// Why a package has no content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChooseError {
    /// A glob is malformed.
    #[error(transparent)]
    Glob(#[from] BadGlob),
    /// Nothing is left to pack.
    #[error(
        "package `{package}` would be empty: no file that its steps left below {root} is wanted (include: {})",
        if include.is_empty() { "everything" } else { include }
    )]
    Nothing {
        /// The package.
        package: Name,
        /// Where its content was looked for.
        root: String,
        /// What was wanted.
        include: String,
    },
}

/// Chooses the content of a package from the outputs of its steps and the chosen files of the source.
///
/// Outputs are those below `root`, by their path from there, as `include` and `exclude` say. Source files keep the path that
/// they have in the project; where both have a path, the output is packed.
///
/// # Errors
/// A glob of the plan is none, or nothing is left to pack: an empty package is a mistake, not a release.
pub(crate) fn choose(plan: &PackagePlan, outputs: Tree, source: Tree) -> Result<Content, ChooseError> {
    let (include, exclude) = (Globs::or_everything(&plan.include)?, Globs::new(&plan.exclude)?);
    let is_packed = |path: &RelPath| include.matches(path.as_str()) && !exclude.matches(path.as_str());
    let mut content = Content::default();
    let source = source.0.entries.into_iter().map(|(path, entry)| (path, entry, &source.1));
    for (path, entry, places) in source {
        let place = places.get(&path).cloned();
        add(&mut content, path, entry, place);
    }
    for (path, entry) in outputs.0.entries {
        let Some(below) = below(plan.root.as_ref(), &path) else { continue };
        // A directory is packed for what is in it, or for itself when it is empty and wanted.
        if is_packed(&below) {
            let place = outputs.1.get(&path).cloned();
            add(&mut content, below, entry, place);
        }
    }
    if content.files.is_empty() {
        let root = plan.root.as_ref().map_or_else(|| "the workspace".to_owned(), |root| format!("`{root}`"));
        return Err(ChooseError::Nothing {
            package: plan.name.clone(),
            root,
            include: plan.include.join(", "),
        });
    }
    Ok(content)
}

fn below(root: Option<&RelPath>, path: &RelPath) -> Option<RelPath> {
    match root {
        None => Some(path.clone()),
        Some(root) => path.as_str().strip_prefix(root.as_str())?.strip_prefix('/')?.try_into().ok(),
    }
}

fn add(content: &mut Content, path: RelPath, entry: Entry, place: Option<PathBuf>) {
    let mut above = path.parent();
    while let Some(directory) = above {
        above = directory.parent();
        content.manifest.entries.entry(directory).or_insert(Entry::Directory);
    }
    match place {
        Some(place) => content.files.insert(path.clone(), place),
        None => content.files.remove(&path),
    };
    content.manifest.entries.insert(path, entry);
}

/// Reads what is wanted of a directory as a tree: every regular file is hashed, links are not followed.
///
/// # Errors
/// The system refused to read, somebody asked to `stop`, or something wanted is neither file, directory nor link, or has a name that is no text.
pub(crate) fn read_tree(
    root: &Path,
    is_wanted: &dyn Fn(&RelPath) -> bool,
    stop: &CancellationToken,
) -> io::Result<Tree> {
    let mut tree = Tree::default();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let (entry, kind) = entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind)))?;
            let place = entry.path();
            let inside =
                place.strip_prefix(root).ok().and_then(Path::to_str).and_then(|path| path.try_into().ok());
            let path: RelPath = inside.ok_or_else(|| unfit(&place, "its name is not UTF-8"))?;
            if kind.is_dir() {
                if is_wanted(&path) {
                    tree.0.entries.insert(path, Entry::Directory);
                }
                open.push(place);
            } else if !is_wanted(&path) {
            } else if kind.is_symlink() {
                let target = fs::read_link(&place)?.into_os_string().into_string();
                let target = target.map_err(|_| unfit(&place, "it leads to a name that is not UTF-8"))?;
                tree.0.entries.insert(path, Entry::Symlink { target });
            } else if kind.is_file() {
                tree.0.entries.insert(path.clone(), read_file(&place, stop)?);
                tree.1.insert(path, place);
            } else {
                return Err(unfit(&place, "it is neither a file, a directory nor a link"));
            }
        }
    }
    Ok(tree)
}

fn unfit(place: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} can't be packed: {why}", place.display()))
}

/// The declarations of a file; `called` is its name for people.
pub(crate) fn declarations(place: &Path, called: &str) -> Result<Declarations, Problem> {
    let bytes = fs::read(place).map_err(|refused| {
        Problem::new(Exit::Configuration, format!("{called} can't be read, which should declare parameters"))
            .with_why(refused.to_string())
    })?;
    Declarations::read(&bytes).map_err(|mistakes| {
        let what = format!("{called} does not declare parameters as Web Deploy would read them");
        Problem::new(Exit::Configuration, what).with_why(mistakes.to_string())
    })
}

fn read_file(place: &Path, stop: &CancellationToken) -> io::Result<Entry> {
    let file = File::open(place)?;
    // As git has it: whose files they are, and that person's umask, are not what is packed.
    let mode = if file.metadata()?.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
    let (digest, size) = hashing::digest_of(Stoppable::new(file, stop))?;
    Ok(Entry::File { mode, size, digest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use staith_model::Digest;

    fn tree(paths: &[&str]) -> Tree {
        let path = |text: &&str| RelPath::try_from(*text).unwrap();
        let file = Entry::File { mode: 0o644, size: 1, digest: Digest::of(b"x") };
        let entries = paths.iter().map(|text| (path(text), file.clone())).collect();
        (Manifest { entries }, paths.iter().map(|text| (path(text), PathBuf::from(text))).collect())
    }

    fn plan(root: Option<&str>, include: &[&str], exclude: &[&str]) -> PackagePlan {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        PackagePlan {
            name: "p".parse().unwrap(),
            layers: vec![],
            root: root.map(|root| root.try_into().unwrap()),
            include: texts(include),
            exclude: texts(exclude),
            source: vec![],
            parameters: None,
        }
    }

    fn paths(content: &Content) -> Vec<&str> {
        content.manifest.entries.keys().map(RelPath::as_str).collect()
    }

    #[test]
    fn outputs_below_the_root_are_packed_by_their_path_from_there() {
        let outputs = || tree(&["dist/app", "dist/lib/a.so", "dist/lib/a.pdb", "distant/x", "junit.xml"]);
        let content = choose(&plan(Some("dist"), &[], &["**/*.pdb"]), outputs(), Tree::default()).unwrap();
        assert_eq!(paths(&content), ["app", "lib", "lib/a.so"]);
        let content = choose(&plan(None, &["dist/app"], &[]), outputs(), Tree::default()).unwrap();
        assert_eq!(paths(&content), ["dist", "dist/app"]);
    }

    #[test]
    fn source_files_keep_their_path_and_give_way_to_outputs() {
        let outputs = tree(&["dist/static/a.css", "dist/app"]);
        let source = tree(&["static/a.css", "static/b.css"]);
        let content = choose(&plan(Some("dist"), &[], &[]), outputs, source).unwrap();
        assert_eq!(paths(&content), ["app", "static", "static/a.css", "static/b.css"]);
        let place =
            |path: &str| content.files.get(path_of(path).as_ref().unwrap()).unwrap().to_str().unwrap();
        assert_eq!((place("static/a.css"), place("static/b.css")), ("dist/static/a.css", "static/b.css"));
    }

    fn path_of(path: &str) -> Option<RelPath> {
        path.try_into().ok()
    }

    #[test]
    fn an_empty_package_is_refused() {
        let outputs = || tree(&["dist/app"]);
        for plan in [plan(Some("dist"), &["nomatch/**"], &[]), plan(Some("other"), &[], &[])] {
            let refused = choose(&plan, outputs(), Tree::default()).unwrap_err();
            assert!(matches!(refused, ChooseError::Nothing { .. }), "{refused}");
        }
    }

    #[test]
    fn a_directory_is_read_without_following_links() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        fs::write(directory.path().join("sub/file"), "abc").unwrap();
        std::os::unix::fs::symlink("/etc", directory.path().join("link")).unwrap();
        let (manifest, places) = read_tree(directory.path(), &|_| true, &CancellationToken::new()).unwrap();
        let listed: Vec<&str> = manifest.entries.keys().map(RelPath::as_str).collect();
        assert_eq!(listed, ["link", "sub", "sub/file"]);
        assert_eq!(places.len(), 1);
        assert!(
            matches!(&manifest.entries[&path_of("sub/file").unwrap()], Entry::File { size: 3, digest, .. } if *digest == Digest::of(b"abc"))
        );
    }
}
