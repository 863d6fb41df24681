//! What is written, byte by byte; and what is refused before a byte is written.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Cursor, Seek, SeekFrom, Write},
    ops::ControlFlow,
    path::PathBuf,
    process::Command,
    sync::Mutex,
};

use common::{What, any_tree, content, file, fixed_tree, noise, pack, packed, raw_entries, tree, u16_at};
use proptest::prelude::*;
use staith_model::{Digest, Entry, RelPath};
use staith_packager::web_deploy::{Content, Progress, Refusals, Rule, WriteError, portable::NameFlaw, write};

/// Changing this is a decision: every package of every user gets another digest. Raise `PROFILE` with it.
const GOLDEN: &str = "sha256:716852febb3671f034f4502bb943bf5d2f3129829ed2c950ca42e31a48337ec6";

#[test]
fn the_bytes_of_a_fixed_tree_are_what_they_have_always_been() {
    assert_eq!(Digest::of(&packed(&fixed_tree()).0).to_string(), GOLDEN);
}

/// The same for a file in pieces.
const GOLDEN_LARGE: &str = "sha256:6d26e09cc79894e102bf180c6ac4f070b71bc2339785249df443d84f3bab2521";

#[test]
fn the_bytes_of_a_large_file_are_what_they_have_always_been() {
    let lines: Vec<u8> = (0..900_000u32).flat_map(|n| format!("{n:x} lamps\n").into_bytes()).collect();
    assert_eq!(Digest::of(&packed(&tree([("large.txt", file(lines))])).0).to_string(), GOLDEN_LARGE);
}

#[test]
fn what_is_told_of_the_package_is_true() {
    let scratch = tempfile::tempdir().unwrap();
    let (bytes, written) = pack(&content(scratch.path(), &fixed_tree())).unwrap();
    assert_eq!((written.digest, written.size), (Digest::of(&bytes), bytes.len() as u64));
}

/// Small files, large files in pieces, large noise, and a large file of zeros.
fn tree_with_large_files() -> BTreeMap<String, What> {
    let lines: Vec<u8> = (0..800_000u32).flat_map(|n| format!("{n:x} lamps\n").into_bytes()).collect();
    assert!(lines.len() > 8 << 20);
    let mut tree = tree([
        ("large.txt", file([lines.clone(), lines].concat())),
        ("noise.bin", file(noise(9 << 20))),
        ("zeros.bin", file(vec![0; 40 << 20])),
    ]);
    tree.extend((0..1500).map(|n| (format!("many/{n}"), file(format!("{n} ").repeat(n)))));
    tree
}

#[test]
fn threads_do_not_show_in_the_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    let content = content(scratch.path(), &tree_with_large_files());
    let digests: BTreeSet<_> = [1, 2, 4]
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (bytes, written) = pool.install(|| pack(&content)).unwrap();
            assert_eq!(written.digest, Digest::of(&bytes));
            (written.digest, written.size)
        })
        .into();
    assert_eq!(digests.len(), 1);
}

#[test]
fn large_files_come_out_as_they_went_in() {
    let scratch = tempfile::tempdir().unwrap();
    let large = tree_with_large_files();
    let content = content(scratch.path(), &large);
    let (bytes, _) = pack(&content).unwrap();
    let entries = raw_entries(&bytes);
    let method = |name: &str| entries.iter().find(|raw| raw.name.ends_with(name)).unwrap().method;
    assert_eq!((method("large.txt"), method("noise.bin")), (8, 0));
    assert_eq!(method("zeros.bin"), 0, "a reader would take it for a bomb");
    let (_directory, path) = common::on_disk(&bytes);
    staith_packager::web_deploy::PackageReader::open(&path).unwrap().verify().unwrap();
}

#[test]
fn owners_modes_times_places_and_order_on_the_host_do_not_show() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = fixed_tree();
    let plain = pack(&content(scratch.path(), &tree)).unwrap().1;
    // The same tree in files that were made in another order, elsewhere, of other modes, times and owners.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut other = Content::default();
    for (nth, (path, what)) in tree.iter().rev().enumerate() {
        let path = RelPath::try_from(path.as_str()).unwrap();
        let entry = match what {
            What::Directory => Entry::Directory,
            What::Link(target) => Entry::Symlink { target: target.clone() },
            What::File(mode, bytes) => {
                let host = elsewhere.path().join(format!("x{nth}"));
                fs::write(&host, bytes).unwrap();
                use std::os::unix::fs::{PermissionsExt, chown};
                fs::set_permissions(&host, fs::Permissions::from_mode(0o400)).unwrap();
                let _ = chown(&host, Some(65_534), Some(65_534));
                let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
                fs::File::open(&host).unwrap().set_times(times).unwrap();
                other.files.insert(path.clone(), host);
                Entry::File { mode: *mode, size: bytes.len() as u64, digest: Digest::of(bytes) }
            }
        };
        other.manifest.entries.insert(path, entry);
    }
    assert_eq!(pack(&other).unwrap().1, plain);
}

#[test]
fn entries_come_in_web_deploys_order() {
    let names: Vec<_> = raw_entries(&packed(&fixed_tree()).0).into_iter().map(|raw| raw.name).collect();
    let expected = [
        "archive.xml",
        "Content/app/",
        "Content/app/App_Data/",
        "Content/app/Bilder/",
        "Content/app/Bilder/été.txt",
        "Content/app/Bilder/名前 x.txt",
        "Content/app/bin/",
        "Content/app/bin/serve",
        "Content/app/catalogue.txt",
        "Content/app/empty",
        "Content/app/empty folder/",
        "Content/app/empty folder/a",
        "Content/app/noise",
        "Content/app/_first",
        "parameters.xml",
        "staith.manifest.json",
        "systemInfo.xml",
    ];
    assert_eq!(names, expected);
}

/// Every byte of every header, against the profile.
fn assert_profile(zip: &[u8]) -> Result<(), TestCaseError> {
    let entries = raw_entries(zip);
    let mut next = 0;
    for raw in &entries {
        let directory = raw.name.ends_with('/');
        prop_assert_eq!(raw.offset, next, "a gap before {}", &raw.name);
        next += raw.local.len() as u32 + raw.packed;
        prop_assert_eq!((raw.made_by, raw.needed), (20, 20));
        prop_assert_eq!(raw.flags, if raw.name.is_ascii() { 0 } else { 1 << 11 });
        prop_assert_eq!((raw.extra, raw.comment, raw.internal), (0, 0, 0));
        prop_assert_eq!(raw.attributes, if directory { 0x10 } else { 0x20 });
        // The local header says the same, and has no extra field.
        prop_assert_eq!(raw.local.len(), 30 + raw.name.len());
        prop_assert_eq!(u16_at(&raw.local, 28), 0);
        let central: Vec<u8> = [raw.needed, raw.flags, raw.method, raw.time, raw.date]
            .iter()
            .flat_map(|field| field.to_le_bytes())
            .chain([raw.crc, raw.packed, raw.size].iter().flat_map(|field| field.to_le_bytes()))
            .collect();
        prop_assert_eq!(&raw.local[4..26], &central[..]);
        prop_assert_eq!(&raw.local[30..], raw.name.as_bytes());
        match raw.method {
            0 => prop_assert_eq!(raw.packed, raw.size),
            8 => prop_assert!(raw.packed < raw.size, "{} is no smaller compressed", raw.name),
            other => prop_assert!(false, "method {}", other),
        }
        let (month, day) = (raw.date >> 5 & 15, raw.date & 31);
        prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
        let content = raw.name.starts_with("Content/") && !directory;
        prop_assert!(content || (raw.date, raw.time) == ((20 << 9) | 33, 0), "{} tells a time", raw.name);
        // Each directory on the way has been seen before.
        for (slash, _) in raw.name.match_indices('/').filter(|(slash, _)| *slash > "Content".len()) {
            prop_assert!(entries.iter().any(|entry| entry.name == raw.name[..=slash]), "{}", raw.name);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_header_is_as_the_profile_has_it(tree in any_tree()) {
        assert_profile(&packed(&tree).0)?;
    }
}

#[test]
fn a_files_time_follows_its_content_and_nothing_else() {
    let times = |tree| -> Vec<_> {
        raw_entries(&packed(&tree).0)
            .into_iter()
            .filter(|raw| raw.name.starts_with("Content/") && !raw.name.ends_with('/'))
            .map(|raw| (raw.date, raw.time))
            .collect()
    };
    let before = times(tree([("a", file("one")), ("b", file("same"))]));
    let after = times(tree([("a", file("two")), ("c", file("same"))]));
    assert_ne!(before[0], after[0], "Web Deploy would skip a changed file of the same length");
    assert_eq!(before[1], after[1]);
}

#[test]
fn the_metadata_is_what_web_deploy_needs() {
    let (zip, _) = packed(&fixed_tree());
    let (_directory, path) = common::on_disk(&zip);
    let script = "import sys, zipfile, xml.dom.minidom as m\n\
        z = zipfile.ZipFile(sys.argv[1])\n\
        a = m.parseString(z.read('archive.xml')).documentElement\n\
        assert a.tagName == 'sitemanifest' and len(a.attributes) == 3\n\
        i = a.getElementsByTagName('iisApp')[0]\n\
        assert [(n.tagName, n.getAttribute('path'), n.getAttribute('MSDeploy.MSDeployLinkName')) for n in a.getElementsByTagName('*')] == [\n\
        ('iisApp','app','Child1'),('createApp','app','createApp'),('contentPath','app','contentPath'),('MSDeploy.dirPath','app','contentPath')]\n\
        p = m.parseString(z.read('parameters.xml')).getElementsByTagName('parameter')\n\
        assert [q.getAttribute('name') for q in p] == ['IIS Web Application Name']\n\
        e = p[0].getElementsByTagName('parameterEntry')[0]\n\
        assert (e.getAttribute('kind'), e.getAttribute('scope'), e.getAttribute('match')) == ('ProviderPath','IisApp','^app$')\n\
        assert z.read('systemInfo.xml') == b'<systemInfo />'\n";
    let Some(python) = tool("python3") else { return };
    let output = Command::new(python).args(["-c", script]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A program of this machine, if it has it.
fn tool(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

#[test]
fn other_programs_read_the_package() {
    let (zip, _) = packed(&fixed_tree());
    let (directory, path) = common::on_disk(&zip);
    if let Some(unzip) = tool("unzip") {
        let to = directory.path().join("unzipped");
        let output = Command::new(unzip).arg("-q").arg(&path).arg("-d").arg(&to).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Info-ZIP translates names of entries "made on FAT" from an old code page, whatever their UTF-8 flag says; those of
        // Web Deploy's own packages too.
        for (name, what) in fixed_tree().into_iter().filter(|(name, _)| name.is_ascii()) {
            if let What::File(_, bytes) = what {
                assert_eq!(fs::read(to.join("Content/app").join(&name)).unwrap(), bytes, "{name}");
            }
        }
        assert!(to.join("Content/app/App_Data").is_dir());
    }
    if let Some(python) = tool("python3") {
        let script = "import sys, zipfile, hashlib\n\
            z = zipfile.ZipFile(sys.argv[1])\n\
            assert z.testzip() is None\n\
            for n in z.namelist(): print(n, hashlib.sha256(z.read(n)).hexdigest(), sep='\\t')\n";
        let output = Command::new(python)
            .env("PYTHONIOENCODING", "utf-8")
            .args(["-c", script])
            .arg(&path)
            .output()
            .unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(listed.lines().count(), 17, "{}", String::from_utf8_lossy(&output.stderr));
        for (name, what) in fixed_tree() {
            if let What::File(_, bytes) = what {
                let line = format!("Content/app/{name}\t{}", Digest::of(&bytes).hex());
                assert!(listed.lines().any(|listed| listed == line), "{line}");
            }
        }
    }
}

fn refusals(content: &Content) -> Refusals {
    let mut untouched = Cursor::new(Vec::new());
    let refused = write(content, &mut untouched, &staith_packager::stopping::unwatched).unwrap_err();
    assert!(untouched.into_inner().is_empty(), "something was written");
    match refused {
        WriteError::Refused(refusals) => refusals,
        other => panic!("{other}"),
    }
}

/// A file of a length that no test can write.
fn claimed(size: u64) -> Entry {
    Entry::File { mode: 0o644, size, digest: Digest::of(b"") }
}

fn with_entries(entries: impl IntoIterator<Item = (String, Entry)>) -> Content {
    let mut content = Content::default();
    for (path, entry) in entries {
        let path = RelPath::try_from(path).unwrap();
        content.files.insert(path.clone(), "/dev/null".into());
        content.manifest.entries.insert(path, entry);
    }
    content
}

#[test]
fn every_bad_name_is_told_at_once_with_all_offenders() {
    let bad = [
        "a:b",
        "x/NUL.txt",
        "com1/ok",
        "d.",
        "e ",
        "pipe|",
        "nl\n",
        "Case/a",
        "case/b",
        "q",
        "Q",
        "back\\slash",
    ];
    let refusals = refusals(&with_entries(bad.map(|path| (path.to_owned(), claimed(0)))));
    let told =
        |rule| refusals.0.iter().find(|refusal| refusal.rule == rule).map(|refusal| refusal.paths.clone());
    assert_eq!(told(Rule::Name(NameFlaw::Character)).unwrap(), ["a:b", "back\\slash", "nl\n", "pipe|"]);
    assert_eq!(told(Rule::Name(NameFlaw::Device)).unwrap(), ["com1/ok", "x/NUL.txt"]);
    assert_eq!(told(Rule::Name(NameFlaw::TrailingDotOrSpace)).unwrap(), ["d.", "e "]);
    assert_eq!(told(Rule::CaseClash).unwrap(), ["Case", "Q", "case", "q"]);
    let text = refusals.to_string();
    assert!(text.contains("`nl\\n`") && text.contains("rename"), "{text}");
}

#[test]
fn limits_are_told_with_the_offenders_and_what_to_do() {
    let refused = refusals(&with_entries([("huge.iso".into(), claimed(1 << 31)), ("ok".into(), claimed(1))]));
    assert_eq!(
        (refused.0[0].rule, &refused.0[0].paths[..]),
        (Rule::FileTooLarge, &["huge.iso".to_owned()][..])
    );
    let two_gigabytes = (1u64 << 31) - 1;
    let refused = refusals(&with_entries((0..3).map(|n| (format!("{n}"), claimed(two_gigabytes - n)))));
    assert_eq!(refused.0[0].rule, Rule::PackageTooLarge);
    assert_eq!(refused.0[0].paths[0], "0 (2147483647 bytes)");
    let refused = refusals(&with_entries((0..65_530).map(|n| (format!("many/{n}"), claimed(0)))));
    assert_eq!(refused.0[0].rule, Rule::TooManyEntries);
    assert_eq!(refused.0[0].paths[0], "many (65531 entries)");
    let long = vec!["x".repeat(250); 17].join("/");
    assert_eq!(refusals(&with_entries([(long, claimed(0))])).0[0].rule, Rule::PathTooLong);
    let text = refusals(&with_entries((0..50).map(|n| (format!("{n}:"), claimed(0))))).to_string();
    assert!(text.contains("and 30 more"), "{text}");
}

#[test]
fn the_most_that_fits_is_packed() {
    // 65,534 entries: four of metadata, the root, and a directory of files.
    let most = with_entries((0..65_528).map(|n| (format!("many/{n}"), claimed(0))));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let files = most.files.keys().map(|path| (path.clone(), empty.path().to_owned())).collect();
    let (bytes, _) = pack(&Content { files, ..most }).unwrap();
    assert_eq!(raw_entries(&bytes).len(), 65_534);
    let (_directory, path) = common::on_disk(&bytes);
    staith_packager::web_deploy::PackageReader::open(&path).unwrap();
}

#[test]
fn links_out_of_the_tree_special_modes_and_files_that_hold_files_are_refused() {
    for target in ["/etc/passwd", "..", "a/../../b", "", "x\0y"] {
        let refused = refusals(&with_entries([("l".to_owned(), Entry::Symlink { target: target.into() })]));
        assert_eq!(refused.0[0].rule, Rule::Link, "{target:?}");
    }
    let inside = with_entries([("d/l".to_owned(), Entry::Symlink { target: "../d/./x".into() })]);
    pack(&inside).unwrap();
    let set_user_id = Entry::File { mode: 0o4755, size: 0, digest: Digest::of(b"") };
    assert_eq!(refusals(&with_entries([("su".to_owned(), set_user_id)])).0[0].rule, Rule::Mode);
    let through_link = with_entries([
        ("l".to_owned(), Entry::Symlink { target: "x".into() }),
        ("l/f".to_owned(), claimed(0)),
    ]);
    assert_eq!(refusals(&through_link).0[0].rule, Rule::NotADirectory);
}

/// How a file is changed, in words and in deed.
type Change<'a> = (&'a str, &'a dyn Fn(&PathBuf));

#[test]
fn a_file_that_changes_while_it_is_packed_is_named() {
    let large = noise(9 << 20);
    for original in [b"original".to_vec(), large] {
        let changes: [Change; 5] = [
            ("longer", &|host| {
                fs::OpenOptions::new().append(true).open(host).unwrap().write_all(b"!").unwrap()
            }),
            ("shorter", &|host| fs::OpenOptions::new().write(true).open(host).unwrap().set_len(3).unwrap()),
            ("other bytes", &|host| {
                let mut file = fs::OpenOptions::new().write(true).open(host).unwrap();
                file.seek(SeekFrom::Start(5)).unwrap();
                file.write_all(b"#").unwrap();
            }),
            ("gone", &|host| fs::remove_file(host).unwrap()),
            ("a link to the same bytes", &|host| {
                let moved = host.with_extension("moved");
                fs::rename(host, &moved).unwrap();
                std::os::unix::fs::symlink(moved, host).unwrap();
            }),
        ];
        for (how, change) in changes {
            let scratch = tempfile::tempdir().unwrap();
            let content =
                content(scratch.path(), &tree([("sub/it", file(original.clone())), ("other", file("x"))]));
            change(&content.files[&RelPath::try_from("sub/it").unwrap()]);
            let refused = pack(&content).unwrap_err();
            assert!(
                matches!(&refused, WriteError::Changed { path, .. } if path.as_str() == "sub/it"),
                "{how}: {refused}"
            );
        }
    }
}

#[test]
fn a_pipe_in_a_files_place_is_not_waited_for() {
    let scratch = tempfile::tempdir().unwrap();
    let content = content(scratch.path(), &tree([("it", file("x"))]));
    let host = content.files.values().next().unwrap();
    fs::remove_file(host).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, host, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(pack(&content), Err(WriteError::Changed { .. })));
}

#[test]
fn a_file_without_a_source_is_told_before_anything_is_written() {
    let mut content = with_entries([("a".to_owned(), claimed(0))]);
    content.files.clear();
    let mut untouched = Cursor::new(Vec::new());
    assert!(matches!(
        write(&content, &mut untouched, &staith_packager::stopping::unwatched),
        Err(WriteError::NoSource(_))
    ));
    assert!(untouched.into_inner().is_empty());
}

#[test]
fn progress_grows_and_ends_at_all() {
    let scratch = tempfile::tempdir().unwrap();
    let content = content(scratch.path(), &tree_with_large_files());
    let told = Mutex::new(Vec::<Progress>::new());
    let heard = |progress| {
        told.lock().unwrap().push(progress);
        ControlFlow::Continue(())
    };
    write(&content, &mut Cursor::new(Vec::new()), &heard).unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted_by_key(|progress| (progress.files, progress.bytes)) && told.len() > 3);
    let last = told.last().unwrap();
    assert_eq!((last.files, last.bytes), (last.of_files, last.of_bytes));
    assert_eq!(last.of_files, 1503);
}
