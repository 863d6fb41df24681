//! Whether answers are what the API's description says. Every answer that a test gets goes through here.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::Value;
use staith_server::api::{
    calls::{CALLS, Call, Gives},
    shapes,
};

/// The call of a request.
pub fn call(method: &str, path: &str) -> Option<&'static Call> {
    let path = path.split('?').next().unwrap_or_default();
    let is_it = |pattern: &str| {
        let (wanted, there): (Vec<&str>, Vec<&str>) =
            (pattern.split('/').collect(), path.split('/').collect());
        wanted.len() == there.len()
            && wanted.iter().zip(there).all(|(part, is)| part.starts_with('{') || *part == is)
    };
    // `rotate` is a secret's name as well as a word: a path that has the words goes before one with a name there.
    let mut found: Vec<&Call> =
        CALLS.iter().filter(|call| call.method == method && is_it(call.path)).collect();
    found.sort_by_key(|call| call.path.matches('{').count());
    found.first().copied()
}

/// What of a success is otherwise than described.
pub fn otherwise(method: &str, path: &str, status: u16, body: &[u8]) -> Option<String> {
    let call = call(method, path).filter(|_| (200..300).contains(&status))?;
    let wrong =
        |why: String| Some(format!("{method} {} is described in api/calls.rs otherwise: {why}", call.path));
    if status != call.gives.0 && !call.also.contains(&status) {
        return wrong(format!("it answers with {status}"));
    }
    match call.gives.1 {
        _ if status == 204 => (!body.is_empty()).then(|| "a 204 has a body".to_owned()),
        Gives::Bytes(_) => None,
        Gives::Nothing => (!body.is_empty()).then(|| wrong("it has a body".to_owned())).flatten(),
        Gives::Shape(shape) => {
            let Ok(value) = serde_json::from_slice::<Value>(body) else {
                return wrong("it is no JSON".to_owned());
            };
            let schema = shapes::schema(&shapes::examples(shape).unwrap());
            let mut misfits = Vec::new();
            fits(&schema, &value, shape, &mut misfits);
            (!misfits.is_empty()).then(|| wrong(format!("{misfits:#?} in {value}"))).flatten()
        }
    }
}

/// The same, where it is not known by which method it was asked.
pub fn otherwise_by_all(path: &str, status: u16, body: &[u8]) -> Option<String> {
    let known =
        ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(|method| call(method, path).is_some());
    let wrongs: Vec<Option<String>> = known.map(|method| otherwise(method, path, status, body)).collect();
    if wrongs.iter().any(Option::is_none) { None } else { wrongs.into_iter().flatten().next() }
}

/// What of a value the schema does not have, or has otherwise.
fn fits(schema: &Value, value: &Value, place: &str, misfits: &mut Vec<String>) {
    let Some(kind) = schema["type"].as_str() else { return };
    let is_it = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        _ => false,
    };
    if !is_it {
        return misfits.push(format!("{place} is no {kind}"));
    }
    for item in value.as_array().into_iter().flatten() {
        fits(&schema["items"], item, &format!("{place}[]"), misfits);
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{key}");
        match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(known), _) | (None, Some(known)) if !inner.is_null() => fits(known, inner, &place, misfits),
            (None, None) if schema.get("properties").is_some() => {
                misfits.push(format!("{place} is not described"))
            }
            _ => {}
        }
    }
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(key).is_none() {
            misfits.push(format!("{place}.{key} is missing"));
        }
    }
}

#[test]
fn what_is_otherwise_is_found() {
    let wrong =
        |method: &str, path: &str, status, body: &str| otherwise(method, path, status, body.as_bytes());
    let arrived = r#"{"arrivals":["a"]}"#;
    assert_eq!(wrong("POST", "/api/v1/projects/shop/runs", 202, arrived), None);
    for (status, body) in
        [(200, arrived), (202, "{}"), (202, r#"{"arrivals":[1]}"#), (202, r#"{"arrivals":[],"more":1}"#)]
    {
        assert!(wrong("POST", "/api/v1/projects/shop/runs", status, body).is_some(), "{status} {body}");
    }
    assert_eq!(wrong("DELETE", "/api/v1/projects/shop", 204, ""), None);
    assert!(wrong("DELETE", "/api/v1/projects/shop", 200, "").is_some());
    assert_eq!(wrong("POST", "/api/v1/projects/shop/runs", 403, "no"), None, "only successes are looked at");
}
