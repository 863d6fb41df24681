//! Any bytes as a package: opened, inspected, verified, extracted, compared with itself. Nothing panics, and nothing is written
//! beside the target.

#![no_main]

use std::{fs, io::Write as _, path::Path};

use libfuzzer_sys::fuzz_target;
use staith_packager::web_deploy::{Extract, PackageReader, diff, inspect};

/// More takes its time in writing, which is not what is looked for.
const MOST_BYTES: u64 = 16 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    let Ok(package) = PackageReader::of_file(file, Path::new("package.zip")) else { return };
    let _ = inspect(&package);
    if package.entries().iter().map(|entry| entry.size).sum::<u64>() > MOST_BYTES {
        return;
    }
    let is_sound = package.verify().is_ok();
    if let Ok(difference) = diff(&package, &package) {
        assert!(difference.is_empty(), "it differs from itself");
    }
    let scratch = tempfile::tempdir().expect("a temporary directory");
    for as_zip in [false, true] {
        let target = scratch.path().join("target");
        let what = Extract { as_zip, only: Vec::new() };
        let extracted = package.extract_with(&target, &what, &staith_packager::stopping::unwatched).is_ok();
        assert!(extracted || !is_sound, "it is sound, but can't be extracted");
        let left = fs::read_dir(scratch.path()).expect("it is there").count();
        assert_eq!(left, usize::from(extracted), "something was written beside the target");
        let _ = fs::remove_dir_all(&target);
    }
});
