//! What `terraform output -json` prints: outputs by name, each `{"sensitive": false, "type": ..., "value": ...}`.

use serde_json::{Map, Value};

use super::read::{kind, readable};

/// Whether an object is that.
pub(super) fn is_output(object: &Map<String, Value>) -> bool {
    let is_one = |output: &Value| output.get("value").is_some() && output.get("sensitive").is_some();
    !object.is_empty() && object.values().all(is_one)
}

/// The list of the output `targets`, or of the only output.
pub(super) fn items(object: &Map<String, Value>) -> Result<Vec<Value>, String> {
    let (name, output) = match (object.get("targets"), object.iter().next()) {
        (Some(output), _) => ("targets", output),
        (None, Some((name, output))) if object.len() == 1 => (name.as_str(), output),
        _ => {
            let names: Vec<String> =
                object.keys().take(10).map(|name| format!("`{}`", readable(name))).collect();
            return Err(format!(
                "Terraform has several outputs ({}) and none is called `targets`; print one of them: `terraform output -json NAME`",
                names.join(", ")
            ));
        }
    };
    match output.get("value") {
        Some(Value::Array(items)) => Ok(items.clone()),
        Some(other) => Err(format!("the output `{}` is {}, not a list", readable(name), kind(other))),
        None => Err(format!("the output `{}` has no value", readable(name))),
    }
}
