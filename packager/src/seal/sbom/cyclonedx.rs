//! A bill as CycloneDX 1.6 in JSON: <https://cyclonedx.org/docs/1.6/json/>.

use serde_json::{Map, Value, json};
use staith_model::Digest;

use super::{
    Gap, LockFile, Subject,
    component::Scope,
    licence::licences,
    merged::{Component, Merged},
    purl::Encoded,
};

/// The bill's bytes. It has no time of day, and its serial number is made from its content.
pub(super) fn write(subject: &Subject, files: &[&LockFile], merged: Merged, gaps: &[Gap]) -> Vec<u8> {
    let root = reference(subject);
    let mut bill = Map::new();
    bill.insert("$schema".into(), json!("http://cyclonedx.org/schema/bom-1.6.schema.json"));
    bill.insert("bomFormat".into(), json!("CycloneDX"));
    bill.insert("specVersion".into(), json!("1.6"));
    bill.insert("version".into(), json!(1));
    bill.insert("metadata".into(), metadata(subject, &root, files, gaps));
    let components: Vec<Value> = merged.components.iter().map(|(purl, one)| component(purl, one)).collect();
    bill.insert("components".into(), json!(components));
    bill.insert("dependencies".into(), dependencies(&root, &merged));
    if !gaps.is_empty() {
        bill.insert("compositions".into(), json!([{ "aggregate": "incomplete", "assemblies": [root] }]));
    }
    let serial = serial_number(&Digest::of_value("staith.sbom.v1", &bill));
    bill.insert("serialNumber".into(), json!(serial));
    let mut bytes = serde_json::to_vec_pretty(&bill).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// What the subject is called inside the bill. It is in no ecosystem.
fn reference(subject: &Subject) -> String {
    let version = subject.version.as_ref().map(|version| format!("@{}", Encoded(version)));
    format!("pkg:generic/{}{}", Encoded(&subject.name), version.unwrap_or_default())
}

/// A UUID of version 8, whose bits are those of a digest.
fn serial_number(digest: &Digest) -> String {
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn metadata(subject: &Subject, root: &str, files: &[&LockFile], gaps: &[Gap]) -> Value {
    let mut about = json!({ "type": "application", "bom-ref": root, "name": subject.name, "purl": root });
    if let Some(version) = &subject.version {
        about["version"] = json!(version);
    }
    if let Some(digest) = &subject.digest {
        about["hashes"] = json!([{ "alg": "SHA-256", "content": digest.hex() }]);
    }
    let read = files.iter().map(|file| {
        let digest = Digest::of(&file.bytes);
        json!({ "name": "staith:lock-file", "value": format!("{} {digest}", file.path) })
    });
    let lacking = gaps.iter().map(|gap| json!({ "name": "staith:gap", "value": gap.to_string() }));
    json!({
        "tools": { "components": [{ "type": "application", "name": "staith", "version": env!("CARGO_PKG_VERSION") }] },
        "component": about,
        "properties": read.chain(lacking).collect::<Vec<_>>(),
    })
}

fn component(purl: &str, one: &Component) -> Value {
    let mut told = json!({ "type": "library", "bom-ref": purl, "name": one.name, "purl": purl });
    if let Some(group) = &one.namespace {
        told["group"] = json!(group);
    }
    if !one.version.is_empty() {
        told["version"] = json!(one.version);
    }
    told["scope"] = json!(match one.scope {
        Scope::Required => "required",
        Scope::Optional => "optional",
        // What is not there when the program runs.
        Scope::Development => "excluded",
    });
    if !one.hashes.is_empty() {
        let hash = |hash: &super::component::Hash| json!({ "alg": hash.algorithm, "content": hash.hex });
        told["hashes"] = one.hashes.iter().map(hash).collect();
    }
    if !one.licences.is_empty() {
        told["licenses"] = licences(&one.licences).into();
    }
    let property = |(name, value): &(&str, String)| json!({ "name": name, "value": value });
    told["properties"] = one.properties.iter().map(property).collect();
    told
}

/// Who needs whom, as far as lock files say: what they don't say is left out, and not said to be nothing.
fn dependencies(root: &str, merged: &Merged) -> Value {
    let direct: Vec<&String> =
        merged.components.iter().filter(|(_, one)| one.is_direct).map(|(purl, _)| purl).collect();
    let mut all = Vec::new();
    if !direct.is_empty() {
        all.push(json!({ "ref": root, "dependsOn": direct }));
    }
    for (purl, one) in &merged.components {
        if let Some(needs) = &one.needs {
            all.push(json!({ "ref": purl, "dependsOn": needs }));
        }
    }
    all.into()
}
