//! Which machines the outputs of a tool name. Pure.

use serde_json::Value;
use staith_model::Target;

use super::super::inventory::{Form, InventoryError, read_trusting};

/// The machines in a text: an inventory in any of its forms, or outputs by name, of which `targets` counts. Outputs without one name
/// no machines: then runner.toml has all of them.
pub(super) fn targets(text: &[u8], from: &str, may_be_local: bool) -> Result<Vec<Target>, InventoryError> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let Ok(Value::Object(outputs)) = serde_json::from_slice::<Value>(text) else {
        return read_trusting(text, Form::Json, from, may_be_local);
    };
    // Terraform's outputs say whether they are sensitive, Azure's do not; both have type and value.
    let is_output = |output: &Value| output.get("value").is_some() && output.get("type").is_some();
    if !outputs.values().all(is_output) {
        return read_trusting(text, Form::Json, from, may_be_local);
    }
    match outputs.get("targets").and_then(|targets| targets.get("value")) {
        Some(list) => read_trusting(list.to_string().as_bytes(), Form::Json, from, may_be_local),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        targets(text.as_bytes(), "test", false)
            .unwrap()
            .iter()
            .map(|target| target.name.to_string())
            .collect()
    }

    #[test]
    fn the_output_that_is_called_targets_counts() {
        let terraform = r#"{"region": {"sensitive": false, "type": "string", "value": "eu"},
            "targets": {"sensitive": false, "type": ["list", "string"], "value": ["web1", {"host": "10.0.0.2", "name": "web2"}]}}"#;
        assert_eq!(names(terraform), ["web1", "web2"]);
        assert_eq!(
            names(r#"{"targets": {"type": "Array", "value": ["web1"]}}"#),
            ["web1"],
            "as Azure says it"
        );
        assert_eq!(names(r#"{"region": {"sensitive": false, "type": "string", "value": "eu"}}"#), [""; 0]);
        assert_eq!(names("{}"), [""; 0]);
        assert_eq!(names(" \n"), [""; 0]);
        assert_eq!(names(r#"["web1"]"#), ["web1"], "an inventory");
        assert_eq!(names(r#"{"targets": ["web1"]}"#), ["web1"], "an inventory");
    }

    #[test]
    fn only_programs_of_this_machine_may_name_it() {
        let here = br#"[{"local": true, "name": "here"}]"#;
        assert!(targets(here, "test", false).unwrap_err().to_string().contains("this machine itself"));
        assert_eq!(targets(here, "test", true).unwrap()[0].access, staith_model::Access::Local);
    }

    #[test]
    fn what_is_no_list_is_told() {
        let text = br#"{"targets": {"sensitive": false, "type": "string", "value": "web1"}}"#;
        assert!(targets(text, "test", false).unwrap_err().to_string().contains("a text"));
    }
}
