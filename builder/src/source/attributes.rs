//! Which files a repository hands to git-lfs: what its .gitattributes files say of `filter`. Pure.
//!
//! Read here and not by git's library, because they come from a commit, from what a merge would give, or from a working directory
//! alike.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Longer files are not looked at; git's own limit is far above.
pub(super) const LARGEST: u64 = 4 << 20;
/// Longer lines git does not look at either.
const LONGEST_LINE: usize = 2048;
/// Each rule costs memory and time for every file.
const MOST_RULES: usize = 10_000;

/// What the attributes of one repository say about `filter`.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    set: GlobSet,
    /// For each glob whether it hands over or takes back. Later ones win.
    hands_over: Vec<bool>,
}

/// One file with attributes: the folder that it is in, from the top of the repository, and its text.
pub(super) type AttributeFile = (String, Vec<u8>);

/// Too many rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// Whether a file may matter here. Most do not.
pub(super) fn may_matter(text: &[u8]) -> bool {
    text.windows(6).any(|part| part == b"filter")
}

impl Attributes {
    /// What these files say together; those in deeper folders win. `own` is what the repository's owner has said for all of
    /// it (`info/attributes`), which wins over all.
    pub(super) fn new(files: &[AttributeFile], own: Option<&[u8]>) -> Result<Self, TooMany> {
        let mut files: Vec<&AttributeFile> = files.iter().collect();
        files.sort_by_key(|(folder, _)| (depth(folder), folder.as_str()));
        let top = files.iter().find(|(folder, _)| folder.is_empty()).map(|(_, text)| text.as_slice());
        // Only these two may define macros.
        let macros = macros(top.into_iter().chain(own));
        let levels = files.iter().map(|(folder, text)| (folder.as_str(), text.as_slice()));
        let mut builder = GlobSetBuilder::new();
        let mut hands_over = Vec::new();
        for (folder, text) in levels.chain(own.map(|text| ("", text))) {
            for (pattern, words) in lines(text) {
                let filter = words.iter().filter_map(|word| filter_of(word, &macros)).next_back();
                let (Some(filter), Some(glob)) = (filter, glob_of(folder, &pattern)) else { continue };
                let glob = GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build();
                // What git would not understand matches nothing.
                let Ok(glob) = glob else { continue };
                builder.add(glob);
                hands_over.push(filter);
                if hands_over.len() > MOST_RULES {
                    return Err(TooMany);
                }
            }
        }
        let set = builder.build().map_err(|_| TooMany)?;
        Ok(Self { set, hands_over })
    }

    /// Whether any file may be handed over.
    pub(super) fn hand_over_some(&self) -> bool {
        self.hands_over.contains(&true)
    }

    /// Whether the file at this path, from the top of the repository, is handed to git-lfs.
    pub(super) fn hand_over(&self, path: &str) -> bool {
        self.set.matches(path).into_iter().max().is_some_and(|last| self.hands_over[last])
    }
}

fn depth(folder: &str) -> usize {
    if folder.is_empty() { 0 } else { folder.matches('/').count() + 1 }
}

/// What a word on a line does to `filter`: hands over to git-lfs, or does something else; `None` is nothing.
fn filter_of(word: &str, macros: &BTreeMap<String, bool>) -> Option<bool> {
    if let Some((name, value)) = word.split_once('=') {
        return (name == "filter").then_some(value == "lfs");
    }
    let name = word.trim_start_matches(['-', '!']);
    if name == "filter" {
        return Some(false);
    }
    // A macro that is taken back takes nothing else back.
    macros.get(word).copied()
}

/// The macros that say something of `filter`.
fn macros<'a>(texts: impl Iterator<Item = &'a [u8]>) -> BTreeMap<String, bool> {
    let mut macros = BTreeMap::new();
    for text in texts {
        for line in String::from_utf8_lossy(text).lines() {
            let Some(definition) = line.trim().strip_prefix("[attr]") else { continue };
            let mut words = definition.split_ascii_whitespace();
            let Some(name) = words.next() else { continue };
            if let Some(filter) = words.filter_map(|word| filter_of(word, &macros)).next_back() {
                macros.insert(name.to_owned(), filter);
            }
        }
    }
    macros
}

/// Patterns, and what is said of files that match them.
fn lines(text: &[u8]) -> Vec<(String, Vec<String>)> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{feff}');
    let read = |line: &str| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("[attr]") || line.len() > LONGEST_LINE
        {
            return None;
        }
        let (pattern, rest) = match line.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = line.find([' ', '\t']).unwrap_or(line.len());
                (line[..end].to_owned(), &line[end..])
            }
        };
        Some((pattern, rest.split_ascii_whitespace().map(str::to_owned).collect()))
    };
    text.lines().filter_map(read).collect()
}

/// A pattern in quotes, of which the first is gone, and what follows it.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut pattern = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((pattern, &quoted[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => pattern.push('\n'),
                't' => pattern.push('\t'),
                c => pattern.push(c),
            },
            c => pattern.push(c),
        }
    }
    None
}

/// The glob, from the top of the repository, of a pattern in a folder's file; `None` where it names no files.
fn glob_of(folder: &str, pattern: &str) -> Option<String> {
    if pattern.starts_with('!') || pattern.ends_with('/') {
        return None;
    }
    let above = if folder.is_empty() { String::new() } else { format!("{}/", globset::escape(folder)) };
    // Braces are plain in git's patterns.
    let plain = pattern.replace('{', "[{]").replace('}', "[}]");
    Some(match plain.strip_prefix('/') {
        Some(rooted) => format!("{above}{rooted}"),
        None if plain.contains('/') => format!("{above}{plain}"),
        None => format!("{above}**/{plain}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(files: &[(&str, &str)], own: Option<&str>) -> Attributes {
        let files: Vec<AttributeFile> =
            files.iter().map(|(folder, text)| ((*folder).to_owned(), text.as_bytes().to_vec())).collect();
        Attributes::new(&files, own.map(str::as_bytes)).unwrap()
    }

    fn handed<'a>(attributes: &Attributes, paths: &[&'a str]) -> Vec<&'a str> {
        paths.iter().copied().filter(|path| attributes.hand_over(path)).collect()
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        let text = "# large ones\n*.bin filter=lfs diff=lfs merge=lfs -text\n/top.dat filter=lfs\nsub/*.x filter=lfs\n\
                    deep/** filter=lfs\n\"with space.y\" filter=lfs\nfolder/ filter=lfs\n[ab]{c}.z\tfilter=lfs\n!no filter=lfs\n";
        let attributes = of(&[("", text)], None);
        let paths = [
            "a.bin",
            "x/a.bin",
            "a.bin.txt",
            "top.dat",
            "x/top.dat",
            "sub/a.x",
            "sub/b/a.x",
            "x/sub/a.x",
            "deep/a",
            "deep/b/c",
            "with space.y",
            "folder/a",
            "a{c}.z",
            "ac.z",
            "no",
            "!no",
            "A.BIN",
        ];
        let expected =
            ["a.bin", "x/a.bin", "top.dat", "sub/a.x", "deep/a", "deep/b/c", "with space.y", "a{c}.z"];
        assert_eq!(handed(&attributes, &paths), expected);
        assert!(attributes.hand_over_some());
        assert!(!of(&[("", "* text=auto\n*.bin -filter\n*.x filter=crypt\n")], None).hand_over_some());
    }

    #[test]
    fn the_last_and_the_deepest_word_counts() {
        let files = [
            ("a/b", "keep.bin filter=lfs\n"),
            ("", "*.bin filter=lfs\nsmall.bin !filter\nother.bin filter=crypt\nunset.bin -filter\n"),
            ("a", "*.bin -filter\n"),
            ("a-b", "*.txt filter=lfs\n"),
        ];
        let paths = [
            "x.bin",
            "small.bin",
            "other.bin",
            "unset.bin",
            "a/x.bin",
            "a/b/x.bin",
            "a/b/keep.bin",
            "a-b/x.txt",
            "x.txt",
            "a/x.txt",
        ];
        let expected = ["x.bin", "a/b/keep.bin", "a-b/x.txt"];
        assert_eq!(handed(&of(&files, None), &paths), expected);
        assert_eq!(handed(&of(&files, Some("* -filter")), &paths), Vec::<&str>::new());
    }

    #[test]
    fn macros_stand_for_what_they_are_defined_as() {
        let files = [
            ("", "[attr]large filter=lfs -text\n[attr]huge large\n*.a large\n*.b huge\n*.c -large\n"),
            ("x", "[attr]mine filter=lfs\n*.d mine\n"),
        ];
        assert_eq!(handed(&of(&files, None), &["1.a", "1.b", "1.c", "x/1.d"]), ["1.a", "1.b"]);
    }

    #[test]
    fn too_many_rules_are_refused() {
        let text = "*.bin filter=lfs\n".repeat(MOST_RULES + 1);
        assert!(Attributes::new(&[(String::new(), text.into_bytes())], None).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_makes_it_panic(text in "[]a-c*?\\[{},!\"\\\\/ #\t=\n-]{0,60}", path in "[a-c]{1,3}(/[a-c]{1,3}){0,2}") {
            let text = format!("{text}\n{text} filter=lfs\n");
            let made = Attributes::new(&[("x".to_owned(), text.clone().into_bytes())], Some(text.as_bytes()));
            prop_assert!(made.is_ok());
            made.unwrap().hand_over(&path);
        }
    }
}
