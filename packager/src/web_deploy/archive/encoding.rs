//! XML in other encodings than UTF-8. Web Deploy writes UTF-8 only; what people put into gallery packages by hand comes as their
//! editors saved it, and Web Deploy reads it.

use std::borrow::Cow;

use encoding_rs::Encoding;

/// The longest declaration that is looked at.
const DECLARATION: usize = 200;

/// The document in UTF-8. Bytes that can't be decoded are left as they are, for the parser to refuse.
pub(crate) fn to_utf8(bytes: Vec<u8>) -> Vec<u8> {
    let Some(encoding) = other_encoding(&bytes) else { return bytes };
    match encoding.decode(&bytes) {
        (Cow::Borrowed(text), _, false) => text.as_bytes().to_vec(),
        (Cow::Owned(text), _, false) => text.into_bytes(),
        (_, _, true) => bytes,
    }
}

/// What the document's byte-order mark says, or else its declaration; `None` for UTF-8.
fn other_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let encoding = match Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding,
        None => Encoding::for_label(declared(bytes)?.as_bytes())?,
    };
    (encoding != encoding_rs::UTF_8).then_some(encoding)
}

/// The encoding in `<?xml version="1.0" encoding="iso-8859-1"?>`.
fn declared(bytes: &[u8]) -> Option<String> {
    let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(DECLARATION)]).into_owned();
    let declaration = begin.strip_prefix("<?xml")?.split("?>").next()?;
    let value = declaration.split("encoding").nth(1)?.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    Some(value[1..].split(quote).next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documents_are_read_as_their_editors_saved_them() {
        let text = |bytes: &[u8]| String::from_utf8(to_utf8(bytes.to_vec())).unwrap();
        let utf16: Vec<u8> = "\u{feff}<a x='é'/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(text(&utf16), "<a x='é'/>");
        let latin = b"<?xml version='1.0' encoding = 'ISO-8859-1' ?><a x='\xe9'/>";
        assert!(text(latin).ends_with("<a x='é'/>"));
        for same in
            ["<?xml version=\"1.0\" encoding=\"utf-8\"?><a/>", "\u{feff}<a/>", "<a encoding='utf-16'/>", ""]
        {
            assert_eq!(text(same.as_bytes()), same);
        }
        // An odd number of bytes is no UTF-16.
        assert_eq!(to_utf8(utf16[..5].to_vec()), &utf16[..5]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, prefix in "(<\\?xml [a-z0-9='\" -]{0,30})?") {
            to_utf8([prefix.as_bytes(), &bytes].concat());
        }
    }
}
