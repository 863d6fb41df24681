use std::collections::BTreeMap;

use staith_model::Secret;

use crate::{
    transform::{
        Deed, Plan, TransformError, apply,
        variables::{Variable, VariableValue, VariablesError, substitute},
    },
    xml::Text,
};

fn plain(name: &str, value: &str) -> Variable {
    Variable { name: name.into(), value: VariableValue::Plain(value.into()), optional: false }
}

fn put(file: &str, variables: &[(&str, &str)]) -> Result<String, VariablesError> {
    let variables: Vec<Variable> = variables.iter().map(|(name, value)| plain(name, value)).collect();
    substitute(&Text::of(file), &variables).map(|substituted| substituted.text.as_str().to_owned())
}

const SETTINGS: &str = r#"{
  // Who may see what
  "ConnectionStrings": { "Default": "old" /* of a developer */ },
  "a": { "b": [ { "c": 1.50 }, { "c" : true } ] },
  "Logging.Level": "Debug", "none": null,
  "list": [1, 2,],
}
"#;

#[test]
fn json_keeps_comments_layout_and_types() {
    let check = |name: &str, value: &str, before: &str, after: &str| {
        assert_eq!(put(SETTINGS, &[(name, value)]).unwrap(), SETTINGS.replace(before, after), "{name}");
    };
    check("ConnectionStrings.Default", "a \"b\" \\ é\n", "\"old\"", r#""a \"b\" \\ é\n""#);
    check("a.b.0.c", "2e3", "1.50", "2e3");
    check("a.b.1.c", "false", "true", "false");
    check("Logging.Level", "1", "\"Debug\"", "\"1\"");
    check("list", "[\"x\"]", "[1, 2,]", "[\"x\"]");
    check("list.1", "7", "2,]", "7,]");
    check("a.b.0", "{\"d\": 1}", "{ \"c\": 1.50 }", "{\"d\": 1}");
    check("none", "[1]", "null", "[1]");
    check("none", "text", "null", "\"text\"");
    for nothing in ["connectionstrings.default", "a.b", "a.b.2.c", "a.b.0.c.d", "", "."] {
        let put = put(SETTINGS, &[(nothing, "[]")]).unwrap();
        assert_eq!(put == SETTINGS, nothing != "a.b", "{nothing}");
    }
}

#[test]
fn json_of_another_type_is_refused_without_its_value() {
    for (name, value, told) in [
        ("a.b.0.c", "hunter2", "line 4, column 24: `a.b.0.c` is a number there, and the value given is none"),
        (
            "a.b.1.c",
            "1",
            "line 4, column 40: `a.b.1.c` is `true` or `false` there, and the value given is none",
        ),
        ("a", "hunter2", "line 4, column 8: `a` is an object there, and the value given is none"),
        ("list", "{}", "line 6, column 11: `list` is a list there, and the value given is none"),
    ] {
        assert_eq!(put(SETTINGS, &[(name, value)]).unwrap_err().to_string(), told);
    }
    assert!(
        matches!(put(SETTINGS, &[("a.b.0.c", "1"), ("a.b", "[]")]), Err(VariablesError::Nested { outer, inner }) if outer == "a.b" && inner == "a.b.0.c")
    );
    assert!(matches!(put("{'a': 1}", &[]), Err(VariablesError::Json { .. })));
    assert!(matches!(put(&"[".repeat(100_000), &[]), Err(VariablesError::Json { .. })));
}

const CONFIG: &str = r#"<?xml version="1.0"?>
<configuration>
  <configSections><section name="shop" type="X" /></configSections>
  <appSettings file="local.config">
    <add key="Mode" value="debug"/> <!-- Mode -->
    <add key="Level" value='1' />
  </appSettings>
  <connectionStrings>
    <add name="Db" connectionString="old" providerName="sql" />
    <add name="Other" connectionString="other" />
  </connectionStrings>
  <shop name="x" currency="EUR"><till open="yes" /></shop>
  <applicationSettings>
    <Shop.Settings><setting name="Url" serializeAs="String"><value>http://old</value></setting><setting name="None"><value /></setting></Shop.Settings>
  </applicationSettings>
  <other Mode="untouched"><add key="Mode" value="untouched" /></other>
</configuration>
"#;

#[test]
fn xml_settings_are_found_by_key_and_name() {
    let check = |name: &str, value: &str, before: &str, after: &str| {
        assert_eq!(put(CONFIG, &[(name, value)]).unwrap(), CONFIG.replace(before, after), "{name}");
    };
    check("Mode", "a<b>'\"", "value=\"debug\"", "value=\"a&lt;b&gt;'&quot;\"");
    check("Level", "it's", "value='1'", "value='it&apos;s'");
    check("file", "f", "local.config", "f");
    check("Db", "new", "\"old\"", "\"new\"");
    check("currency", "USD", "EUR", "USD");
    check("open", "no", "\"yes\"", "\"no\"");
    check("Url", "http://new?a&b", "http://old", "http://new?a&amp;b");
    check("None", "n", "<value />", "<value>n</value>");
    check("providerName", "x", "nothing", "");
    let both = put(CONFIG, &[("connectionString", "all"), ("Db", "own")]).unwrap();
    assert_eq!(both, CONFIG.replace("\"old\"", "\"own\"").replace("\"other\"", "\"all\""));
}

#[test]
fn a_variable_is_found_somewhere_or_is_optional() {
    let files = BTreeMap::from([
        ("a.json".to_owned(), SETTINGS.as_bytes().to_vec()),
        ("b.config".to_owned(), CONFIG.as_bytes().to_vec()),
    ]);
    let plan = |variables: Vec<Variable>| Plan {
        transforms: vec![],
        variables,
        substitute_in: files.keys().cloned().collect(),
    };
    let outcome = apply(&files, &plan(vec![plain("Mode", "x"), plain("list.0", "3")])).unwrap();
    assert_eq!(outcome.changed.keys().collect::<Vec<_>>(), ["a.json", "b.config"]);
    assert_eq!(outcome.log.len(), 2);

    let missing =
        apply(&files, &plan(vec![plain("ConnectionString.default", "hunter2")])).unwrap_err().to_string();
    assert!(missing.contains("did you mean `ConnectionStrings.Default`?"), "{missing}");
    assert!(!missing.contains("hunter2"));
    let optional = Variable { optional: true, ..plain("Nowhere", "x") };
    let outcome = apply(&files, &plan(vec![optional])).unwrap();
    assert!(outcome.changed.is_empty());
    assert_eq!(outcome.log, [Deed::NotFound { variable: "Nowhere".into() }]);
    assert_eq!(
        apply(&files, &plan(vec![plain("Mode", "1"), plain("Mode", "2")])).unwrap_err(),
        TransformError::Twice("Mode".into())
    );
}

#[test]
fn secrets_are_in_the_file_and_nowhere_else() {
    let secret = |name: &str, value: &str| Variable {
        name: name.into(),
        value: VariableValue::Secret(Secret::new(value)),
        optional: false,
    };
    let files = BTreeMap::from([("a.json".to_owned(), SETTINGS.as_bytes().to_vec())]);
    let plan = |variable| Plan {
        transforms: vec![],
        variables: vec![variable],
        substitute_in: vec!["a.json".into()],
    };
    let done = plan(secret("ConnectionStrings.Default", "hunter2"));
    let outcome = apply(&files, &done).unwrap();
    assert!(String::from_utf8(outcome.changed["a.json"].clone()).unwrap().contains("\"hunter2\""));
    assert!(!format!("{:?} {:?}", outcome.log, done).contains("hunter2"));
    for variable in [secret("a.b.0.c", "hunter2"), secret("nowhere", "hunter2")] {
        let error = apply(&files, &plan(variable)).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn a_byte_order_mark_and_other_encodings_stay() {
    let marked = [b"\xef\xbb\xbf".as_slice(), b"{\"a\": \"\"}\r\n"].concat();
    let files = BTreeMap::from([("a".to_owned(), marked)]);
    let plan =
        Plan { transforms: vec![], variables: vec![plain("a", "ü")], substitute_in: vec!["a".into()] };
    let outcome = apply(&files, &plan).unwrap();
    assert_eq!(outcome.changed["a"], "\u{feff}{\"a\": \"ü\"}\r\n".as_bytes());
}
