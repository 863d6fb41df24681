//! The file's JSON Schema, made from the very tables that the parser reads by.
//!
//! Draft 7, which editors of TOML understand. A schema knows keys, kinds of values and what a text looks like; that a name means
//! something, and that nothing goes in circles, only the parser knows. So the schema is never stricter than the parser.

use serde_json::{Map, Value, json};

use super::{
    KEYS,
    keys::{Key, Keys, REQUIRED, Shape, TextKind},
};

/// The JSON Schema of a `runner.toml`, as text that ends with a newline. Editors complete keys from it and show their meaning.
pub fn schema() -> String {
    let mut schema = table(&KEYS);
    let about = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "runner.toml",
        "description": "A project's pipeline: the steps that a commit goes through, the package, and where it is released.",
    });
    if let (Value::Object(schema), Value::Object(about)) = (&mut schema, about) {
        schema.extend(about);
    }
    format!("{schema:#}\n")
}

fn table(keys: &Keys) -> Value {
    let mut table = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties(keys),
    });
    let required: Vec<_> =
        keys.known.iter().filter(|key| key.default == REQUIRED).map(|key| key.name).collect();
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn properties(keys: &Keys) -> Value {
    Value::Object(keys.known.iter().map(|key| (key.name.to_owned(), property(key))).collect())
}

fn property(key: &Key) -> Value {
    let mut property = shape(&key.shape);
    let default = match key.default {
        REQUIRED => "Required.".to_owned(),
        default => format!("Without it: {default}."),
    };
    property["description"] = json!(format!("{} {default}", key.meaning));
    property
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Text(kind) => text(kind),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Truth => json!({ "type": "boolean" }),
        Shape::Whole { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Number { least, most } => json!({ "type": "number", "minimum": least, "maximum": most }),
        Shape::List { of, filled } => {
            with_least(json!({ "type": "array", "items": self::shape(of) }), "minItems", *filled)
        }
        Shape::Named { names, of, filled, most } => {
            let mut named = json!({
                "type": "object",
                "propertyNames": text(names),
                "additionalProperties": self::shape(of),
            });
            if let Some(most) = most {
                named["maxProperties"] = json!(most);
            }
            with_least(named, "minProperties", *filled)
        }
        Shape::NamedBut { names, of, own } => json!({
            "type": "object",
            "propertyNames": text(names),
            "properties": properties(own),
            "additionalProperties": self::shape(of),
        }),
        Shape::Table(keys) => table(keys),
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(self::shape).collect::<Vec<_>>() }),
    }
}

fn with_least(mut value: Value, key: &str, filled: bool) -> Value {
    if filled {
        value[key] = json!(1);
    }
    value
}

fn text(kind: &TextKind) -> Value {
    let mut text = Map::from_iter([
        ("type".to_owned(), json!("string")),
        // What an editor says a value should have been.
        ("title".to_owned(), json!(kind.what)),
    ]);
    if let Some(pattern) = kind.pattern {
        text.insert("pattern".to_owned(), json!(pattern));
    }
    Value::Object(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The path of every key of a table, and of what is below.
    fn known(keys: &Keys, path: &str, found: &mut BTreeSet<String>) {
        for key in keys.known {
            let path = format!("{path}/{}", key.name);
            below(&key.shape, &path, found);
            found.insert(path);
        }
    }

    fn below(shape: &Shape, path: &str, found: &mut BTreeSet<String>) {
        match shape {
            Shape::Table(keys) => known(keys, path, found),
            Shape::Named { of, .. } => below(of, &format!("{path}/*"), found),
            Shape::NamedBut { own, .. } => known(own, path, found),
            Shape::List { of, .. } => below(of, path, found),
            Shape::Either(shapes) => shapes.iter().for_each(|shape| below(shape, path, found)),
            Shape::Text(_) | Shape::Word(_) | Shape::Truth | Shape::Whole { .. } | Shape::Number { .. } => {}
        }
    }

    fn told(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}/{name}");
            told(property, &path, found);
            found.insert(path);
        }
        if schema["additionalProperties"].is_object() {
            told(&schema["additionalProperties"], &format!("{path}/*"), found);
        }
        told_each(schema["anyOf"].as_array(), path, found);
        if schema["items"].is_object() {
            told(&schema["items"], path, found);
        }
    }

    fn told_each(schemas: Option<&Vec<Value>>, path: &str, found: &mut BTreeSet<String>) {
        schemas.into_iter().flatten().for_each(|schema| told(schema, path, found));
    }

    #[test]
    fn the_schema_tells_every_key_that_the_parser_knows_and_no_other() {
        let (mut parser, mut schema_keys) = (BTreeSet::new(), BTreeSet::new());
        known(&KEYS, "", &mut parser);
        told(&serde_json::from_str(&schema()).unwrap(), "", &mut schema_keys);
        assert_eq!(parser, schema_keys);
        for path in [
            "/steps/*/retry/attempts",
            "/services/*/ready/port",
            "/steps/*/matrix/exclude",
            "/on/schedule/cron",
        ] {
            assert!(parser.contains(path), "{path}");
        }
    }

    #[test]
    fn every_key_has_a_meaning() {
        fn check(schema: &Value) {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let description = property["description"].as_str().unwrap();
                assert!(description.len() > 10 && description.ends_with('.'), "{name}: {description}");
                check(property);
            }
        }
        check(&serde_json::from_str(&schema()).unwrap());
    }
}
