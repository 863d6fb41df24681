//! Lists by indentation, as yarn writes its lock files: `key value`, `key: value`, and `key:` with more below.

use super::Unreadable;

/// Deeper than any lock file; what is deeper is hostile.
const DEEPEST: usize = 32;

/// A line with what is indented below it.
#[derive(Debug)]
pub(super) struct Node {
    /// Counted from 1.
    pub(super) line: usize,
    /// Without quotes; several with commas between them stay one text.
    pub(super) key: String,
    pub(super) value: String,
    pub(super) below: Vec<Node>,
}

impl Node {
    pub(super) fn child(&self, key: &str) -> Option<&Self> {
        self.below.iter().find(|node| node.key == key)
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.child(key).map_or("", |node| node.value.as_str())
    }
}

pub(super) fn read(text: &str) -> Result<Vec<Node>, Unreadable> {
    // The open nodes, each with its indentation; the first holds them all.
    let mut open: Vec<(usize, Node)> = vec![(0, node(0, String::new(), String::new()))];
    for (place, line) in text.lines().enumerate() {
        let content = line.trim_start_matches(' ');
        if content.trim_end().is_empty() || content.starts_with('#') {
            continue;
        }
        let (number, indent) = (place + 1, line.len() - content.len() + 1);
        while open.len() > 1 && open.last().is_some_and(|(of, _)| *of >= indent) {
            close(&mut open);
        }
        if open.len() > DEEPEST {
            return Err(Unreadable::at(number, "it is nested too deeply"));
        }
        let (key, value) = parts(content.trim_end())
            .ok_or_else(|| Unreadable::at(number, "neither `key value` nor `key:`"))?;
        open.push((indent, node(number, key, value)));
    }
    while open.len() > 1 {
        close(&mut open);
    }
    Ok(open.pop().map(|(_, all)| all.below).unwrap_or_default())
}

fn node(line: usize, key: String, value: String) -> Node {
    Node { line, key, value, below: Vec::new() }
}

fn close(open: &mut Vec<(usize, Node)>) {
    if let Some((_, done)) = open.pop()
        && let Some((_, above)) = open.last_mut()
    {
        above.below.push(done);
    }
}

/// Key and value of a line.
fn parts(text: &str) -> Option<(String, String)> {
    if let Some(key) = text.strip_suffix(':') {
        return Some((key.replace('"', ""), String::new()));
    }
    let (key, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => text.split_once([' ', ':'])?,
    };
    let value = rest.trim_start_matches(':').trim();
    Some((key.to_owned(), value.trim_matches('"').to_owned()))
}
