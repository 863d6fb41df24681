use proptest::prelude::*;

use super::*;

fn declared(inside: &str) -> Declarations {
    Declarations::read(format!("<parameters>{inside}</parameters>").as_bytes())
        .unwrap_or_else(|bad| panic!("{bad}"))
}

fn set(declared: &Declarations, settings: &[&str]) -> Values {
    let mut values = Values::default();
    for setting in settings {
        values.set(setting, declared).unwrap();
    }
    values
}

fn value(resolved: &Resolved, name: &str) -> String {
    resolved.value(name).unwrap().expose_to(str::to_owned)
}

#[test]
fn references_go_through_chains_in_any_order_and_case() {
    let declared = declared(
        r#"<parameter name="A" defaultValue="1{b}3" /><parameter name="B" defaultValue="[{ c }{C}]" />
           <parameter name="C" defaultValue="x" /><parameter name="D" defaultValue="{{C}}{Nobody}{" />"#,
    );
    let resolved = resolve(&declared, &set(&declared, &["c={D}"])).unwrap_err();
    assert!(
        matches!(&resolved.0[..], [Unresolved::Circle(names)] if *names == ["C", "D", "C"]),
        "{resolved}"
    );
    let resolved = resolve(&declared, &Values::default()).unwrap();
    assert_eq!(value(&resolved, "a"), "1[{ c }x]3");
    assert_eq!(value(&resolved, "D"), "{x}{Nobody}{");
    // A value that comes in is not read again.
    let resolved = resolve(&declared, &set(&declared, &["C={Nobody}", "A={C}"])).unwrap();
    assert_eq!(value(&resolved, "A"), "{Nobody}");
}

#[test]
fn circles_are_named() {
    let declared = declared(
        r#"<parameter name="Own" defaultValue="{own}" /><parameter name="One" defaultValue="{Two}" />
           <parameter name="Two" defaultValue="{Three}" /><parameter name="Three" defaultValue="{Two}" />"#,
    );
    let told = resolve(&declared, &Values::default()).unwrap_err().to_string();
    assert!(told.contains("circle: Own → Own;") && told.contains("circle: Two → Three → Two;"), "{told}");
    assert_eq!(told.lines().count(), 2, "{told}");
    resolve(&declared, &set(&declared, &["Own=", "Three=x"])).unwrap_err();
    resolve(&declared, &set(&declared, &["Own=x", "Three=x"])).unwrap();
}

#[test]
fn everything_wrong_is_told_at_once() {
    let declared = declared(
        r#"<parameter name="Needed" /><parameter name="Full" defaultValue="x" />
           <parameter name="Empty" defaultValue=""><parameterValidation kind="Boolean" /></parameter>
           <parameter name="Free"><parameterValidation kind="AllowEmpty" /></parameter>
           <parameter name="Coin" defaultValue="EUR"><parameterValidation type="enumeration" validationString="EUR, GBP" /></parameter>
           <parameter name="Host"><parameterValidation kind="RegularExpression,allowEmpty" validationString="^[a-z]+$" /></parameter>
           <parameter name="On" defaultValue="maybe"><parameterValidation kind="Boolean" /></parameter>
           <parameter name="Key" tags="Password"><parameterValidation kind="RegularExpression" validationString="^.{20}$" /></parameter>"#,
    );
    let values =
        set(&declared, &["Full=", "Free=", "Coin=GBP", "Host=A1", "Shop Nam=x", "Ful=y", "Key=hunter2"]);
    let told = resolve(&declared, &values).unwrap_err().to_string();
    let expected = [
        "no parameter `Ful` (did you mean `Full`?); there are `Needed`, `Full`",
        "no parameter `Shop Nam`; there are",
        "`Full` was set to nothing (command line)",
        "`Coin` can't be `GBP` (command line): it takes `EUR`, ` GBP`",
        "`Host` can't be `A1` (command line): it takes what the regular expression `^[a-z]+$` matches",
        "`On` can't be `maybe` (default): it takes `True` or `False`",
        "`Key` can't be this secret (command line)",
        "`Needed` has no default and was not set",
    ];
    for expected in expected {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    assert!(told.lines().count() == expected.len() && !told.contains("hunter2"), "{told}");
}

#[test]
fn what_is_called_a_password_is_not_shown_although_no_tag_says_so() {
    let declared = declared(
        r#"<parameter name="Database Password" /><parameter name="API-Key" defaultValue="in the package" />
           <parameter name="Passage" />"#,
    );
    let resolved =
        resolve(&declared, &set(&declared, &["Database Password=hunter2", "Passage=open"])).unwrap();
    assert_eq!(resolved.value("Database Password").unwrap().shown(), "***");
    assert_eq!(resolved.value("API-Key").unwrap().shown(), "in the package");
    assert_eq!(resolved.value("Passage").unwrap().shown(), "open");
}

#[test]
fn what_a_secret_is_part_of_is_secret() {
    let declared = declared(
        r#"<parameter name="Key" tags="Password" /><parameter name="Db" defaultValue="Server=.;Password={Key}" />
           <parameter name="Url" defaultValue="https://x/{Key}" /><parameter name="Open" defaultValue="x" />"#,
    );
    let mut values = Values::default();
    values.set_secret("key", Secret::new("hunter2"));
    let resolved = resolve(&declared, &values).unwrap();
    assert_eq!(value(&resolved, "Db"), "Server=.;Password=hunter2");
    for name in ["Key", "Db", "Url"] {
        assert_eq!(resolved.value(name).unwrap().shown(), "***", "{name}");
    }
    assert_eq!(resolved.value("Open").unwrap().shown(), "x");
    assert!(!format!("{resolved:?}").contains("hunter2"));
}

#[test]
fn values_do_not_grow_without_measure() {
    let parameters: String = (0..40)
        .map(|n| format!(r#"<parameter name="P{n}" defaultValue="{{P{0}}}{{P{0}}}" />"#, n + 1))
        .collect();
    let grown = declared(&format!(r#"{parameters}<parameter name="P40" defaultValue="x" />"#));
    let told = resolve(&grown, &Values::default()).unwrap_err().to_string();
    assert!(told.contains("grows beyond 1 MiB"), "{told}");
    let chain: String =
        (0..900).map(|n| format!(r#"<parameter name="P{n}" defaultValue="{{P{}}}" />"#, n + 1)).collect();
    resolve(&declared(&chain), &Values::default()).unwrap_err();
    let braces = declared(&format!(r#"<parameter name="B" defaultValue="{}" />"#, "{".repeat(1 << 19)));
    resolve(&braces, &Values::default()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_declarations_does_not_show(
        texts in prop::collection::vec(r"(\{p[0-9]\}|[a-z{}]){0,4}", 1..8),
        shuffle in any::<prop::sample::Index>(),
    ) {
        // Each refers to those before it only, so there are no circles.
        let acyclic = |nth: usize, text: &String| {
            (nth..10).fold(text.clone(), |text, later| text.replace(&format!("{{p{later}}}"), "-"))
        };
        let each: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(nth, text)| format!(r#"<parameter name="p{nth}" defaultValue="{}" />"#, acyclic(nth, text)))
            .collect();
        let mut turned = each.clone();
        turned.rotate_left(shuffle.index(each.len()));
        let one = resolve(&declared(&each.concat()), &Values::default()).unwrap();
        let other = resolve(&declared(&turned.concat()), &Values::default()).unwrap();
        for nth in 0..texts.len() {
            let name = format!("p{nth}");
            prop_assert_eq!(one.value(&name), other.value(&name));
        }
    }

    #[test]
    fn any_references_come_to_an_end(texts in prop::collection::vec(r"(\{p[0-9]\}|[a-z{}]){0,6}", 1..10)) {
        let each: String = texts
            .iter()
            .enumerate()
            .map(|(nth, text)| format!(r#"<parameter name="p{nth}" defaultValue="{text}" />"#))
            .collect();
        let _ = resolve(&declared(&each), &Values::default());
    }
}
