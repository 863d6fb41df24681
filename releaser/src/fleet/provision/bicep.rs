//! Bicep and ARM templates through Azure's command line.
//!
//! Azure has no saved plans. What is pinned is the compiled template, the values and what `what-if` said; before it is applied, `what-if`
//! is asked again, and has to say the same. Written after Azure's reference and tried against a program that answers as it documents;
//! not verified against Azure.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path};

use serde_json::{Value, json};
use staith_model::{Digest, ProvisionTool, Provisioning};

use super::{
    ProvisionError,
    program::Call,
    tool::{self, Drawn, Hands, argument},
};
use crate::host::durable;

pub(super) struct Azure<'a> {
    hands: &'a Hands<'a>,
    program: &'a str,
    template: &'a str,
    group: &'a str,
    stack: Option<&'a str>,
}

impl<'a> Azure<'a> {
    pub(super) fn of(hands: &'a Hands<'a>) -> Result<Self, ProvisionError> {
        match &hands.provision.tool {
            ProvisionTool::Bicep { program, template, group, stack } => {
                Ok(Self { hands, program, template, group, stack: stack.as_deref() })
            }
            other => Err(ProvisionError::NotUnderstood {
                command: "az".into(),
                why: format!("this is made by {}", other.name()),
            }),
        }
    }

    fn call(&self, words: &[&str]) -> Call<'a> {
        let arguments = words.iter().map(OsString::from).collect();
        let call = Call { program: self.program, arguments, plain: Vec::new(), aloud: true };
        // It asks nobody, and says nothing about itself.
        call.with("AZURE_CORE_NO_COLOR", "true")
            .with("AZURE_CORE_DISABLE_CONFIRM_PROMPT", "true")
            .with("AZURE_CORE_COLLECT_TELEMETRY", "false")
    }

    fn name(&self) -> String {
        format!("staith-{}-{}", self.hands.project, self.hands.environment).chars().take(64).collect()
    }

    pub(super) async fn plan(&self, direction: Provisioning) -> Result<Drawn, ProvisionError> {
        if direction == Provisioning::Destroy {
            let text = match self.stack {
                Some(stack) => {
                    format!("deletes the stack {stack} of {}, with all that it made\n", self.group)
                }
                None => {
                    let listed = self.call(&[
                        "resource",
                        "list",
                        "--resource-group",
                        self.group,
                        "--query",
                        "[].id",
                        "--output",
                        "tsv",
                    ]);
                    let listed = self.hands.with.run(listed.quietly()).await?;
                    let ids = String::from_utf8_lossy(&listed).into_owned();
                    format!("deletes the resource group {} with all that is in it:\n{ids}", self.group)
                }
            };
            return Ok(Drawn { text, is_saved: false, nothing: false });
        }
        let pinned = self.look().await?;
        let (text, nothing) = in_lines(&pinned["changes"]);
        let plan = self.hands.place.plan();
        let bytes = serde_json::to_vec(&pinned).unwrap_or_default();
        durable::write(&plan, &bytes).map_err(ProvisionError::kept("can't write", &plan))?;
        Ok(Drawn { text, is_saved: true, nothing })
    }

    /// The template as it is compiled, the values, and what would be done with them.
    async fn look(&self) -> Result<Value, ProvisionError> {
        let template = self.template().await?;
        let values = self.write_values(&template)?;
        let what_if = self.call(&[
            "deployment",
            "group",
            "what-if",
            "--name",
            &self.name(),
            "--resource-group",
            self.group,
        ]);
        let what_if =
            self.with_template(what_if, &["--no-pretty-print", "--only-show-errors", "--output", "json"]);
        let command = what_if.describe();
        let said = self.hands.with.run(what_if.quietly()).await?;
        let said = tool::json(&said, &command)?;
        let changes = said.get("changes").or_else(|| said.pointer("/properties/changes")).cloned();
        let changes = changes.filter(Value::is_array).ok_or_else(|| ProvisionError::NotUnderstood {
            command,
            why: "it has no list of changes".into(),
        })?;
        Ok(
            json!({"template": Digest::of_value("staith.arm-template.v1", &template), "values": values, "changes": changes}),
        )
    }

    /// The template, compiled where it is Bicep.
    async fn template(&self) -> Result<Value, ProvisionError> {
        let (written, compiled) = (self.hands.place.work().join(self.template), self.hands.place.compiled());
        if Path::new(self.template).extension().is_some_and(|end| end.eq_ignore_ascii_case("bicep")) {
            let mut build = self.call(&["bicep", "build"]);
            build.arguments.extend([
                "--file".into(),
                written.into(),
                "--outfile".into(),
                compiled.clone().into(),
            ]);
            self.hands.with.run(build).await?;
        } else {
            fs::copy(&written, &compiled).map_err(ProvisionError::kept("can't read", &written))?;
        }
        let bytes = fs::read(&compiled).map_err(ProvisionError::kept("can't read", &compiled))?;
        tool::json(&bytes, "the template")
    }

    /// Values for the parameters that the template declares, in a file for its owner only; a digest of them.
    fn write_values(&self, template: &Value) -> Result<Digest, ProvisionError> {
        let declared = template.get("parameters").and_then(Value::as_object);
        let mut values = BTreeMap::new();
        let mut put = |name: &str, text: &str| {
            let Some(parameter) = declared.and_then(|declared| declared.get(name)) else { return };
            let kind = parameter.get("type").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
            let value = match kind.as_str() {
                "string" | "securestring" => Value::from(text),
                _ => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
            };
            values.insert(name.to_owned(), json!({ "value": value }));
        };
        for (name, value) in &self.hands.provision.variables {
            put(name, value);
        }
        for (name, secret) in &self.hands.with.secrets {
            secret.expose_to(|value| put(name, value));
        }
        let file = json!({
            "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
            "contentVersion": "1.0.0.0",
            "parameters": values,
        });
        let path = self.hands.place.values();
        let bytes = serde_json::to_vec(&file).unwrap_or_default();
        durable::write(&path, &bytes).map_err(ProvisionError::kept("can't write", &path))?;
        // Names only: a digest of a short secret would tell it to who guesses. Its version is in the definition.
        Ok(Digest::of_value("staith.arm-values.v1", &values.keys().collect::<Vec<_>>()))
    }

    fn with_template(&self, mut call: Call<'a>, more: &[&str]) -> Call<'a> {
        call.arguments.push("--template-file".into());
        call.arguments.push(self.hands.place.compiled().into());
        call.arguments.push("--parameters".into());
        call.arguments.push(argument("@", &self.hands.place.values()));
        call.arguments.extend(more.iter().map(OsString::from));
        call
    }

    pub(super) async fn carry_out(&self, direction: Provisioning) -> Result<(), ProvisionError> {
        if direction == Provisioning::Destroy {
            return self.destroy().await;
        }
        let create = match self.stack {
            Some(stack) => {
                let words = ["stack", "group", "create", "--name", stack, "--resource-group", self.group];
                let more = [
                    "--action-on-unmanage",
                    "deleteAll",
                    "--deny-settings-mode",
                    "none",
                    "--yes",
                    "--output",
                    "json",
                ];
                self.with_template(self.call(&words), &more)
            }
            None => {
                let name = self.name();
                let words =
                    ["deployment", "group", "create", "--name", &name, "--resource-group", self.group];
                self.with_template(self.call(&words), &["--mode", "Incremental", "--output", "json"])
            }
        };
        let created = self.hands.with.run(create.quietly()).await.map(drop);
        self.hands.place.tidy();
        created
    }

    /// What would be done now has to be what was looked at.
    pub(super) async fn confirm(&self, saved: Option<&Path>) -> Result<(), ProvisionError> {
        let changed = |why: &str| ProvisionError::Changed { why: why.to_owned() };
        let saved = saved.ok_or_else(|| changed("there is no saved plan"))?;
        let bytes = fs::read(saved).map_err(ProvisionError::kept("can't read", saved))?;
        let then: Value = tool::json(&bytes, "the saved plan")?;
        if self.look().await? != then {
            return Err(changed("Azure says that something else would be done now"));
        }
        Ok(())
    }

    async fn destroy(&self) -> Result<(), ProvisionError> {
        let delete = match self.stack {
            Some(stack) => self.call(&[
                "stack",
                "group",
                "delete",
                "--name",
                stack,
                "--resource-group",
                self.group,
                "--action-on-unmanage",
                "deleteAll",
                "--yes",
            ]),
            None => self.call(&["group", "delete", "--name", self.group, "--yes"]),
        };
        self.hands.with.run(delete).await.map(drop)
    }

    pub(super) async fn outputs(&self) -> Result<Vec<u8>, ProvisionError> {
        let name = self.name();
        let show = match self.stack {
            Some(stack) => self.call(&[
                "stack",
                "group",
                "show",
                "--name",
                stack,
                "--resource-group",
                self.group,
                "--query",
                "outputs",
                "--output",
                "json",
            ]),
            None => self.call(&[
                "deployment",
                "group",
                "show",
                "--name",
                &name,
                "--resource-group",
                self.group,
                "--query",
                "properties.outputs",
                "--output",
                "json",
            ]),
        };
        let said = self.hands.with.run(show.quietly()).await?;
        // A template without outputs has `null`.
        Ok(if said.trim_ascii() == b"null" { Vec::new() } else { said })
    }
}

/// The changes in words, and whether there are none.
fn in_lines(changes: &Value) -> (String, bool) {
    let none = Vec::new();
    let mut text = String::new();
    let mut nothing = true;
    for change in changes.as_array().unwrap_or(&none) {
        let word = |key: &str| change.get(key).and_then(Value::as_str).unwrap_or("?");
        let kind = word("changeType");
        nothing &= matches!(kind, "NoChange" | "Ignore");
        text.push_str(&format!("{kind} {}\n", word("resourceId")));
        for delta in change.get("delta").and_then(Value::as_array).unwrap_or(&none) {
            let show = |key: &str| delta.get(key).map_or_else(|| "nothing".to_owned(), Value::to_string);
            let path = delta.get("path").and_then(Value::as_str).unwrap_or("?");
            text.push_str(&format!("  {path}: {} -> {}\n", show("before"), show("after")));
        }
    }
    (text, nothing)
}
