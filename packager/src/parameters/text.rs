//! Text files in the encoding that they came in.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How a file's bytes are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Utf8,
    Utf16Le,
    Utf16Be,
    /// No form of Unicode. Every byte is taken for the character of its number, so that all of them come through; which
    /// characters beyond ASCII they mean is not known.
    Bytes,
}

/// A file as text, and what brings it back.
#[derive(Debug)]
pub(super) struct TextFile {
    form: Form,
    mark: &'static [u8],
    pub(super) text: String,
}

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF16LE_MARK: &[u8] = b"\xff\xfe";
const UTF16BE_MARK: &[u8] = b"\xfe\xff";

impl TextFile {
    /// Reads a file by its mark; without one as UTF-8 if it is that, or else byte for byte. `Err` says why it can't be changed.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(b"\xff\xfe\0\0") || bytes.starts_with(b"\0\0\xfe\xff") {
            return Err("it is in UTF-32, which is not supported; save it as UTF-8".to_owned());
        }
        let marked = [
            (UTF8_MARK, Form::Utf8, UTF_8),
            (UTF16LE_MARK, Form::Utf16Le, UTF_16LE),
            (UTF16BE_MARK, Form::Utf16Be, UTF_16BE),
        ];
        let found = marked.into_iter().find(|(mark, ..)| bytes.starts_with(mark));
        if let Some((mark, form, encoding)) = found {
            let text = whole(encoding, &bytes[mark.len()..])
                .ok_or_else(|| format!("it is marked as {}, but is not valid {0}", encoding.name()))?;
            return Ok(Self { form, mark, text });
        }
        Ok(match std::str::from_utf8(bytes) {
            Ok(text) => Self { form: Form::Utf8, mark: b"", text: text.to_owned() },
            Err(_) => Self {
                form: Form::Bytes,
                mark: b"",
                text: bytes.iter().map(|byte| char::from(*byte)).collect(),
            },
        })
    }

    /// Whether a value can be written into it. `Err` says why not.
    pub(super) fn admits(&self, value: &str) -> Result<(), String> {
        if self.form == Form::Bytes && !value.is_ascii() {
            return Err(
                "it is not in Unicode, so it is not known how to write a value beyond ASCII into it; save it as UTF-8"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The bytes of this file with another text, which holds nothing that it did not admit.
    pub(super) fn encode(&self, text: &str) -> Vec<u8> {
        let mut bytes = self.mark.to_vec();
        match self.form {
            Form::Utf8 => bytes.extend_from_slice(text.as_bytes()),
            Form::Utf16Le => bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
            Form::Utf16Be => bytes.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Form::Bytes => bytes.extend(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))),
        }
        bytes
    }
}

fn whole(encoding: &'static Encoding, bytes: &[u8]) -> Option<String> {
    encoding.decode_without_bom_handling_and_without_replacement(bytes).map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_is_told_and_kept() {
        let forms: [(&[u8], &str); 5] = [
            (b"x y", "x y"),
            (b"\xef\xbb\xbfx", "x"),
            (b"\xff\xfex\0\x3b\x04", "xл"),
            (b"\xfe\xff\0x\x04\x3b", "xл"),
            (b"caf\xe9", "café"),
        ];
        for (bytes, text) in forms {
            let file = TextFile::decode(bytes).unwrap();
            assert_eq!(file.text, text);
            assert_eq!(file.encode(&file.text), bytes);
        }
        assert!(TextFile::decode(b"caf\xe9").unwrap().admits("é").is_err());
        for bad in [&b"\xff\xfe\0\0"[..], b"\xff\xfex", b"\xef\xbb\xbf\xff", b"\xff\xfe\0\xd8"] {
            TextFile::decode(bad).unwrap_err();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_is_written_back_as_it_was(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(file) = TextFile::decode(&bytes) {
                prop_assert_eq!(file.encode(&file.text), bytes);
            }
        }
    }
}
