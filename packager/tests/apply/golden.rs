//! Each series of syncs that Web Deploy did with its own packages, done again by ours: the same counters, the same changes in
//! the same order, the same trees and the same times.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use staith_model::RelPath;
use staith_packager::{
    apply::{
        Action, ApplyOptions, ApplyPlan, Node, Object, PackageSource, Rewriter, Source, apply, is_skipped,
        untaken, what_if,
    },
    parameters::{Declarations, Resolved, Values, resolve},
    web_deploy::{PackageReader, RootKind},
};

use crate::{
    series::{Left, Listing, Sync, read},
    site::Site,
};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

/// Parameters as one build of Web Deploy applied them: its bytes, by path below the root.
struct AsWebDeploy {
    root: String,
    changed: BTreeMap<String, Vec<u8>>,
    /// Whether a scope holds every file, also those that nothing was changed in.
    everything: bool,
}

impl AsWebDeploy {
    fn below(&self, source_path: &str) -> String {
        source_path
            .strip_prefix(&self.root)
            .unwrap_or(source_path)
            .replace('\\', "/")
            .trim_matches('/')
            .to_owned()
    }
}

impl Rewriter for AsWebDeploy {
    fn covers(&self, source_path: &str) -> Result<bool, String> {
        Ok(self.everything || self.changed.contains_key(&self.below(source_path)))
    }

    fn rewrite<'b>(&self, source_path: &str, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, String> {
        Ok(self
            .changed
            .get(&self.below(source_path))
            .map_or(Cow::Borrowed(bytes), |bytes| Cow::Owned(bytes.clone())))
    }
}

fn changed(directory: &Path, above: &str, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let entry = entry.unwrap();
        let path = format!("{above}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            changed(&entry.path(), &format!("{path}/"), into);
        } else {
            into.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

/// A command of Web Deploy in our words.
struct Translated {
    package: String,
    options: ApplyOptions,
    what_if: bool,
    /// Values that are set on the command line: another rewriting than that of the sample's files.
    sets: Vec<String>,
}

fn translate(arguments: &[String]) -> Translated {
    let options = ApplyOptions { spelled: Some(r"C:\site".into()), ..ApplyOptions::default() };
    let mut translated = Translated { package: String::new(), options, what_if: false, sets: Vec::new() };
    let plan = &mut translated.options.plan;
    for argument in arguments {
        let (name, value) = argument.split_once([':', '=']).unwrap_or((argument, ""));
        match name {
            "msdeploy.exe" | "-verb" | "-verbose" | "-setParamFile" => {}
            "-source" => translated.package = value.rsplit('\\').next().unwrap().to_owned(),
            "-dest" => match value.strip_prefix(r"filePath=C:\site\") {
                Some(name) => translated.options.only = Some(name.to_owned()),
                None => {
                    assert!(["auto", r"contentPath=C:\site", r"dirPath=C:\site"].contains(&value), "{value}")
                }
            },
            "-skip" => plan.skips.push(value.parse().unwrap()),
            "-enableRule" if value == "DoNotDeleteRule" => plan.do_not_delete = true,
            "-enableRule" if value == "SkipNewerFilesRule" => plan.skip_newer = true,
            "-useCheckSum" => plan.checksum = true,
            "-whatif" => translated.what_if = true,
            "-setParam" => {
                let (name, value) = value.strip_prefix("name=").unwrap().split_once(",value=").unwrap();
                translated.sets.push(format!("{name}={value}"));
            }
            other => panic!("an option that nobody translates: {other}"),
        }
    }
    translated
}

/// One series.
struct Series {
    name: &'static str,
    /// Which build's series and files, where they differ.
    build: &'static str,
    site: Site,
    first: Listing,
    /// Whether parameters are applied by our own code, and not taken from the samples.
    own: bool,
    /// What our own code made of files, where that differs from Web Deploy's by what is said at [`resolved`].
    better: RefCell<BTreeMap<String, (u64, String)>>,
}

impl Series {
    fn new(name: &'static str, build: &'static str, own: bool) -> Self {
        Self { name, build, site: Site::new(), first: Listing::new(), own, better: RefCell::default() }
    }

    fn text(&self) -> String {
        let file = |build: &str| samples().join(format!("{}.applied{build}.txt", self.name));
        fs::read_to_string(file(self.build)).or_else(|_| fs::read_to_string(file(""))).unwrap()
    }

    fn changed(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        // The newer version is applied with the parameters of the first.
        let name = self.name.replace("contentpath-v2", "contentpath");
        for build in [self.build, ""] {
            changed(&samples().join(format!("{name}.applied{build}")), "", &mut found);
        }
        found
    }

    /// Applies a package, or says what would be; `None` where ours refuses for a provider that no directory takes.
    fn run(&self, command: &Translated) -> Option<ApplyPlan> {
        let package = PackageReader::open(&samples().join(&command.package)).unwrap();
        let skipped = |provider| is_skipped(provider, &command.options.plan.skips).unwrap();
        // What Web Deploy itself leaves out where the destination is a directory.
        let refused = untaken(&package)
            .into_iter()
            .filter(|provider| !provider.is("createApp"))
            .any(|one| !skipped(one));
        if refused {
            return None;
        }
        let roots = package.content_roots();
        let [root] = roots.as_slice() else { panic!("{} content roots", roots.len()) };
        let below = match root.kind {
            RootKind::Directory => root.path,
            RootKind::File => root.path.rsplit_once('\\').unwrap().0,
        };
        let mut changed = self.changed();
        let only = command.options.only.as_deref().map(|name| RelPath::try_from(name).unwrap());
        if let (Some(only), Some(bytes)) =
            (&only, only.as_ref().and_then(|only| changed.get(only.as_str()).cloned()))
        {
            assert_ne!(only.as_str(), "price-tag.txt");
            changed.insert("price-tag.txt".into(), bytes);
        }
        let everything = self.name == "parameter-cases";
        let rewriter = AsWebDeploy { root: below.to_owned(), changed, everything };
        let resolved = self.own.then(|| self.resolved(&package, &command.sets));
        let rewriter: &dyn Rewriter =
            resolved.as_ref().map_or(&rewriter, |resolved| resolved as &dyn Rewriter);
        let source = PackageSource::new(&package, root, Some(rewriter), only.as_ref()).unwrap();
        self.note(&source);
        let planned = what_if(&source, &self.site.path, &command.options).unwrap();
        if !command.what_if {
            let applied = apply(&source, &self.site.path, &command.options, &()).unwrap();
            assert_eq!(applied.plan, planned, "what-if told something else");
        }
        Some(planned)
    }

    /// Parameters with the sample's values, by our own code. Where that does otherwise than Web Deploy (another encoding or layout
    /// of a file that was changed, a file without a match left alone, chains of references resolved in whole), the tests of
    /// parameters hold each file against Web Deploy's; here, such a file counts with the bytes that it has.
    fn resolved(&self, package: &PackageReader, sets: &[String]) -> Resolved {
        let declared = package.read_text(package.find("parameters.xml").unwrap(), 1 << 20).unwrap();
        let declared = Declarations::read(&declared).unwrap();
        let mut values = Values::default();
        let name = self.name.replace("contentpath-v2", "contentpath");
        let given = fs::read_to_string(samples().join(format!("{name}.SetParameters.xml"))).unwrap();
        // Web Deploy passes over values of parameters that are not declared; ours refuses them.
        let given: Vec<_> = given.lines().filter(|line| !line.contains("Not Declared")).collect();
        values.add_file(given.join("\n").as_bytes(), "values").unwrap();
        if self.name == "parameter-cases" {
            // References in a circle, which Web Deploy leaves half resolved, and ours refuses.
            for setting in ["Cycle 1=x", "r03-own-name.txt/1=x"] {
                values.set(setting, &declared).unwrap();
            }
        }
        for setting in sets {
            values.set(setting, &declared).unwrap();
        }
        resolve(&declared, &values).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Remembers what became of files in the scope of parameters.
    fn note(&self, source: &dyn Source) {
        for (path, node) in &source.tree().nodes {
            if let Node::File(facts) = node
                && self.own
                && facts.by_content
            {
                let line = format!("{} {}", facts.size, facts.digest.unwrap().hex());
                self.better.borrow_mut().insert(path.to_string(), (facts.size, line));
            }
        }
    }

    /// What Web Deploy's total would be if it had made of files what ours makes of them: only bytes may differ.
    fn total(&self, theirs: &str, plan: &ApplyPlan, before_first: &Listing) -> String {
        let size =
            |path: &str| before_first.get(path).and_then(|line| line.split(' ').next()?.parse::<i64>().ok());
        let copied = plan.changes.iter().filter(|one| one.action != Action::Delete);
        let more: i64 = copied
            .filter_map(|one| {
                Some(self.better.borrow().get(one.path.as_str())?.0 as i64 - size(one.path.as_str())?)
            })
            .sum();
        let (rest, bytes) = theirs.strip_suffix(" bytes copied)").unwrap().rsplit_once(' ').unwrap();
        format!("{rest} {} bytes copied)", bytes.parse::<i64>().unwrap() + more)
    }

    /// A tree of Web Deploy's with our bytes of files in the scope of parameters.
    fn with_ours(&self, mut tree: Listing) -> Listing {
        for (path, (_, line)) in self.better.borrow().iter() {
            if let Some(theirs) = tree.get_mut(path) {
                theirs.clone_from(line);
            }
        }
        tree
    }

    fn fresh(&self, first: &Translated) {
        self.site.clear();
        self.run(first).unwrap();
    }

    /// Brings the destination into the state that a sync began with.
    fn prepare(&self, sync: &Sync, first: &Translated, times: &BTreeMap<String, String>) {
        let before = &sync.before;
        if before.starts_with("onto an empty folder") {
            return self.site.clear();
        }
        if before.starts_with("contentpath.zip was applied")
            || before.starts_with("contentpath-v2.zip was applied")
        {
            let package = before.split(' ').next().unwrap().to_owned();
            self.fresh(&Translated { package, ..translate(&[]) });
        } else if before.starts_with("before: ") {
            self.fresh(first);
        }
        let quoted = before.split('"').nth(1).map(|path| path.replace('\\', "/"));
        let new_year = parse_time("2025-01-01T00:00:00");
        match quoted {
            _ if before.contains("default.htm given the time") => {
                self.site.set_time("default.htm", parse_time("2030-01-01T00:00:00"));
            }
            Some(_) if !before.starts_with("before: ") => {}
            None => {}
            Some(path) if before.contains("was put into") => {
                fs::write(self.site.path.join(path), "not in the package\r\n").unwrap();
            }
            Some(path) if before.contains("appended") => {
                let mut bytes = self.site.read(&path);
                bytes.extend(b"changed at the destination\r\n");
                fs::write(self.site.path.join(&path), bytes).unwrap();
                self.site.set_time(&path, new_year);
            }
            Some(path) if before.contains("only the time of") => self.site.set_time(&path, new_year),
            Some(path) if before.contains("XOR 1") => {
                let mut bytes = self.site.read(&path);
                let at = if before.contains("third from the end") { bytes.len() - 3 } else { 0 };
                bytes[at] ^= 1;
                self.site.write_quietly(&path, &bytes);
            }
            Some(path) if before.contains("bytes it has in the package") => {
                self.site.write_quietly(&path, &packaged(&first.package, &path));
            }
            Some(path) if before.contains(" moved by ") => {
                let by: i64 =
                    before.split(" moved by ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
                let time = parse_time(&times[&path]);
                self.site.set_time(&path, time.checked_add_signed(by).unwrap());
            }
            Some(_) => panic!("nobody knows how to do this before: {before}"),
        }
    }
}

/// A file's bytes in a package, without any parameter.
fn packaged(package: &str, path: &str) -> Vec<u8> {
    let package = PackageReader::open(&samples().join(package)).unwrap();
    let end = format!("/{path}");
    let nth = package.entries().iter().position(|entry| entry.name.ends_with(&end)).unwrap();
    package.read_text(nth, 1 << 20).unwrap()
}

fn parse_time(text: &str) -> u64 {
    let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    // Days from 1970, by the civil calendar's own rule.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19)
}

/// Our changes in Web Deploy's words.
fn said(plan: &ApplyPlan) -> Vec<(String, String)> {
    let word = |action| match action {
        Action::Add => "Adding",
        Action::Update => "Updating",
        Action::Delete => "Deleting",
    };
    let object = |object| if object == Object::Directory { "directory" } else { "file" };
    let changes = plan.changes.iter();
    changes
        .map(|one| (format!("{} {}", word(one.action), object(one.object)), one.path.to_string()))
        .collect()
}

/// Those whose order the samples fix: that of names beyond ASCII is Windows' own.
fn in_fixed_order(changes: &[(String, String)]) -> Vec<&(String, String)> {
    changes.iter().filter(|(_, path)| path.is_ascii()).collect()
}

fn replay(name: &'static str, build: &'static str, own: bool) {
    let mut series = Series::new(name, build, own);
    let (syncs, times) = read(&series.text());
    assert!(syncs.len() > 7, "{name}: {} syncs", syncs.len());
    let mut first = None;
    for sync in &syncs {
        let at = format!("{name}{build}, {}", sync.name);
        let command = translate(&sync.arguments);
        let first = first.get_or_insert_with(|| translate(&sync.arguments));
        if !own && !command.sets.is_empty() {
            // Web Deploy's bytes are known for the first values only.
            continue;
        }
        series.prepare(sync, first, &times);
        let before = series.site.listing();
        let Some(plan) = series.run(&command) else {
            assert_eq!(sync.name, "all-providers-whatif-verbose", "{at}: refused");
            continue;
        };
        let theirs = match &sync.left {
            Left::Tree(tree) => tree.clone(),
            Left::Differs { came, since_before: false, .. } => {
                series.first.clone().into_iter().chain(came.clone()).collect()
            }
            _ => series.first.clone(),
        };
        let total = series.total(&sync.total, &plan, &theirs);
        assert_eq!(plan.counters.to_string(), total, "{at}: {:#?}", said(&plan));
        let (mut ours, mut theirs) = (said(&plan), sync.changes.clone());
        assert_eq!(in_fixed_order(&ours), in_fixed_order(&theirs), "{at}");
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{at}");
        compare(&mut series, sync, before, &at);
        if sync.name == "first" {
            let expected: BTreeMap<_, _> =
                times.iter().map(|(path, time)| (path.clone(), parse_time(time))).collect();
            assert_eq!(series.site.times(), expected, "{at}");
        }
    }
}

fn compare(series: &mut Series, sync: &Sync, before: Listing, at: &str) {
    let found = series.site.listing();
    let expected = match &sync.left {
        Left::Tree(tree) => {
            series.first.clone_from(tree);
            tree.clone()
        }
        Left::SameAsFirst => series.first.clone(),
        Left::Empty => Listing::new(),
        Left::Differs { went, came, since_before } => {
            let mut tree = if *since_before { before } else { series.first.clone() };
            for (path, what) in went {
                let is_ours = series.better.borrow().contains_key(path);
                let removed = tree.remove(path);
                assert!(removed.as_ref() == Some(what) || is_ours, "{at}");
            }
            tree.extend(came.clone());
            tree
        }
    };
    assert_eq!(found, series.with_ours(expected), "{at}");
}

macro_rules! golden {
    ($($test:ident: $name:literal $build:literal;)*) => {
        $(#[test]
        fn $test() {
            replay($name, $build, false);
            replay($name, $build, true);
        })*
    };
}

golden! {
    contentpath_as_7_1_1994: "contentpath" ".a";
    contentpath_as_7_1_7421: "contentpath" ".b";
    contentpath_auto_as_7_1_1994: "contentpath-auto" ".a";
    contentpath_auto_as_7_1_7421: "contentpath-auto" ".b";
    contentpath_v2: "contentpath-v2" ".a";
    dbfullsql_as_7_1_1994: "dbfullsql" ".a";
    dbfullsql_as_7_1_7421: "dbfullsql" ".b";
    dirpath_as_7_1_1994: "dirpath" ".a";
    dirpath_as_7_1_7421: "dirpath" ".b";
    filepath: "filepath" "";
    gallery_as_7_1_1994: "gallery" ".a";
    gallery_as_7_1_7421: "gallery" ".b";
    iisapp_as_7_1_1994: "iisapp" ".a";
    iisapp_as_7_1_7421: "iisapp" ".b";
    parameter_cases_as_7_1_1994: "parameter-cases" ".a";
    parameter_cases_as_7_1_7421: "parameter-cases" ".b";
    runcommand: "runcommand" "";
    sdk: "sdk" "";
    setacl_as_7_1_1994: "setacl" ".a";
    setacl_as_7_1_7421: "setacl" ".b";
}
