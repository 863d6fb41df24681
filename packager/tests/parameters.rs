//! Parameters against what genuine Web Deploy did with the sample packages.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod golden {
    pub(crate) mod meaning;
    pub(crate) mod sample;
}

use std::collections::{BTreeMap, BTreeSet};

use golden::{meaning::meaning, sample::Sample};
use proptest::prelude::*;
use staith_packager::parameters::{
    ApplyError, Declarations, Fault, Kind, Resolved, Rewrite, Unresolved, Values, resolve,
};

fn resolved(sample: &Sample) -> Resolved {
    resolve(&sample.declared(), &sample.values()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What a package's files become, by their path at the destination.
fn applied(sample: &Sample, resolved: &Resolved) -> BTreeMap<String, Vec<u8>> {
    let mut applied = BTreeMap::new();
    for file in sample.files() {
        let rewritten =
            resolved.rewrite(&file.source_path, &file.bytes).unwrap_or_else(|error| panic!("{error}"));
        if let Rewrite::Rewritten { bytes, .. } = rewritten {
            applied.insert(file.path, bytes);
        }
    }
    applied
}

/// Cases in which ours does otherwise than Web Deploy, with what ours does and why.
const BETTER: [(&str, &[u8], &str); 9] = [
    ("t04-latin1.txt", b"Z caf\xe9\n", "bytes that are not UTF-8 come through instead of becoming U+FFFD"),
    ("t05-latin1-no-match.txt", b"x caf\xe9\n", "a file without a match is left alone"),
    ("t06-bom.txt", b"\xef\xbb\xbfZ y\n", "the mark stays"),
    ("t07-bom-no-match.txt", b"\xef\xbb\xbfx y\n", "a file without a match is left alone"),
    (
        "t08-utf16be.txt",
        b"\xfe\xff\x00Z\x00 \x04\x3b\x04\x30\x04\x3c\x04\x3f\x04\x30\x00\n",
        "UTF-16 stays UTF-16",
    ),
    ("t16-nul.txt", b"Z\0y\0\xff\xfe\n", "bytes that are not UTF-8 come through"),
    ("r04-chain.txt", b"123A from the file\n", "chains of references resolve in whole"),
    (
        "x15-attribute-characters.xml",
        b"<r a=\"one&#13;&#10;two&#10;&#9;three &lt;&amp;&gt;&quot;'\"/>",
        "a tab in an attribute stays one: written as it is, readers take it for a space",
    ),
    (
        "x22-character-references.xml",
        b"<r a=\"Z\" b=\"&#10;&#9;&#x1F3EE;&gt;\">&#x1F3EE;&#13;&gt;]]&gt;</r>",
        "references of the file stay, so a tab and a carriage return stay what they are",
    ),
];

/// Cases in which ours refuses what Web Deploy lets pass: references in a circle.
const CIRCLES: [&str; 2] = ["r02-cycle.txt", "r03-own-name.txt"];

/// The cases of which ours says that the parameter changed nothing, where Web Deploy says so to nobody.
const UNMATCHED: [&str; 14] = [
    "t02-caret.txt",
    "t05-latin1-no-match.txt",
    "t07-bom-no-match.txt",
    "t15-empty.txt",
    "x02-element-plain-value.xml",
    "x03-element-two-roots.xml",
    "x05-comment.xml",
    "x07-no-match.xml",
    "x08-doctype.xml",
    "x10-default-namespace.xml",
    "x12-malformed.xml",
    "x13-cdata.xml",
    "x19-processing-instruction.xml",
    "x23-empty-text.xml",
];

#[test]
fn each_of_the_forty_nine_cases_ends_as_with_web_deploy_or_better() {
    let sample = Sample::open("parameter-cases", "Content/cases/", "cases\\");
    let told = resolve(&sample.declared(), &sample.values()).unwrap_err();
    let circles: Vec<_> = told.0.iter().map(ToString::to_string).collect();
    assert_eq!(circles.len(), 2, "{told}");
    assert!(circles[0].contains("Cycle 1 → Cycle 2 → Cycle 1"), "{told}");
    assert!(circles[1].contains("r03-own-name.txt/1 → r03-own-name.txt/1"), "{told}");

    // The rest of them, without the circles.
    let mut values = sample.values();
    for setting in ["Cycle 1=x", "r03-own-name.txt/1=x"] {
        values.set(setting, &sample.declared()).unwrap();
    }
    let resolved = resolve(&sample.declared(), &values).unwrap();
    resolved.provider_path("iisApp", "cases").unwrap().unwrap();
    let (ours, files) = (applied(&sample, &resolved), sample.files());
    assert_eq!(files.len(), 49);
    let better: BTreeMap<_, _> = BETTER.into_iter().map(|(name, bytes, _)| (name, bytes)).collect();
    for file in files {
        let name = file.path.as_str();
        if CIRCLES.contains(&name) {
            continue;
        }
        let found = ours.get(name).unwrap_or(&file.bytes);
        if let Some(better) = better.get(name) {
            assert_eq!(found, better, "{name}");
            assert!(!sample.expected(&file).contains(found), "{name} is no better than Web Deploy's");
        } else if name.ends_with(".xml") {
            let expected: Vec<_> = sample.expected(&file).iter().map(|bytes| meaning(bytes)).collect();
            assert!(expected.contains(&meaning(found)), "{name}: {}", String::from_utf8_lossy(found));
        } else {
            assert!(sample.expected(&file).contains(found), "{name}: {}", String::from_utf8_lossy(found));
        }
    }
    let unmatched: BTreeSet<_> = resolved
        .unmatched()
        .into_iter()
        .map(|unmatched| unmatched.parameter.split('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(unmatched, UNMATCHED.map(str::to_owned).into());
}

#[test]
fn what_kept_a_parameter_from_matching_is_said() {
    let sample = Sample::open("parameter-cases", "Content/cases/", "cases\\");
    let mut values = sample.values();
    for setting in ["Cycle 1=x", "r03-own-name.txt/1=x"] {
        values.set(setting, &sample.declared()).unwrap();
    }
    let resolved = resolve(&sample.declared(), &values).unwrap();
    applied(&sample, &resolved);
    let told: String = resolved.unmatched().iter().map(|unmatched| format!("{unmatched}\n")).collect();
    for why in [
        "`x12-malformed.xml/1` changed nothing: its XmlFile entry for `//@a`",
        "line 1, column 1",
        "the value is not one well-formed element",
        "a comment",
        "a CDATA section",
        "a processing instruction",
        "entities",
    ] {
        assert!(told.contains(why), "{why}\n{told}");
    }
}

#[test]
fn files_keep_all_bytes_that_are_not_meant() {
    let sample = Sample::open("parameter-cases", "Content/cases/", "cases\\");
    let mut values = sample.values();
    for setting in ["Cycle 1=x", "r03-own-name.txt/1=x"] {
        values.set(setting, &sample.declared()).unwrap();
    }
    let ours = applied(&sample, &resolve(&sample.declared(), &values).unwrap());
    let expected: [(&str, &[u8]); 4] = [
        ("x16-standalone.xml", b"<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"yes\" ?>\n<r a=\"Z\" />\n"),
        (
            "x20-spacing.xml",
            b"<?xml version=\"1.0\"?>\r\n\r\n<r\r\n   a = \"Z\"\r\n   b='it\"s' >\r\n\t<c  />\r\n\t<d></d>\r\n  mixed <e/> text\r\n</r>\r\n<!-- after -->\r\n",
        ),
        ("x22-character-references.xml", "<r a=\"Z\" b=\"&#10;&#9;&#x1F3EE;&gt;\">&#x1F3EE;&#13;&gt;]]&gt;</r>".as_bytes()),
        ("x17-bom-no-declaration.xml", b"\xef\xbb\xbf<r a=\"Z\" />"),
    ];
    for (name, bytes) in expected {
        assert_eq!(String::from_utf8_lossy(&ours[name]), String::from_utf8_lossy(bytes), "{name}");
    }
}

/// The packages with what is in front of their content in the zip and at the source.
fn packages() -> Vec<Sample> {
    vec![
        Sample::open("iisapp", "Content/C_C/build/shop/", "C:\\build\\shop\\"),
        Sample::open("contentpath", "Content/C_C/build/pages/", "C:\\build\\pages\\"),
        Sample::open("dirpath", "Content/C_C/build/pages/", "C:\\build\\pages\\"),
        Sample::open("dbfullsql", "Content/C_C/build/kiosk/", "C:\\build\\kiosk\\"),
        Sample::open("setacl", "Content/C_C/build/kiosk/", "C:\\build\\kiosk\\"),
        Sample::open("gallery", "LanternKiosk/", "LanternKiosk\\"),
        Sample::open(
            "sdk",
            "Content/C_C/build/LanternLane.Api/obj/Release/net8.0/PubTmp/Out/",
            "C:\\build\\LanternLane.Api\\obj\\Release\\net8.0\\PubTmp\\Out\\",
        ),
        Sample::open("filepath", "Content/C_C/build/single/", "C:\\build\\single\\"),
    ]
}

/// Files that only their encoding tells from Web Deploy's: UTF-16 stays UTF-16, and a mark stays.
const OTHER_ENCODING: [&str; 2] = ["templates/mail.ru.txt", "templates/utf16.txt"];

#[test]
fn packages_are_applied_as_by_web_deploy() {
    for sample in packages() {
        let mut declared = sample.declared();
        if sample.name == "iisapp" {
            // Web Deploy passes over values of undeclared parameters in silence.
            let told = resolve(&declared, &sample.values()).unwrap_err();
            assert!(
                matches!(&told.0[..], [Unresolved::Unknown { name, .. }] if name == "Not Declared"),
                "{told}"
            );
            let more =
                declared.to_xml().replace("</parameters>", "<parameter name=\"Not Declared\"/></parameters>");
            declared = Declarations::read(more.as_bytes()).unwrap();
        }
        let resolved = resolve(&declared, &sample.values()).unwrap_or_else(|errors| panic!("{errors}"));
        let ours = applied(&sample, &resolved);
        assert!(!ours.is_empty());
        for file in sample.files() {
            let found = ours.get(&file.path).unwrap_or(&file.bytes);
            let expected = sample.expected(&file);
            let is_xml = [".xml", ".config"].iter().any(|end| file.path.to_lowercase().ends_with(end));
            let is_same = if is_xml {
                expected.iter().any(|bytes| meaning(bytes) == meaning(found))
            } else if OTHER_ENCODING.contains(&file.path.as_str()) {
                let (text, ..) = encoding_rs::UTF_8.decode(found);
                expected.iter().any(|bytes| String::from_utf8_lossy(bytes) == text)
            } else {
                expected.contains(found)
            };
            assert!(is_same, "{}: {}\n{}", sample.name, file.path, String::from_utf8_lossy(found));
        }
    }
}

#[test]
fn providers_get_their_paths() {
    let path = |resolved: &Resolved, provider: &str, path: &str| {
        resolved.provider_path(provider, path).unwrap().map(|value| value.expose_to(str::to_owned))
    };
    let acl = resolved(&Sample::open("setacl", "", ""));
    assert_eq!(path(&acl, "setAcl", r"C:\build\kiosk").as_deref(), Some(r"C:\site"));
    assert_eq!(path(&acl, "setAcl", r"C:\build\kiosk\App_Data").as_deref(), Some(r"C:\site/App_Data"));
    assert_eq!(path(&acl, "contentPath", r"C:\build\kiosk"), None);
    let sql = resolved(&Sample::open("dbfullsql", "", ""));
    let database = sql.provider_path("dbFullSql", r"C:\build\sql\create-shop.sql").unwrap().unwrap();
    assert!(database.is_secret() && !format!("{database:?} {sql:?}").contains("invented"));
    let windows = sql.for_windows();
    assert_eq!(windows.len(), 1);
    assert_eq!((windows[0].kind, windows[0].parameter.as_str()), (Kind::SqlCommandVariable, "Shop Owner"));
    let missing: Vec<_> = sql.unmatched().into_iter().map(|unmatched| unmatched.parameter).collect();
    assert_eq!(missing, ["IIS Web Application Name", "Kiosk-Web.config Connection String"]);
}

#[test]
fn declarations_read_as_web_deploy_reads_them() {
    for name in ["iisapp", "contentpath", "dirpath", "dbfullsql", "gallery", "setacl"] {
        let sample = Sample::open(name, "", "");
        let theirs = Declarations::read(&Sample::file(&format!("{name}.getParameters.xml"))).unwrap();
        assert_eq!(sample.declared(), theirs, "{name}");
        assert!(theirs.notes().is_empty(), "{:?}", theirs.notes());
        let again = Declarations::read(theirs.to_xml().as_bytes()).unwrap();
        assert_eq!((&again, again.to_xml()), (&theirs, theirs.to_xml()), "{name}");
    }
    let sdk = Sample::open("sdk", "", "").declared();
    assert_eq!(
        sdk.get("iis web application name").unwrap().default.as_deref(),
        Some("Default Web Site/LanternLane.Api")
    );
}

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
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

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
