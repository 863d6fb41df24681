//! Packs a directory and says how long each part took: `pack DIRECTORY PACKAGE.zip [EARLIER.zip]`. Then reads the package back.
//! With one argument, a package, it lists and verifies that.

#![allow(clippy::print_stdout, reason = "an example that is run by hand")]

use std::{
    error::Error,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

use rayon::prelude::*;
use staith_model::{Entry, RelPath};
use staith_packager::{
    hashing::digest_of,
    web_deploy::{Content, Earlier, PackageReader, write_after},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn walk(root: &Path, at: &Path, into: &mut Vec<(RelPath, PathBuf)>) -> Outcome<()> {
    for entry in fs::read_dir(at)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, into)?;
        } else {
            let relative = path.strip_prefix(root)?.to_str().ok_or("a name that is not UTF-8")?;
            into.push((RelPath::try_from(relative)?, path));
        }
    }
    Ok(())
}

fn hashed(found: Vec<(RelPath, PathBuf)>) -> Outcome<Content> {
    let entries: Vec<_> = found
        .par_iter()
        .map(|(path, host)| {
            let file = File::open(host)?;
            let (digest, size) = digest_of(&file)?;
            let mode = file.metadata()?.permissions().mode() & 0o777;
            Ok((path.clone(), Entry::File { mode, size, digest }))
        })
        .collect::<Outcome<_>>()?;
    let mut content = Content { files: found.into_iter().collect(), ..Content::default() };
    content.manifest.entries = entries.into_iter().collect();
    Ok(content)
}

fn main() -> Outcome<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let package = match arguments.as_slice() {
        [package] => package,
        [directory, package, earlier @ ..] => {
            let begin = Instant::now();
            let mut found = Vec::new();
            walk(directory, directory, &mut found)?;
            let content = hashed(found)?;
            println!("listed and hashed {} files in {:?}", content.manifest.files(), begin.elapsed());
            let begin = Instant::now();
            content.manifest.digest();
            println!("manifest's digest in {:?}", begin.elapsed());
            let mut file =
                File::options().read(true).write(true).create(true).truncate(true).open(package)?;
            let begin = Instant::now();
            let earlier = earlier.first().map(|path| {
                digest_of(File::open(path)?)?;
                Ok::<_, std::io::Error>(Earlier::of_file(File::open(path)?))
            });
            let earlier = earlier.transpose()?.flatten();
            println!("earlier package verified and listed in {:?}", begin.elapsed());
            let begin = Instant::now();
            let written =
                write_after(&content, earlier.as_ref(), &mut file, &staith_packager::stopping::unwatched)?;
            println!(
                "packed {} bytes to {} in {:?}",
                content.manifest.bytes(),
                written.size,
                begin.elapsed()
            );
            package
        }
        _ => return Err("usage: pack DIRECTORY PACKAGE.zip, or pack PACKAGE.zip".into()),
    };
    let begin = Instant::now();
    let package = PackageReader::open(package)?;
    println!(
        "opened {:?} with {} entries in {:?}",
        package.dialect(),
        package.entries().len(),
        begin.elapsed()
    );
    let begin = Instant::now();
    let verified = package.verify()?;
    println!("verified {} bytes in {:?}", verified.bytes, begin.elapsed());
    Ok(())
}
