//! Declarations, values and packages that have them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod golden {
    pub(crate) mod sample;
}

use golden::sample::Sample;
use proptest::prelude::*;
use staith_packager::{
    parameters::{ApplyError, Declarations, Fault, Kind, Rewrite, Values, resolve},
    web_deploy::{Content, PackageReader, WriteError},
};

fn refusal(inside: &str) -> String {
    Declarations::read(format!("<parameters>\n{inside}\n</parameters>").as_bytes()).unwrap_err().to_string()
}

#[test]
fn broken_declarations_are_refused_with_their_places() {
    let entry = |attributes: &str| {
        refusal(&format!("<parameter name='P'>\n <parameterEntry {attributes}/></parameter>"))
    };
    let cases = [
        (
            entry("kind='XmlFle' scope='x' match='y'"),
            "line 3, column 24: parameter `P`: `XmlFle` is no kind of entry (did you mean `XmlFile`?)",
        ),
        (entry("kind='XmlFile' scope='x' match='//add[@key='"), "line 3, column 50"),
        (entry("kind='XmlFile' scope='x' match='count(//r)'"), "selects no nodes"),
        (entry("kind='TextFile' scope='x' match='('"), "`(` can't be used as a .NET regular expression"),
        (entry("kind='TextFile' scope='[' match='x'"), "scope: `[`"),
        (entry("kind='TextFile' scope='x'"), "`parameterEntry` needs the attribute `match`"),
        (entry("kind='TextFilePosition' scope='x' match='0;1;1'"), "`0;1;1` is no position"),
        (entry("scope='x' match='x'"), "`parameterEntry` needs the attribute `kind`"),
        (refusal("<parameter />"), "line 2, column 1: `parameter` needs the attribute `name`"),
        (refusal("<parameter name='A'/><parameter name='a'/>"), "there is a parameter `a` already"),
        (
            refusal("<parameter name='A'><parameterValidation kind='Bool'/></parameter>"),
            "`Bool` is no kind of validation",
        ),
        (
            refusal("<parameter name='A'><parameterValidation kind='Enumeration'/></parameter>"),
            "needs its values",
        ),
        (refusal("<parameter name='A' Name='B'/>"), "`name` is given twice"),
        (refusal("<setParameter name='A' value='B'/>"), "sets values"),
        (refusal("<parameter name='A'>"), "line 3"),
        (refusal("<!DOCTYPE x><parameter name='A'/>"), "not well-formed"),
    ];
    for (told, expected) in cases {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let two =
        refusal("<parameter name='A'><parameterEntry kind='x' scope='(' match='x'/></parameter><parameter/>");
    assert_eq!(two.lines().count(), 3, "{two}");
    let other = Declarations::read(b"<configuration/>").unwrap_err();
    assert!(matches!(other.0[0].fault, Fault::Root { .. }), "{other}");
    for (broken, place) in
        [("12-bad-xpath", "line 6, column 64"), ("13-malformed-parameters", "line 5, column")]
    {
        let told =
            Declarations::read(&Sample::open(&format!("errors/{broken}"), "", "").parameters()).unwrap_err();
        assert!(told.to_string().contains(place), "{broken}: {told}");
    }
}

#[test]
fn what_would_cost_too_much_is_refused() {
    let many = "<parameter name='P'>".to_owned()
        + &"<parameterEntry kind='TextFile' scope='a' match='b'/>".repeat(1001)
        + "</parameter>";
    let heavy: String =
        (0..40).map(|n| format!("<parameter name='{n}'><parameterEntry kind='TextFile' scope='a' match='\\w{{20}}'/></parameter>")).collect();
    let parameters: String = (0..1001).map(|n| format!("<parameter name='{n}'/>")).collect();
    for (inside, expected) in [(many, "1,000"), (parameters, "1,000"), (heavy, "32 regular expressions")] {
        let told = refusal(&inside);
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let deep = "<a>".repeat(1000) + &"</a>".repeat(1000);
    refusal(&deep);
}

#[test]
fn what_is_not_understood_is_noted() {
    let xml = "<parameters>\n<parameter name='A' defaultValeu='x'><hint/></parameter><other/></parameters>";
    let noted: Vec<_> = Declarations::read(xml.as_bytes())
        .unwrap()
        .notes()
        .iter()
        .map(|note| (note.line, note.what.clone()))
        .collect();
    let expected =
        ["the attribute `defaultValeu` of `parameter`", "the element `hint`", "the element `other`"];
    assert_eq!(noted, expected.map(|what| (2, what.to_owned())));
}

#[test]
fn positions_are_replaced_and_what_may_match_nothing_is_let_off() {
    let xml = r#"<parameters>
        <parameter name="User" defaultValue="shop"><parameterEntry kind="TextFilePosition" scope="config\.php$" match="2;3;4" /></parameter>
        <parameter name="Far" defaultValue="x"><parameterEntry kind="TextFilePosition" scope="config\.php$" match="9;1;1" /></parameter>
        <parameter name="May" defaultValue="x" tags="maymatchnothing"><parameterEntry kind="TextFile" scope="none" match="x" /></parameter>
        <parameter name="This" defaultValue="x"><parameterEntry kind="TextFile" scope="none" match="x" tags="MayMatchNothing" /><parameterEntry kind="TextFile" scope="^none$" match="x" /></parameter>
        <parameter name="Binding" defaultValue="*:80:"><parameterEntry kind="DestinationBinding" scope="Default Web Site" match=":80" /></parameter>
    </parameters>"#;
    let resolved = resolve(&Declarations::read(xml.as_bytes()).unwrap(), &Values::default()).unwrap();
    let Rewrite::Rewritten { bytes, by, misses } =
        resolved.rewrite("app\\config.php", "é\nä'user'\n".as_bytes()).unwrap()
    else {
        panic!("it was not rewritten")
    };
    assert_eq!((String::from_utf8(bytes).unwrap(), by), ("é\nä'shop'\n".to_owned(), vec!["User".to_owned()]));
    assert!(misses[0].why.contains("3 lines"), "{misses:?}");
    assert_eq!(resolved.rewrite("other", b"").unwrap(), Rewrite::Untouched);
    let unmatched: Vec<_> =
        resolved.unmatched().into_iter().map(|left| (left.parameter, left.scope)).collect();
    assert_eq!(
        unmatched,
        [("Far".to_owned(), "config\\.php$".to_owned()), ("This".to_owned(), "^none$".to_owned())]
    );
    assert_eq!(resolved.for_windows()[0].kind, Kind::DestinationBinding);
}

#[test]
fn a_value_that_a_file_cannot_hold_is_refused_without_showing_it() {
    let xml = r#"<parameters><parameter name="Key" tags="Password"><parameterEntry kind="TextFile" scope="txt$" match="x" />
        <parameterEntry kind="XmlFile" scope="xml$" match="//@a" /></parameter></parameters>"#;
    let declared = Declarations::read(xml.as_bytes()).unwrap();
    let mut values = Values::default();
    values.set("Key=пароль\u{1}", &declared).unwrap();
    let resolved = resolve(&declared, &values).unwrap();
    for (path, bytes) in [("a.txt", &b"x \xe9"[..]), ("a.xml", b"<r a=''/>")] {
        let refused = resolved.rewrite(path, bytes).unwrap_err();
        assert!(matches!(refused, ApplyError::Impossible { .. }), "{refused}");
        assert!(!refused.to_string().contains("пароль") && refused.to_string().contains(path), "{refused}");
    }
}

#[test]
fn a_file_to_fill_in_has_no_secrets() {
    let xml = r#"<parameters><parameter name="Key" defaultValue="hunter2" tags="Password" />
        <parameter name="Db" defaultValue="Server=.;Pwd=hunter2" /><parameter name="Hid" defaultValue="x" tags="Hidden" />
        <parameter name="Shop" defaultValue="&lt;&quot;A&quot;&#10;" /></parameters>"#;
    let declared = Declarations::read(xml.as_bytes()).unwrap();
    let file = declared.to_set_parameters_xml();
    assert!(!file.contains("hunter2") && !file.contains("Hid"), "{file}");
    let mut values = Values::default();
    values.add_file(file.as_bytes(), "x").unwrap();
    values.set("Key=k", &declared).unwrap();
    values.set("Db=d", &declared).unwrap();
    let resolved = resolve(&declared, &values).unwrap();
    assert_eq!(resolved.value("shop").unwrap().shown(), "<\"A\"\n");
}

/// The package of a tree with one file that declares `xml`.
fn packed(xml: &str) -> Result<Vec<u8>, WriteError> {
    let scratch = tempfile::tempdir().unwrap();
    let mut content =
        common::content(scratch.path(), &common::tree([("web.config", common::file("<r a='1'/>"))]));
    content.parameters = Declarations::read(xml.as_bytes()).unwrap();
    common::pack(&content).map(|(bytes, _)| bytes)
}

fn opened(bytes: &[u8]) -> Declarations {
    let (_directory, path) = common::on_disk(bytes);
    PackageReader::open(&path).unwrap().declarations().unwrap()
}

#[test]
fn a_package_declares_the_application_first_and_then_what_is_declared() {
    let xml = r#"<parameters><parameter name="A" defaultValue="1"><parameterEntry type="XmlFile" scope="\\web\.config$" match="//@a" /></parameter>
        <parameter name="iis web application name" defaultValue="Shop/live" friendlyName="Where"><parameterEntry kind="ProviderPath" scope="setAcl" match="x" /></parameter>
        </parameters>"#;
    let declared = opened(&packed(xml).unwrap());
    let expected = r#"<?xml version="1.0" encoding="utf-8"?>
<parameters>
  <parameter name="IIS Web Application Name" friendlyName="Where" description="Site and path where the application is installed, for example Default Web Site/app." defaultValue="Shop/live" tags="IisApp">
    <parameterEntry kind="ProviderPath" scope="IisApp" match="^app$" />
    <parameterEntry kind="ProviderPath" scope="setAcl" match="x" />
  </parameter>
  <parameter name="A" defaultValue="1">
    <parameterEntry kind="XmlFile" scope="\\web\.config$" match="//@a" />
  </parameter>
</parameters>
"#;
    assert_eq!(declared.to_xml(), expected);
    let resolved = resolve(&declared, &Values::default()).unwrap();
    let path = resolved.provider_path("iisApp", "app").unwrap().unwrap();
    assert_eq!(path.shown(), "Shop/live");
    assert!(matches!(resolved.rewrite("app\\web.config", b"<r a='0'/>"), Ok(Rewrite::Rewritten { .. })));
    // However it is spelled, equal declarations make equal packages; other declarations make another.
    let spelled = xml.replace("type=", "KIND=").replace("defaultValue=\"1\"", "value='1'");
    assert_eq!(packed(xml).unwrap(), packed(&spelled).unwrap());
    assert_ne!(packed(xml).unwrap(), packed(&xml.replace("\"1\"", "\"2\"")).unwrap());
}

#[test]
fn a_package_that_would_give_a_secret_away_is_not_written() {
    let refused =
        packed("<parameters><parameter name='Db' defaultValue='Server=.;Password=hunter2'/></parameters>");
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("`Db` holds a password") && !told.contains("hunter2"), "{told}");
}

#[test]
fn parameters_are_in_the_version_of_a_package() {
    let plain = Content::default();
    let parameters = Declarations::read(b"<parameters><parameter name='A'/></parameters>").unwrap();
    let declaring = Content { parameters, ..Content::default() };
    assert_eq!(plain.digest(), plain.manifest.digest());
    assert_ne!(declaring.digest(), plain.digest());
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let sources = ["iisapp", "gallery", "dbfullsql"].map(|name| Sample::open(name, "", "").parameters());
    let piece = prop_oneof![
        prop::sample::select(vec![
            "<",
            ">",
            "\"",
            "&",
            "]]>",
            "<!--",
            "{IIS Web Application Name}",
            "(",
            "\\",
            "//",
            "[",
            "\u{0}",
            "é"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    let change = (any::<prop::sample::Index>(), 0..8usize, piece);
    (prop::sample::select(sources.to_vec()), prop::collection::vec(change, 0..6)).prop_map(
        |(mut bytes, changes)| {
            for (at, gone, come) in changes {
                let at = at.index(bytes.len() + 1);
                let end = (at + gone).min(bytes.len());
                bytes.splice(at..end, come);
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_declarations_make_it_panic_and_their_spelling_stays(bytes in mutated()) {
        if let Ok(declared) = Declarations::read(&bytes) {
            let again = Declarations::read(declared.to_xml().as_bytes()).unwrap();
            prop_assert_eq!(again.parameters(), declared.parameters());
            if let Ok(resolved) = resolve(&declared, &Values::default()) {
                for (path, bytes) in [("x\\web.config", &b"<r a='1'>t</r>"[..]), ("visits.csv", b"1,2\n"), ("y", &bytes)] {
                    let _ = resolved.rewrite(path, bytes);
                }
            }
        }
    }

    #[test]
    fn any_value_comes_through_xml_whole(value in "[ -~а-я\n\t\r<&>\"']{0,20}", mark in any::<bool>()) {
        let xml = r#"<parameters><parameter name="P" defaultValue=""><parameterValidation kind="AllowEmpty"/>
            <parameterEntry kind="XmlFile" scope="xml$" match="//@a | //b/text()" /></parameter></parameters>"#;
        let declared = Declarations::read(xml.as_bytes()).unwrap();
        let mut values = Values::default();
        values.set(&format!("P={value}"), &declared).unwrap();
        let source = format!("{}<r a='1'>\r\n <b>t</b></r>", if mark { "\u{feff}" } else { "" });
        let rewritten = resolve(&declared, &values).unwrap().rewrite("x.xml", source.as_bytes()).unwrap();
        let Rewrite::Rewritten { bytes, .. } = rewritten else { panic!("{rewritten:?}") };
        let text = String::from_utf8(bytes).unwrap();
        let document = roxmltree::Document::parse(text.trim_start_matches('\u{feff}')).unwrap();
        let root = document.root_element();
        prop_assert_eq!(root.attribute("a"), Some(value.as_str()));
        let inside: String = root.first_element_child().unwrap().text().unwrap_or_default().to_owned();
        // In texts, a line ends as lines of the file do, and readers get a line feed.
        prop_assert_eq!(inside.replace('\r', ""), value.replace('\r', ""));
    }
}
