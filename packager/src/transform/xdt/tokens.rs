//! `$(attribute)` in values of `SetTokenizedAttributes`.

use roxmltree::Node as Tree;

use crate::transform::xdt::fault::Fault;

/// A value in which `$(name)` stands for the target's attribute of that name, or else for the transform's own; what is neither
/// stays as it is.
pub(super) fn known_values(
    value: &str,
    current: &str,
    target: Tree<'_, '_>,
    element: Tree<'_, '_>,
) -> Result<String, Fault> {
    if value.contains("{%") {
        return Err(Fault::Directive(current.to_owned()));
    }
    let mut known = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find("$(") {
        known.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find(')').filter(|end| *end > 0 && inner[..*end].chars().all(is_name));
        let found = end.and_then(|end| {
            let name = &inner[..end];
            // An attribute can't stand for itself in the transform, where it holds this very value.
            let own = || element.attribute(name).filter(|_| !name.eq_ignore_ascii_case(current));
            target.attribute(name).or_else(own).map(|found| (found, end))
        });
        match found {
            Some((found, end)) => {
                known.push_str(found);
                rest = &inner[end + 1..];
            }
            None => {
                known.push_str("$(");
                rest = inner;
            }
        }
    }
    known.push_str(rest);
    Ok(known)
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | ':' | '.')
}
