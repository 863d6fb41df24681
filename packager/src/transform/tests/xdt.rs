use crate::{
    transform::xdt::{self, Done, Fault, XdtError},
    xml::Text,
};

/// Applies transforms, given as what is within `<configuration>`, with `xdt` declared.
fn transformed(target: &str, transforms: &str) -> Result<(String, Vec<Done>), XdtError> {
    let transforms = format!(
        "<configuration xmlns:xdt=\"http://schemas.microsoft.com/XML-Document-Transform\">{transforms}</configuration>"
    );
    let (text, done) = xdt::apply(&Text::of(target), &Text::of(transforms))?;
    Ok((text.as_str().to_owned(), done))
}

fn after(target: &str, transforms: &str) -> String {
    transformed(target, transforms).unwrap_or_else(|error| panic!("{transforms}: {error}")).0
}

fn fault(target: &str, transforms: &str) -> Fault {
    match transformed(target, transforms).unwrap_err() {
        XdtError::Transform { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

const SHOP: &str = "<configuration>\n  <add key=\"a\" value=\"1\" />\n  <add key=\"b\" value=\"2\" />\n  <set>\n    <x n=\"1\" />\n  </set>\n</configuration>\n";

#[test]
fn locators_say_which_elements_are_meant() {
    let set = |attributes: &str, locator: &str| {
        after(
            SHOP,
            &format!(
                "<add {attributes} value=\"9\" xdt:Locator=\"{locator}\" xdt:Transform=\"SetAttributes(value)\"/>"
            ),
        )
    };
    let a = SHOP.replace("\"1\" />\n  <add", "\"9\" />\n  <add");
    let b = SHOP.replace("\"2\"", "\"9\"");
    assert_eq!(set("key='a'", "Match(key)"), a);
    assert_eq!(set("key='b'", " Match ( key ) "), b);
    assert_eq!(set("", "Condition(@key='b')"), b);
    assert_eq!(set("", "Condition([@key='b' and @value='2'])"), b);
    assert_eq!(set("", "Condition(contains('x,b', @key) and @key!='a')"), b);
    assert_eq!(set("", "Condition(2)"), b);
    assert_eq!(set("", "XPath(/configuration/add[last()])"), b);
    assert_eq!(set("", "XPath(following-sibling::add)"), b);
    // Without one, all elements of the name in the same place.
    let all = after(SHOP, "<add value=\"9\" xdt:Transform=\"SetAttributes\"/>");
    assert_eq!(all, SHOP.replace("\"1\" />\n  <add", "\"9\" />\n  <add").replace("\"2\"", "\"9\""));
    // A locator of an element around narrows what is in it.
    let inner = after(
        "<configuration><l p='1'><x/></l><l p='2'><x/></l></configuration>",
        "<l p='2' xdt:Locator='Match(p)'><x k='v' xdt:Transform='SetAttributes'/></l>",
    );
    assert_eq!(inner, "<configuration><l p='1'><x/></l><l p='2'><x k=\"v\"/></l></configuration>");
}

#[test]
fn match_takes_values_with_quotes_and_commas() {
    let target = "<configuration><add k=\"it's, &quot;so&quot;\"/><add k='x'/></configuration>";
    let out =
        after(target, "<add k=\"it's, &quot;so&quot;\" xdt:Locator='Match(k)' xdt:Transform='Remove'/>");
    assert_eq!(out, "<configuration><add k='x'/></configuration>");
}

#[test]
fn each_transform_does_what_its_name_says() {
    let check =
        |transforms: &str, expected: &str| assert_eq!(after(SHOP, transforms), expected, "{transforms}");
    let new = "<add key=\"n\" value=\"v\" xdt:Transform=";
    let line = "\n  <add key=\"n\" value=\"v\"/>";
    let first = "\n  <add key=\"a\" value=\"1\" />";
    let second = "\n  <add key=\"b\" value=\"2\" />";
    check(&format!("{new}\"Insert\"/>"), &SHOP.replace("</set>", &format!("</set>{line}")));
    check(&format!("{new}\"InsertIfMissing\"/>"), SHOP);
    check(
        &format!("{new}\"InsertIfMissing\" xdt:Locator=\"Match(key)\"/>"),
        &SHOP.replace("</set>", &format!("</set>{line}")),
    );
    check(
        &format!("{new}\"InsertBefore(/configuration/add[@key='b'])\"/>"),
        &SHOP.replace(second, &format!("{line}{second}")),
    );
    check(
        &format!("{new}\"InsertAfter(add[@key='b'])\"/>"),
        &SHOP.replace(second, &format!("{second}{line}")),
    );
    check(&format!("{new}\"Replace\"/>"), &SHOP.replace(first, line));
    check("<add xdt:Transform=\"Remove\"/>", &SHOP.replace(first, ""));
    check("<add xdt:Transform=\"RemoveAll\"/>", &SHOP.replace(first, "").replace(second, ""));
    check(
        "<add xdt:Transform=\"RemoveAttributes(value)\"/>",
        &SHOP.replace(" value=\"1\"", "").replace(" value=\"2\"", ""),
    );
    check(
        "<add xdt:Transform=\"RemoveAttributes\"/>",
        &SHOP.replace(first, "\n  <add />").replace(second, "\n  <add />"),
    );
    check(
        "<add key=\"b\" xdt:Locator=\"Match(key)\" xdt:Transform=\"CommentOut\"/>",
        &SHOP.replace("<add key=\"b\" value=\"2\" />", "<!-- <add key=\"b\" value=\"2\" /> -->"),
    );
    check(
        "<add value=\"$(key)-$(value)-$(none)-$(kind)\" kind=\"k\" xdt:Locator=\"Condition(1)\" xdt:Transform=\"SetTokenizedAttributes(value)\"/>",
        &SHOP.replace("value=\"1\"", "value=\"a-1-$(none)-k\""),
    );
    check(
        "<set xdt:Transform=\"Insert\"><y><z/></y><!-- c --></set>",
        &SHOP.replace(
            "  </set>\n",
            "  </set>\n  <set>\n    <y>\n      <z/>\n    </y>\n    <!-- c -->\n  </set>\n",
        ),
    );
    check(
        "<z xdt:Locator=\"XPath(/configuration/set)\" xdt:Transform=\"Insert\"/>",
        &SHOP.replace("<x n=\"1\" />", "<x n=\"1\" />\n    <z/>"),
    );
}

#[test]
fn what_comes_in_shows_nothing_of_the_transform() {
    let new = "<add xdt:Transform=\"Insert\"\n       key=\"n\"\n       value=\"v\" xdt:Locator=\"Match(key)\"\n       />";
    let out = after(SHOP, new);
    assert!(out.contains("</set>\n  <add key=\"n\"\n       value=\"v\"/>\n</configuration>"), "{out}");
}

#[test]
fn each_transform_sees_what_those_before_it_left() {
    let out = after(
        SHOP,
        "<add key='n' value='0' xdt:Transform='Insert'/><add key='n' value='1' xdt:Transform='SetAttributes(value)' xdt:Locator='Match(key)'/>\
         <set xdt:Transform='Replace'><x/><x k='1' xdt:Transform='SetAttributes(k)'/></set>",
    );
    assert!(out.contains("<add key='n' value='1'/>"), "{out}");
    assert!(out.contains("<x k=\"1\"/>\n    <x k='1'/>"), "{out}");
    assert!(!out.contains("xdt"), "{out}");
}

#[test]
fn namespaces_of_the_target_are_kept() {
    let target = "<configuration>\n  <runtime>\n    <assemblyBinding xmlns=\"urn:schemas-microsoft-com:asm.v1\">\n      <dependentAssembly>\n        <assemblyIdentity name=\"A\" />\n        <bindingRedirect newVersion=\"1\" />\n      </dependentAssembly>\n    </assemblyBinding>\n  </runtime>\n</configuration>";
    let out = after(
        target,
        "<runtime><assemblyBinding xmlns=\"urn:schemas-microsoft-com:asm.v1\">\
         <dependentAssembly xdt:Locator=\"Condition(_defaultNamespace:assemblyIdentity/@name='A')\"><bindingRedirect newVersion=\"2\" xdt:Transform=\"SetAttributes\"/></dependentAssembly>\
         <dependentAssembly xdt:Transform=\"Insert\"><assemblyIdentity name=\"B\"/></dependentAssembly></assemblyBinding></runtime>",
    );
    let expected = target.replace("\"1\"", "\"2\"").replace(
        "      </dependentAssembly>\n",
        "      </dependentAssembly>\n      <dependentAssembly>\n        <assemblyIdentity name=\"B\"/>\n      </dependentAssembly>\n",
    );
    assert_eq!(out, expected);
    let prefixed = after(
        "<configuration xmlns:q='urn:p'><a/></configuration>",
        "<a xmlns:p='urn:p' p:k='1' p:l='2' xdt:Transform='SetAttributes'/>",
    );
    assert_eq!(prefixed, "<configuration xmlns:q='urn:p'><a q:k=\"1\" q:l=\"2\"/></configuration>");
    let declared = after(
        "<configuration><a/></configuration>",
        "<a xmlns:p='urn:p' p:k='1' xdt:Transform='SetAttributes'/>",
    );
    assert_eq!(declared, "<configuration><a xmlns:p=\"urn:p\" p:k=\"1\"/></configuration>");
}

#[test]
fn what_matches_nothing_is_an_error_with_its_place() {
    let told = |transforms: &str| transformed(SHOP, transforms).unwrap_err().to_string();
    let message = told("\n  <adds value=\"1\" xdt:Transform=\"SetAttributes\"/>");
    assert_eq!(
        message,
        "line 2, column 19 of the transform file: nothing in the file matches /configuration/adds; correct the path or the locator, or write xdt:SupressWarnings=\"true\" if nothing may match"
    );
    let message = told("<sets><x xdt:Transform=\"Remove\"/></sets>");
    assert!(message.contains("/configuration/sets/x (up to /configuration/sets nothing does)"), "{message}");
    assert!(
        matches!(fault(SHOP, "<sets><x xdt:Transform=\"Insert\"/></sets>"), Fault::NoMatch { path, .. } if path == "/configuration/sets")
    );
    assert!(
        matches!(fault(SHOP, "<x xdt:Transform=\"InsertAfter(nothing)\"/>"), Fault::NoMatch { path, .. } if path == "/configuration/nothing")
    );

    let (text, done) =
        transformed(SHOP, "<adds xdt:Transform=\"Remove\" xdt:SupressWarnings=\"True\"/>").unwrap();
    assert_eq!(text, SHOP);
    assert_eq!(
        (done[0].changed, done[0].note.as_deref()),
        (0, Some("it matches nothing, and says that it may"))
    );
    assert!(matches!(
        fault(SHOP, "<adds xdt:Transform=\"Remove\" xdt:SupressWarnings=\"false\"/>"),
        Fault::NoMatch { .. }
    ));
}

#[test]
fn what_nobody_would_notice_is_noted() {
    let note = |transforms: &str| transformed(SHOP, transforms).unwrap().1.remove(0).note;
    assert_eq!(
        note("<add xdt:Transform=\"Remove\"/>").as_deref(),
        Some("2 elements match, and it is applied to the first only")
    );
    assert_eq!(
        note("<set xdt:Transform=\"RemoveAttributes(debug)\"/>").as_deref(),
        Some("already without debug")
    );
    assert_eq!(note("<set xdt:Transform=\"InsertIfMissing\"/>").as_deref(), Some("it is there already"));
    assert_eq!(note("<set k=\"1\" xdt:Transform=\"SetAttributes\"/>"), None);
}

#[test]
fn mistakes_in_the_transform_file_are_refused_before_anything_is_changed() {
    let told = |transforms: &str| fault(SHOP, transforms).to_string();
    assert_eq!(
        told("<add xdt:Transform=\"SetAtributes(value)\"/>"),
        "there is no transform `SetAtributes`; did you mean `SetAttributes`?"
    );
    assert_eq!(
        told("<add xdt:Transform=\"Remove\" xdt:Locator=\"match(key)\"/>"),
        "there is no locator `match`; did you mean `Match`?"
    );
    assert_eq!(
        told("<add xdt:Transfrom=\"Remove\"/>"),
        "there is no attribute xdt:`Transfrom`; did you mean `Transform`?"
    );
    assert!(told("<add xdt:Transform=\"Match\"/>").starts_with("there is no transform `Match`"));
    for malformed in ["SetAttributes:foo", "SetAttributes(foo", "#SetAttributes#", "", "(x)"] {
        assert!(
            matches!(
                fault(SHOP, &format!("<add foo='1' xdt:Transform='{malformed}'/>")),
                Fault::Malformed { .. }
            ),
            "{malformed}"
        );
    }
    assert_eq!(
        fault(SHOP, "<add xdt:Transform=\"InsertBefore\"/>"),
        Fault::NeedsExpression("InsertBefore".into())
    );
    assert!(matches!(fault(SHOP, "<add xdt:Transform=\"InsertBefore(foo, bar)\"/>"), Fault::XPath(_)));
    assert!(matches!(
        fault(SHOP, "<add xdt:Transform=\"InsertBefore(/configuration/add/@key)\"/>"),
        Fault::NotAnElement("an attribute")
    ));
    assert_eq!(fault(SHOP, "<add xdt:Transform=\"Replace(foo)\"/>"), Fault::TakesNothing("Replace".into()));
    assert!(
        matches!(fault(SHOP, "<add foo='1' xdt:Transform=\"SetAttributes(foo,bar)\"/>"), Fault::NoSuchAttribute { name, .. } if name == "bar")
    );
    assert!(matches!(
        fault(SHOP, "<add xdt:Transform=\"Remove\" xdt:Locator=\"Match(key)\"/>"),
        Fault::NoSuchAttribute { .. }
    ));
    assert_eq!(fault(SHOP, "<add xdt:Transform=\"Remove\" xdt:Locator=\"Match\"/>"), Fault::NeedsNames);
    assert_eq!(fault(SHOP, "<add xdt:Transform=\"SetAttributes\"/>"), Fault::NoAttributes);
    assert!(matches!(
        fault(SHOP, "<add v='{% p %}' xdt:Transform=\"SetTokenizedAttributes\"/>"),
        Fault::Directive(_)
    ));
    assert!(matches!(
        fault(SHOP, "<add xdt:Transform=\"Remove\" xdt:Locator=\"Condition(@key=)\"/>"),
        Fault::XPath(_)
    ));
    assert!(matches!(
        fault(SHOP, "<add xdt:Transform=\"Remove\" xdt:SupressWarnings=\"yes\"/>"),
        Fault::NotATruth(_)
    ));
    assert!(matches!(fault(SHOP, "<xdt:Foo/><add xdt:Transform=\"Remove\"/>"), Fault::UnknownElement(_)));
    assert!(matches!(
        fault(SHOP, "<xdt:Import path='x.dll'/><add xdt:Transform=\"Remove\"/>"),
        Fault::Import(_)
    ));
    assert!(matches!(
        fault(SHOP, "<xdt:Import path='x.dll' namespace='X'/><add xdt:Transform=\"Mine\"/>"),
        Fault::Imported { .. }
    ));
    assert!(
        after(SHOP, "<xdt:Import path='x.dll' namespace='X'/><set xdt:Transform=\"Remove\"/>")
            .ends_with("/>\n</configuration>\n")
    );
    assert_eq!(fault(SHOP, "<add/>"), Fault::NothingToDo);
    let plain = xdt::apply(&Text::of(SHOP), &Text::of("<configuration/>")).unwrap_err();
    assert!(matches!(plain, XdtError::Transform { fault: Fault::NoNamespace, .. }));
    assert!(matches!(
        fault("<configuration><set><!-- x --></set></configuration>", "<set xdt:Transform='CommentOut'/>"),
        Fault::Edit(_)
    ));
}
