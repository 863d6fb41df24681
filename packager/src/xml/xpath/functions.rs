//! The function library of XPath 1.0 (section 4).

use std::ops::RangeInclusive;

use xpath_eval::FunctionCall;

use crate::xml::{
    Node,
    xpath::{
        Outcome,
        eval::{Context, Evaluation, Stop},
        value::Value,
    },
};

/// How many arguments a function takes; `None` where there is no such function.
pub(super) fn arguments(name: &str) -> Option<RangeInclusive<usize>> {
    Some(match name {
        "last" | "position" | "true" | "false" => 0..=0,
        "local-name" | "namespace-uri" | "name" | "string" | "string-length" | "normalize-space"
        | "number" => 0..=1,
        "count" | "id" | "boolean" | "not" | "lang" | "sum" | "floor" | "ceiling" | "round" => 1..=1,
        "starts-with" | "contains" | "substring-before" | "substring-after" => 2..=2,
        "concat" => 2..=usize::MAX,
        "substring" => 2..=3,
        "translate" => 3..=3,
        _ => return None,
    })
}

/// Calls a function. Its name and the number of its arguments were checked when the expression was parsed.
pub(super) fn call<'d, 't>(
    at: &Evaluation<'_>,
    call: &FunctionCall,
    context: Context<'d, 't>,
) -> Result<Value<'d, 't>, Stop> {
    let text = |number: usize| match call.args.get(number) {
        Some(argument) => at.text(argument, context),
        None => at.text_of(context.node),
    };
    let number = |argument: usize| at.number(&call.args[argument], context);
    let truth = |argument: usize| Ok::<bool, Stop>(at.value(&call.args[argument], context)?.truth());
    let nodes = |what| at.nodes(&call.args[0], context, what);
    let named = || match call.args.first() {
        Some(_) => Ok(nodes("the argument of a function about names")?.first().copied()),
        None => Ok::<_, Stop>(Some(context.node)),
    };
    Ok(match call.name.local.as_str() {
        "last" => Outcome::Number(context.size as f64),
        "position" => Outcome::Number(context.position as f64),
        "true" => Outcome::Boolean(true),
        "false" => Outcome::Boolean(false),
        "boolean" => Outcome::Boolean(truth(0)?),
        "not" => Outcome::Boolean(!truth(0)?),
        "count" => Outcome::Number(nodes("the argument of `count`")?.len() as f64),
        "sum" => {
            let mut sum = 0.0;
            for node in nodes("the argument of `sum`")? {
                sum += Outcome::Text(at.text_of(node)?).number();
            }
            Outcome::Number(sum)
        }
        // Without a document type's declarations no attribute is an ID.
        "id" => Outcome::Nodes(Vec::new()),
        "lang" => Outcome::Boolean(speaks(context.node, &text(0)?)),
        "local-name" => Outcome::Text(part_of_name(named()?, |name| name.1.to_owned())),
        "namespace-uri" => {
            Outcome::Text(part_of_name(named()?, |name| name.0.unwrap_or_default().to_owned()))
        }
        "name" => Outcome::Text(named()?.map(Node::written_name).unwrap_or_default()),
        "string" => Outcome::Text(text(0)?),
        "string-length" => Outcome::Number(text(0)?.chars().count() as f64),
        "normalize-space" => Outcome::Text(text(0)?.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
        "number" => Outcome::Number(Outcome::Text(text(0)?).number()),
        "floor" => Outcome::Number(number(0)?.floor()),
        "ceiling" => Outcome::Number(number(0)?.ceil()),
        "round" => Outcome::Number(round(number(0)?)),
        "starts-with" => Outcome::Boolean(text(0)?.starts_with(&text(1)?)),
        "contains" => Outcome::Boolean(text(0)?.contains(&text(1)?)),
        "substring-before" => Outcome::Text(
            text(0)?.split_once(&text(1)?).map(|(before, _)| before.to_owned()).unwrap_or_default(),
        ),
        "substring-after" => Outcome::Text(
            text(0)?.split_once(&text(1)?).map(|(_, after)| after.to_owned()).unwrap_or_default(),
        ),
        "substring" => {
            let end = if call.args.len() > 2 { Some(number(2)?) } else { None };
            Outcome::Text(substring(&text(0)?, number(1)?, end))
        }
        "translate" => {
            let (text, from, to) = (text(0)?, text(1)?, text(2)?);
            at.budget.spend(1 + (text.len() as u64).saturating_mul(from.len() as u64) / 64)?;
            Outcome::Text(translate(&text, &from, &to))
        }
        // `concat`, the only one left.
        _ => {
            let mut joined = String::new();
            for argument in 0..call.args.len() {
                joined.push_str(&text(argument)?);
                at.budget.spend(1 + joined.len() as u64 / 64)?;
            }
            Outcome::Text(joined)
        }
    })
}

fn part_of_name(node: Option<Node<'_, '_>>, part: fn((Option<&str>, &str)) -> String) -> String {
    node.and_then(Node::expanded_name).map(part).unwrap_or_default()
}

/// Towards the larger one where two whole numbers are as near.
fn round(number: f64) -> f64 {
    (number + 0.5).floor()
}

/// The characters from position `start` on, `length` of them; both are rounded, as the specification has it.
fn substring(text: &str, start: f64, length: Option<f64>) -> String {
    let first = round(start);
    let end = length.map(|length| first + round(length));
    let keeps = |position: f64| position >= first && end.is_none_or(|end| position < end);
    text.chars()
        .enumerate()
        .filter(|(index, _)| keeps((index + 1) as f64))
        .map(|(_, character)| character)
        .collect()
}

fn translate(text: &str, from: &str, to: &str) -> String {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let turned = |character: char| match from.iter().position(|known| *known == character) {
        Some(place) => to.get(place).copied(),
        None => Some(character),
    };
    text.chars().filter_map(turned).collect()
}

/// Whether the nearest `xml:lang` names the language, or a dialect of it.
fn speaks(node: Node<'_, '_>, language: &str) -> bool {
    let lang = std::iter::successors(Some(node), |node| node.parent())
        .filter_map(Node::element)
        .find_map(|element| element.attribute(("http://www.w3.org/XML/1998/namespace", "lang")));
    lang.is_some_and(|lang| {
        let lang = lang.to_ascii_lowercase();
        let language = language.to_ascii_lowercase();
        lang.strip_prefix(&language).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}
