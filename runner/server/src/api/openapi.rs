//! The description of the API, made from the table of its calls.

use serde_json::{Map, Value, json};
use staith_model::service::ProblemDetails;

use super::{
    Answer, Permission,
    calls::{About, CALLS, Call, Gate, Gives, Kind, Query},
    shapes,
};

pub(super) async fn answer() -> Answer<Value> {
    Answer(document())
}

/// The description, as OpenAPI 3.1 has it.
pub fn document() -> Value {
    let mut paths = Map::new();
    for call in CALLS {
        let path = paths.entry(call.path).or_insert_with(|| json!({}));
        path[call.method.to_lowercase()] = operation(call);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Staith", "version": "1", "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" } },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Problem": {
                    "description": "It can't be done: RFC 9457, with `remedy` for people and `type` for programs.",
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        },
    })
}

fn schemas() -> Map<String, Value> {
    let used = CALLS.iter().flat_map(|call| call.takes.into_iter().chain(call.shape()));
    let mut schemas: Map<String, Value> = used
        .filter_map(|shape| Some((shape.to_owned(), shapes::schema(&shapes::examples(shape)?))))
        .collect();
    let problem = ProblemDetails {
        kind: "stale-fence".to_owned(),
        title: String::new(),
        status: 409,
        detail: Some(String::new()),
        remedy: Some(String::new()),
        next: Some(1),
    };
    let least = ProblemDetails { detail: None, remedy: None, next: None, ..problem.clone() };
    let both: Vec<Value> = [problem, least].iter().filter_map(|one| serde_json::to_value(one).ok()).collect();
    schemas.insert("Problem".to_owned(), shapes::schema(&both));
    schemas
}

fn operation(call: &Call) -> Value {
    let mut operation = json!({
        "summary": call.says,
        "description": who(call),
        "responses": responses(call),
    });
    if let Some(shape) = call.takes {
        operation["requestBody"] = json!({ "required": true, "content": content(shape) });
    }
    let parameters = parameters(call);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if !matches!(call.gate, Gate::Everybody | Gate::Proof) {
        operation["security"] = json!([{ "token": [] }]);
    }
    operation
}

fn responses(call: &Call) -> Value {
    let mut all = Map::new();
    for status in std::iter::once(call.gives.0).chain(call.also.iter().copied()) {
        let description = if status == 204 { "It is so." } else { "As described." };
        let mut success = json!({ "description": description });
        match call.gives.1 {
            _ if status == 204 => {}
            Gives::Nothing => {}
            Gives::Shape(shape) => success["content"] = content(shape),
            Gives::Bytes(kind) => {
                success["content"] = json!({ kind: { "schema": { "type": "string", "format": "binary" } } });
            }
        }
        all.insert(status.to_string(), success);
    }
    all.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
    all.into()
}

fn content(shape: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{shape}") } } })
}

fn parameters(call: &Call) -> Vec<Value> {
    let named = call.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let mut all: Vec<Value> = named
        .map(|name| json!({ "name": name.trim_start_matches('*'), "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    all.extend(call.queries.iter().map(query));
    if call.method == "POST" && matches!(call.gate, Gate::Person(_)) {
        all.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": { "type": "string", "maxLength": 100 },
        }));
    }
    all
}

fn query(query: &Query) -> Value {
    let schema = match query.is {
        Kind::Text => json!({ "type": "string" }),
        Kind::Whole => json!({ "type": "integer", "minimum": 0 }),
        Kind::Truth => json!({ "type": "boolean" }),
    };
    json!({ "name": query.name, "in": "query", "required": query.required, "description": query.says, "schema": schema })
}

fn who(call: &Call) -> String {
    let may = |permission| match permission {
        Permission::See => "viewers",
        Permission::Run => "developers",
        Permission::Publish | Permission::Release => "releasers",
        Permission::Administer => "administrators",
    };
    let there = match call.about {
        About::Server => "of the server",
        About::Project => "of the project",
        About::Environment => "of the environment",
    };
    match call.gate {
        Gate::Everybody => "For everybody.".to_owned(),
        Gate::SignedIn => "For whoever has a token.".to_owned(),
        Gate::Proof => "For who proves by what is sent that they may.".to_owned(),
        Gate::Person(permission) => format!("For {} {there}.", may(permission)),
        Gate::Runner => "For runners.".to_owned(),
        Gate::Attempt => "For the attempt itself.".to_owned(),
        Gate::Target => "For the runner of a machine that pulls.".to_owned(),
        Gate::Deployer => "For the server's own deployer.".to_owned(),
        Gate::PersonOrAttempt(permission) => format!("For {} {there}, and attempts.", may(permission)),
    }
}
