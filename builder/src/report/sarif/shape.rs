//! SARIF as it is written, as far as it is read. Everything is optional: what is missing says nothing.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// A text that is borrowed where it holds no escapes.
pub(super) type Text<'j> = Cow<'j, str>;

/// The file. Runs are read one at a time, because results may come before what explains them.
#[derive(Debug, Deserialize)]
pub(super) struct Log<'j> {
    #[serde(borrow)]
    pub(super) version: Option<Text<'j>>,
    #[serde(borrow)]
    pub(super) runs: Option<&'j RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run<'j> {
    #[serde(borrow, default)]
    pub(super) tool: Tool<'j>,
    #[serde(borrow, default)]
    pub(super) original_uri_base_ids: BTreeMap<Text<'j>, Artifact<'j>>,
    #[serde(borrow, default)]
    pub(super) artifacts: First<ArtifactEntry<'j>>,
    #[serde(borrow)]
    pub(super) results: Option<&'j RawValue>,
    #[serde(borrow, default)]
    pub(super) invocations: First<Invocation<'j>>,
}

/// How a program ran.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Invocation<'j> {
    pub(super) execution_successful: Option<bool>,
    pub(super) exit_code: Option<i64>,
    #[serde(borrow)]
    pub(super) exit_code_description: Option<Text<'j>>,
    #[serde(borrow, default)]
    pub(super) tool_execution_notifications: First<Notification<'j>>,
    #[serde(borrow, default)]
    pub(super) tool_configuration_notifications: First<Notification<'j>>,
}

/// What a program says of how it ran.
#[derive(Debug, Deserialize)]
pub(super) struct Notification<'j> {
    #[serde(borrow)]
    pub(super) level: Option<Text<'j>>,
    #[serde(borrow, default)]
    pub(super) message: Message<'j>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Tool<'j> {
    #[serde(borrow, default)]
    pub(super) driver: Component<'j>,
    #[serde(borrow, default)]
    pub(super) extensions: First<Component<'j>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Component<'j> {
    #[serde(borrow, default)]
    pub(super) rules: First<Rule<'j>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule<'j> {
    #[serde(borrow, default)]
    pub(super) id: Text<'j>,
    #[serde(borrow, default)]
    pub(super) default_configuration: Configuration<'j>,
    #[serde(borrow, default)]
    pub(super) message_strings: BTreeMap<Text<'j>, Message<'j>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Configuration<'j> {
    #[serde(borrow)]
    pub(super) level: Option<Text<'j>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Message<'j> {
    #[serde(borrow)]
    pub(super) text: Option<Text<'j>>,
    #[serde(borrow)]
    pub(super) id: Option<Text<'j>>,
    #[serde(borrow, default)]
    pub(super) arguments: First<Text<'j>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ArtifactEntry<'j> {
    #[serde(borrow)]
    pub(super) location: Option<Artifact<'j>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Artifact<'j> {
    #[serde(borrow)]
    pub(super) uri: Option<Text<'j>>,
    #[serde(borrow)]
    pub(super) uri_base_id: Option<Text<'j>>,
    pub(super) index: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found<'j> {
    #[serde(borrow)]
    pub(super) rule_id: Option<Text<'j>>,
    pub(super) rule_index: Option<i64>,
    #[serde(borrow)]
    pub(super) rule: Option<RuleReference<'j>>,
    #[serde(borrow)]
    pub(super) level: Option<Text<'j>>,
    #[serde(borrow)]
    pub(super) kind: Option<Text<'j>>,
    #[serde(borrow, default)]
    pub(super) message: Message<'j>,
    #[serde(borrow, default)]
    pub(super) locations: First<Location<'j>>,
    #[serde(borrow, default)]
    pub(super) suppressions: First<Suppression<'j>>,
    #[serde(borrow)]
    pub(super) baseline_state: Option<Text<'j>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleReference<'j> {
    #[serde(borrow)]
    pub(super) id: Option<Text<'j>>,
    pub(super) index: Option<i64>,
    pub(super) tool_component: Option<ComponentReference>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ComponentReference {
    pub(super) index: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Suppression<'j> {
    #[serde(borrow)]
    pub(super) status: Option<Text<'j>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Location<'j> {
    #[serde(borrow, default)]
    pub(super) physical_location: Physical<'j>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Physical<'j> {
    #[serde(borrow, default)]
    pub(super) artifact_location: Artifact<'j>,
    #[serde(default)]
    pub(super) region: Region,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Region {
    pub(super) start_line: Option<i64>,
    pub(super) start_column: Option<i64>,
}

/// As many items of a list as are kept; more are passed over, so that a list of a million empty objects stays small.
const ITEMS_KEPT: usize = 50_000;

/// The first items of a list.
#[derive(Debug)]
pub(super) struct First<T>(pub(super) Vec<T>);

impl<T> Default for First<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut items = Vec::new();
        let keep = |item| {
            if items.len() < ITEMS_KEPT {
                items.push(item);
            }
        };
        each(deserializer, keep)?;
        Ok(Self(items))
    }
}

/// Calls `take` with each item of a list, one at a time.
pub(super) fn each<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    take: impl FnMut(T),
) -> Result<(), D::Error> {
    deserializer.deserialize_any(Items(take, PhantomData))
}

struct Items<F, T>(F, PhantomData<T>);

impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for Items<F, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    // Some programs write `null` where they mean nothing.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}
