use crate::xml::{Document, Edits, Text, XmlError};

fn utf16(text: &str, big: bool, mark: bool) -> Vec<u8> {
    let mark = if mark { "\u{feff}" } else { "" };
    let units = mark.encode_utf16().chain(text.encode_utf16()).collect::<Vec<_>>();
    units.into_iter().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

/// Sets an attribute and gives the bytes before and after it.
fn edited(bytes: &[u8], value: &str) -> Vec<u8> {
    let text = Text::decode(bytes).unwrap();
    let document = Document::parse(&text).unwrap();
    let mut edits = Edits::new(&document);
    edits.set_attribute(document.root_element(), "a", value).unwrap();
    edits.apply().unwrap().encode().unwrap()
}

#[test]
fn every_encoding_is_written_as_it_came() {
    let with = |encoding: &str, text: &str| {
        format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?>\r\n<r a='1'>{text}</r>\r\n")
    };
    for big in [false, true] {
        for mark in [false, true] {
            let before = utf16(&with("utf-16", "é€"), big, mark);
            assert_eq!(edited(&before, "1"), before);
            assert_eq!(edited(&before, "ä"), utf16(&with("utf-16", "é€").replace("'1'", "'ä'"), big, mark));
        }
    }
    let marked = |text: &str| [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat();
    assert_eq!(edited(&marked(&with("utf-8", "é")), "2"), marked(&with("utf-8", "é").replace("'1'", "'2'")));

    let latin = [with("iso-8859-1", "").as_bytes(), b""].concat();
    let latin = String::from_utf8(latin).unwrap().replace("</r>", "\u{1}</r>");
    let latin: Vec<u8> = latin.bytes().map(|byte| if byte == 1 { 0xe9 } else { byte }).collect();
    let after = edited(&latin, "€ä");
    assert!(
        after.windows(10).any(|window| window == b"'&#x20AC;\xe4"),
        "{}",
        String::from_utf8_lossy(&after)
    );

    let windows: Vec<u8> =
        with("windows-1252", "\u{1}").bytes().map(|byte| if byte == 1 { 0x80 } else { byte }).collect();
    let after = edited(&windows, "€");
    assert_eq!(after.iter().filter(|byte| **byte == 0x80).count(), 2);
}

#[test]
fn encodings_that_contradict_the_bytes_are_refused() {
    let utf8 = |encoding: &str| format!("<?xml version='1.0' encoding='{encoding}'?><r/>").into_bytes();
    assert!(matches!(Text::decode(&utf8("utf-16")), Err(XmlError::EncodingsDiffer { .. })));
    assert!(
        matches!(Text::decode(&utf8("klingon")), Err(XmlError::UnknownEncoding(name)) if name == "klingon")
    );
    assert!(matches!(
        Text::decode(&utf16("<?xml version='1.0' encoding='utf-8'?><r/>", true, true)),
        Err(XmlError::EncodingsDiffer { .. })
    ));
    let marked = [b"\xef\xbb\xbf".to_vec(), utf8("iso-8859-1")].concat();
    assert!(matches!(Text::decode(&marked), Err(XmlError::EncodingsDiffer { .. })));
    assert!(matches!(Text::decode(b"<r>\xff</r>"), Err(XmlError::NotText { .. })));
    assert!(matches!(Text::decode(b"<\0r\0/\0>"), Err(XmlError::NotText { .. })));
}

fn problem(xml: &str) -> XmlError {
    Document::parse(&Text::of(xml)).unwrap_err()
}

#[test]
fn entities_depth_and_brokenness_are_refused_with_their_place() {
    assert_eq!(problem("<!DOCTYPE r [<!ENTITY a 'x'>]><r>&a;</r>"), XmlError::Entities);
    assert_eq!(
        problem("<!DOCTYPE r [<!ENTITY % a SYSTEM 'file:///not/on/this/machine'> %a;]><r/>"),
        XmlError::Entities
    );
    assert!(matches!(
        problem(&format!("{}{}", "<a>".repeat(5000), "</a>".repeat(5000))),
        XmlError::TooDeep { .. }
    ));
    let XmlError::NotWellFormed { at, why } = problem("<a>\n  <b></c>\n</a>") else { panic!("well-formed?") };
    assert_eq!((at.line, at.column), (2, 6));
    assert!(!why.contains(" at "), "{why}");
    assert!(matches!(problem("<a>&nbsp;</a>"), XmlError::NotWellFormed { .. }));

    let text = Text::of(
        "<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0 Strict//EN' 'http://www.w3.org/x.dtd'><html/>",
    );
    assert!(Document::parse(&text).is_ok());
    let text = Text::of("<!DOCTYPE r [<!ELEMENT r ANY>]><r>&amp;&#65;</r>");
    assert!(Document::parse(&text).is_ok());
}
