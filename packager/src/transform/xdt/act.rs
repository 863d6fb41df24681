//! What the transforms do.

use roxmltree::Node as Tree;

use crate::{
    transform::xdt::{
        NAMESPACE,
        call::Call,
        elements,
        fault::Fault,
        locate::{Scope, namespaces},
        tokens,
    },
    xml::{Document, Edits, Fragment, Node, StartTag, XPath},
};

/// What a transform comes to on a document.
pub(super) struct Act<'d, 't> {
    pub(super) edits: Edits<'d, 't>,
    pub(super) path: String,
    pub(super) changed: usize,
    pub(super) note: Option<String>,
}

/// Plans a transform on a document.
pub(super) fn act<'d, 't>(
    document: &'d Document<'t>,
    element: Tree<'_, '_>,
    scope: &Scope,
    call: &Call,
) -> Result<Act<'d, 't>, Fault> {
    let mut act = Act { edits: Edits::new(document), path: scope.path.clone(), changed: 1, note: None };
    let new = || Fragment::of(element, Some(NAMESPACE));
    match call.name.as_str() {
        "Replace" => {
            call.takes_nothing()?;
            let target = first(&scope.targets(document, element)?, &mut act.note);
            act.edits.replace(target, &new())?;
        }
        "Remove" => {
            call.takes_nothing()?;
            let target = first(&scope.targets(document, element)?, &mut act.note);
            act.edits.remove(Node::Tree(target))?;
        }
        "RemoveAll" => {
            call.takes_nothing()?;
            let targets = scope.targets(document, element)?;
            act.changed = targets.len();
            targets.into_iter().try_for_each(|target| act.edits.remove(Node::Tree(target)))?;
        }
        "Insert" => {
            call.takes_nothing()?;
            let parent = first(&scope.target_parents(document, element)?, &mut act.note);
            act.edits.insert_last(parent, &new())?;
        }
        "InsertIfMissing" => {
            call.takes_nothing()?;
            let parent = first(&scope.target_parents(document, element)?, &mut act.note);
            if scope.present(document, element)?.is_empty() {
                act.edits.insert_last(parent, &new())?;
            } else {
                act.changed = 0;
                act.note = Some("it is there already".to_owned());
            }
        }
        "InsertBefore" => {
            let sibling = sibling(document, element, scope, call)?;
            act.edits.insert_before(sibling, &new())?;
        }
        "InsertAfter" => {
            let sibling = sibling(document, element, scope, call)?;
            act.edits.insert_after(sibling, &new())?;
        }
        "SetAttributes" => set_attributes(&mut act, document, element, scope, call, false)?,
        "SetTokenizedAttributes" => set_attributes(&mut act, document, element, scope, call, true)?,
        "RemoveAttributes" => remove_attributes(&mut act, document, element, scope, call)?,
        // `CommentOut`, the only one left.
        _ => {
            call.takes_nothing()?;
            let target = first(&scope.targets(document, element)?, &mut act.note);
            act.edits.comment_out(target)?;
        }
    }
    Ok(act)
}

/// The first one; Microsoft's library leaves the others alone as well.
fn first<'d, 't>(found: &[Tree<'d, 't>], note: &mut Option<String>) -> Tree<'d, 't> {
    if found.len() > 1 {
        *note = Some(format!("{} elements match, and it is applied to the first only", found.len()));
    }
    found[0]
}

/// The element of the target that an expression selects, starting from the parent.
fn sibling<'d, 't>(
    document: &'d Document<'t>,
    element: Tree<'_, '_>,
    scope: &Scope,
    call: &Call,
) -> Result<Tree<'d, 't>, Fault> {
    let expression = call.expression()?;
    let parent = first(&scope.target_parents(document, element)?, &mut None);
    let found = document.select_from(Node::Tree(parent), &XPath::parse(expression)?, &namespaces(element))?;
    let path = if expression.starts_with('/') {
        expression.to_owned()
    } else {
        format!("{}/{expression}", scope.parents)
    };
    let first = found.into_iter().next().ok_or(Fault::NoMatch { path, lost: None })?;
    Ok(elements(&[first])?[0])
}

fn set_attributes<'d, 't>(
    act: &mut Act<'d, 't>,
    document: &'d Document<'t>,
    element: Tree<'_, '_>,
    scope: &Scope,
    call: &Call,
    tokenized: bool,
) -> Result<(), Fault> {
    let chosen = chosen(element, call)?;
    let targets = scope.targets(document, element)?;
    act.changed = targets.len();
    for target in targets {
        for (name, attribute) in &chosen {
            let value = match tokenized {
                true => tokens::known_values(attribute.value(), name, target, element)?,
                false => attribute.value().to_owned(),
            };
            let name = name_in_target(act, target, name, *attribute)?;
            act.edits.set_attribute(target, &name, &value)?;
        }
    }
    Ok(())
}

/// The attributes of the transform's element that shall be set, by their written names.
fn chosen<'a, 't>(
    element: Tree<'a, 't>,
    call: &Call,
) -> Result<Vec<(String, roxmltree::Attribute<'a, 't>)>, Fault> {
    let tag = StartTag::of(element);
    let own = element.attributes().filter(|attribute| attribute.namespace() != Some(NAMESPACE));
    let all = own.filter_map(|attribute| {
        let at = attribute.range().start;
        let written = tag.attributes().find(|raw| raw.name_range().start == at)?;
        Some((written.name().to_owned(), attribute))
    });
    let all = all.collect::<Vec<_>>();
    let names = call.list();
    if names.is_empty() || names.contains(&"*") {
        return if all.is_empty() { Err(Fault::NoAttributes) } else { Ok(all) };
    }
    let one = |name: &&str| {
        let found = all.iter().find(|(written, _)| written == name).cloned();
        found.ok_or_else(|| Fault::NoSuchAttribute { call: call.name.clone(), name: (*name).to_owned() })
    };
    names.iter().map(one).collect()
}

/// The name of an attribute as the target writes it: with the prefix that its namespace has there.
fn name_in_target(
    act: &mut Act<'_, '_>,
    target: Tree<'_, '_>,
    written: &str,
    attribute: roxmltree::Attribute<'_, '_>,
) -> Result<String, Fault> {
    let Some((prefix, uri)) = written.split_once(':').map(|(prefix, _)| prefix).zip(attribute.namespace())
    else {
        return Ok(written.to_owned());
    };
    if prefix == "xml" || target.lookup_namespace_uri(Some(prefix)) == Some(uri) {
        return Ok(written.to_owned());
    }
    if let Some(known) = target.lookup_prefix(uri) {
        return Ok(format!("{known}:{}", attribute.name()));
    }
    act.edits.set_attribute(target, &format!("xmlns:{prefix}"), uri)?;
    Ok(written.to_owned())
}

fn remove_attributes<'d, 't>(
    act: &mut Act<'d, 't>,
    document: &'d Document<'t>,
    element: Tree<'_, '_>,
    scope: &Scope,
    call: &Call,
) -> Result<(), Fault> {
    let targets = scope.targets(document, element)?;
    let names = call.list();
    let all = names.is_empty() || names.contains(&"*");
    let (mut changed, mut missing) = (0, Vec::new());
    for target in targets {
        let tag = StartTag::of(target);
        let there =
            tag.attributes().filter(|attribute| !attribute.declares_namespace()).map(|there| there.name());
        let gone: Vec<&str> = there.filter(|name| all || names.contains(name)).collect();
        missing.extend(names.iter().filter(|name| !all && !gone.contains(name)).copied());
        gone.iter().for_each(|name| act.edits.remove_attribute(target, name));
        changed += usize::from(!gone.is_empty());
    }
    act.changed = changed;
    if !missing.is_empty() {
        missing.sort_unstable();
        missing.dedup();
        act.note = Some(format!("already without {}", missing.join(", ")));
    }
    Ok(())
}
