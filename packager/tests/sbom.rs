//! Bills of materials: what CycloneDX's own schema says of them, and that they are a function of the lock files alone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use boon::{Compiler, Schemas};
use serde_json::Value;
use staith_model::Digest;
use staith_packager::seal::sbom::{Bill, LockFile, Subject, bill};

const SCHEMAS: [(&str, &str); 3] = [
    ("bom-1.6.schema.json", include_str!("cyclonedx/bom-1.6.schema.json")),
    ("spdx.schema.json", include_str!("cyclonedx/spdx.schema.json")),
    ("jsf-0.82.schema.json", include_str!("cyclonedx/jsf-0.82.schema.json")),
];

fn lock(path: &str, text: &str) -> LockFile {
    LockFile { path: path.try_into().unwrap(), bytes: text.as_bytes().to_vec() }
}

fn subject() -> Subject {
    Subject { name: "shop".into(), version: Some("1.4.0+c.3f2a".into()), digest: Some(Digest::of(b"zip")) }
}

fn locks() -> Vec<LockFile> {
    vec![
        lock("Cargo.lock", include_str!("../../Cargo.lock")),
        lock(
            "web/package-lock.json",
            r#"{ "lockfileVersion": 3, "packages": { "": { "dependencies": { "a": "1", "b": "1" } },
                "node_modules/a": { "version": "1.0.0", "license": "(MIT OR Apache-2.0)", "integrity": "sha1-L9ThxnotKPzthJ7hu3bnORuT6xI=" },
                "node_modules/b": { "version": "1.0.0", "license": "SEE LICENSE IN x", "dependencies": { "a": "1" }, "dev": true } } }"#,
        ),
        lock(
            "composer.lock",
            r#"{ "packages": [ { "name": "acme/a", "version": "v1.0", "license": ["MIT", "GPL-2.0-only"] } ] }"#,
        ),
        lock("requirements.txt", "flask==3.0\nloose>=1\n"),
        lock("broken/yarn.lock", "odd\n"),
        lock("go.mod", "module m\nrequire example.org/a v1.0.0\n"),
        lock("go.sum", "example.org/a v1.0.0 h1:abc=\nexample.org/a v0.9.0 h1:old=\n"),
    ]
}

fn validate(bill: &Bill) {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    for (name, text) in SCHEMAS {
        let address = format!("http://cyclonedx.org/schema/{name}");
        compiler.add_resource(&address, serde_json::from_str(text).unwrap()).unwrap();
    }
    compiler.enable_format_assertions();
    let index = compiler.compile("http://cyclonedx.org/schema/bom-1.6.schema.json", &mut schemas);
    let index = index.unwrap_or_else(|bad| panic!("{bad:#}"));
    let value: Value = serde_json::from_slice(&bill.json).unwrap();
    schemas.validate(&value, index).unwrap_or_else(|bad| panic!("{bad:#}"));
}

#[test]
fn bills_are_what_cyclonedx_says_a_bill_is() {
    let bill = bill(&subject(), &locks());
    validate(&bill);
    assert!(bill.components > 200, "{}", bill.components);
    let gaps: Vec<String> = bill.gaps.iter().map(ToString::to_string).collect();
    assert_eq!(
        gaps,
        [
            "broken/yarn.lock:1: neither `key value` nor `key:`",
            "requirements.txt:2: `loose>=1` has no fixed version"
        ]
    );
    let text = String::from_utf8(bill.json).unwrap();
    assert!(
        text.contains(r#""aggregate": "incomplete""#) && text.contains("pkg:golang/example.org/a@v1.0.0")
    );
    assert!(!text.contains("v0.9.0"), "nothing is built with what only go.sum names");
    let empty = super_empty();
    validate(&empty);
    assert_eq!((empty.components, empty.gaps.len()), (0, 0));
}

fn super_empty() -> Bill {
    bill(&Subject { name: "Ein Verzeichnis / ü".into(), version: None, digest: None }, &[])
}

#[test]
fn references_lead_to_components() {
    let bill: Value = serde_json::from_slice(&bill(&subject(), &locks()).json).unwrap();
    let mut known: Vec<&str> =
        bill["components"].as_array().unwrap().iter().map(|one| one["bom-ref"].as_str().unwrap()).collect();
    known.push(bill["metadata"]["component"]["bom-ref"].as_str().unwrap());
    let (all, unique) = (known.len(), known.iter().collect::<std::collections::BTreeSet<_>>().len());
    assert_eq!(all, unique);
    let dependencies = bill["dependencies"].as_array().unwrap();
    assert!(dependencies.len() > 200);
    for one in dependencies {
        let needs = one["dependsOn"].as_array().unwrap();
        for reference in needs.iter().chain([&one["ref"]]) {
            assert!(known.contains(&reference.as_str().unwrap()), "{reference}");
        }
    }
}

#[test]
fn the_same_lock_files_give_the_same_bytes() {
    let (first, mut others) = (bill(&subject(), &locks()), locks());
    others.reverse();
    assert_eq!(first.json, bill(&subject(), &others).json);
    let serial = |bill: &Bill| serde_json::from_slice::<Value>(&bill.json).unwrap()["serialNumber"].clone();
    others.pop();
    assert_ne!(serial(&first), serial(&bill(&subject(), &others)));
}
