//! `pom.xml`, as far as it names versions itself.

use std::collections::BTreeMap;

use roxmltree::{Document, Node, ParsingOptions};
use staith_model::RelPath;

use super::{Found, Pin, Read, Unreadable};
use crate::seal::sbom::{
    component::Scope,
    purl::{Ecosystem, Purl},
};

/// A property may name another; more steps than this are a circle.
const STEPS: usize = 16;

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let options = ParsingOptions { nodes_limit: 1_000_000, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options)
        .map_err(|bad| Unreadable::at(bad.pos().row as usize, bad.to_string()))?;
    let project = document.root_element();
    if project.tag_name().name() != "project" {
        return Err(Unreadable::at(1, "its root is not `project`"));
    }
    let properties = properties(project);
    let managed: BTreeMap<String, String> = child(project, "dependencyManagement")
        .and_then(|node| child(node, "dependencies"))
        .into_iter()
        .flat_map(|node| node.children())
        .filter_map(|node| Some((key(node, &properties)?, filled(text_of(node, "version")?, &properties)?)))
        .collect();
    let mut found = Found::default();
    let declared = child(project, "dependencies");
    for node in declared.iter().flat_map(|node| node.children()).filter(|node| node.is_element()) {
        let line = document.text_pos_at(node.range().start).row as usize;
        let Some(name) = key(node, &properties) else {
            return Err(Unreadable::at(line, "a dependency without `groupId` or `artifactId`"));
        };
        let own = text_of(node, "version").and_then(|version| filled(version, &properties));
        let version = own.or_else(|| managed.get(&name).cloned());
        match version.filter(|version| !version.contains(['[', '(', ',']) && !version.is_empty()) {
            Some(version) => found.pins.push(pin(node, &name, &version)),
            None => found
                .unpinned
                .push((Some(line), format!("`{}` has no fixed version here", name.replace('/', ":")))),
        }
    }
    Ok(found)
}

fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|node| node.tag_name().name() == name)
}

fn text_of<'a>(node: Node<'a, 'a>, name: &str) -> Option<&'a str> {
    child(node, name)?.text().map(str::trim)
}

fn properties(project: Node<'_, '_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for node in child_nodes(project, "properties") {
        all.insert(node.tag_name().name().to_owned(), node.text().unwrap_or_default().trim().to_owned());
    }
    let parent = child_nodes(project, "parent");
    for node in parent.into_iter().chain(project.children().filter(|node| node.is_element())) {
        if matches!(node.tag_name().name(), "version" | "groupId") {
            let value = node.text().unwrap_or_default().trim().to_owned();
            all.insert(format!("project.{}", node.tag_name().name()), value);
        }
    }
    all
}

fn child_nodes<'a>(node: Node<'a, 'a>, name: &str) -> Vec<Node<'a, 'a>> {
    let inside = node.children().find(|node| node.tag_name().name() == name);
    inside.into_iter().flat_map(|node| node.children()).filter(Node::is_element).collect()
}

/// A text with its properties filled in; none if one is unknown, or leads in a circle.
fn filled(text: &str, properties: &BTreeMap<String, String>) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..STEPS {
        let Some(start) = text.find("${") else { return Some(text) };
        let end = start + text[start..].find('}')?;
        let value = properties.get(&text[start + 2..end])?;
        if value.len() > 1000 {
            return None;
        }
        text.replace_range(start..=end, value);
    }
    None
}

/// Group and artifact with a slash between them.
fn key<'a>(node: Node<'a, 'a>, properties: &BTreeMap<String, String>) -> Option<String> {
    let part =
        |name| text_of(node, name).and_then(|text| filled(text, properties)).filter(|text| !text.is_empty());
    Some(format!("{}/{}", part("groupId")?, part("artifactId")?))
}

fn pin<'a>(node: Node<'a, 'a>, name: &str, version: &str) -> Pin {
    let qualifier = |name| text_of(node, name).unwrap_or_default();
    let kind = if qualifier("type") == "jar" { "" } else { qualifier("type") };
    let purl = Purl::new(Ecosystem::Maven, name, version);
    let mut pin = Pin::new(purl.with("classifier", qualifier("classifier")).with("type", kind));
    pin.is_direct = Some(true);
    pin.scope = match (qualifier("scope"), qualifier("optional")) {
        ("test", _) => Scope::Development,
        ("provided", _) | (_, "true") => Scope::Optional,
        _ => Scope::Required,
    };
    pin
}
