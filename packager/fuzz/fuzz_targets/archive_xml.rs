//! Any bytes as `archive.xml`, and as the gallery's `manifest.xml`, options blobs and all.

#![no_main]

use libfuzzer_sys::fuzz_target;
use staith_packager::web_deploy::archive::Archive;

fuzz_target!(|bytes: &[u8]| {
    for archive in [Archive::of_archive_xml(bytes), Archive::of_gallery_manifest(bytes)] {
        match archive {
            Ok(archive) => {
                archive.chains();
            }
            Err(mistake) => assert!(mistake.line > 0 && mistake.column > 0 && !mistake.to_string().is_empty()),
        }
    }
});
