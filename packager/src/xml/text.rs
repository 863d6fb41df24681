//! The bytes of a file as text, and back.

use encoding_rs::Encoding;

use crate::xml::XmlError;

/// Bytes of the largest file that is taken: configuration is small, and each transform reads it anew.
const LARGEST: usize = 32 * 1024 * 1024;
/// Declarations are short; what comes later is not looked at for one.
const DECLARATION: usize = 256;

/// The text of a file, and how its bytes made it: encoding and byte-order mark.
#[derive(Debug, Clone)]
pub struct Text {
    text: String,
    encoding: TextEncoding,
    mark: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextEncoding {
    Utf8,
    Utf16 {
        big: bool,
    },
    /// Each byte up to the bound is the character of that number; .NET's own ISO-8859-1 and US-ASCII, which are not the Web's.
    Plain {
        name: &'static str,
        most: u8,
    },
    Other(&'static Encoding),
}

impl Text {
    /// Reads an XML file's text: by its byte-order mark, by its first bytes, by what its declaration says, else as UTF-8.
    ///
    /// # Errors
    /// An unknown encoding, one that contradicts the bytes, bytes that are no text, or more than is taken.
    pub fn decode(bytes: &[u8]) -> Result<Self, XmlError> {
        if bytes.len() > LARGEST {
            return Err(XmlError::TooLarge { size: bytes.len(), most: LARGEST });
        }
        let (found, mark) = look_at(bytes);
        let rest = &bytes[mark..];
        let mark = mark > 0;
        let encoding = match found {
            Some(TextEncoding::Utf16 { .. }) => found.unwrap_or(TextEncoding::Utf8),
            _ => declared(rest).map_or(Ok(TextEncoding::Utf8), |name| by_name(&name, mark))?,
        };
        let text =
            encoding.decode(rest).ok_or_else(|| XmlError::NotText { encoding: encoding.name().into() })?;
        if let TextEncoding::Utf16 { .. } = encoding {
            agree_on_utf16(&text)?;
        }
        Ok(Self { text, encoding, mark })
    }

    /// The text of a file that is made here: UTF-8 without a mark.
    pub fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), encoding: TextEncoding::Utf8, mark: false }
    }

    /// The text, without its byte-order mark.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Another text in the same encoding and with the same mark.
    #[must_use]
    pub fn with(&self, text: String) -> Self {
        Self { text, encoding: self.encoding, mark: self.mark }
    }

    /// The bytes of this text in its encoding, with its mark.
    ///
    /// # Errors
    /// The text holds a character that the encoding lacks; never where the text is as it was read.
    pub fn encode(&self) -> Result<Vec<u8>, XmlError> {
        let mut bytes = if self.mark { self.encoding.mark().to_vec() } else { Vec::new() };
        match self.encoding {
            TextEncoding::Utf8 => bytes.extend_from_slice(self.text.as_bytes()),
            TextEncoding::Utf16 { big } => bytes.extend(
                self.text
                    .encode_utf16()
                    .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }),
            ),
            TextEncoding::Plain { most, .. } => {
                for character in self.text.chars() {
                    match u8::try_from(u32::from(character)) {
                        Ok(byte) if byte <= most => bytes.push(byte),
                        _ => return Err(self.lacks(character)),
                    }
                }
            }
            TextEncoding::Other(encoding) => {
                let (encoded, _, lossy) = encoding.encode(&self.text);
                if lossy {
                    let missing = self.text.chars().find(|character| !self.can_hold(*character));
                    return Err(self.lacks(missing.unwrap_or('\u{fffd}')));
                }
                bytes.extend_from_slice(&encoded);
            }
        }
        Ok(bytes)
    }

    /// Whether a character can be written as itself; others can be written as references where XML allows them.
    pub fn can_hold(&self, character: char) -> bool {
        match self.encoding {
            TextEncoding::Utf8 | TextEncoding::Utf16 { .. } => true,
            TextEncoding::Plain { most, .. } => u32::from(character) <= u32::from(most),
            TextEncoding::Other(encoding) => {
                let mut room = [0; 4];
                !encoding.encode(character.encode_utf8(&mut room)).2
            }
        }
    }

    /// How the file ends its lines, told by its first line: where it has only one, `\n`.
    pub fn newline(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if self.text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }

    fn lacks(&self, character: char) -> XmlError {
        XmlError::NotInEncoding { character, encoding: self.encoding.name().into() }
    }
}

impl TextEncoding {
    fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16 { big: true } => "UTF-16BE",
            Self::Utf16 { big: false } => "UTF-16LE",
            Self::Plain { name, .. } => name,
            Self::Other(encoding) => encoding.name(),
        }
    }

    fn mark(self) -> &'static [u8] {
        match self {
            Self::Utf8 => b"\xef\xbb\xbf",
            Self::Utf16 { big: true } => b"\xfe\xff",
            Self::Utf16 { big: false } => b"\xff\xfe",
            Self::Plain { .. } | Self::Other(_) => b"",
        }
    }

    /// The text of the bytes, if they are text that can be written back as it is.
    fn decode(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Utf8 => String::from_utf8(bytes.to_vec()).ok(),
            Self::Utf16 { big } => {
                let (pairs, odd) = bytes.as_chunks::<2>();
                let units = pairs
                    .iter()
                    .map(|&pair| if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) });
                odd.is_empty().then(|| char::decode_utf16(units).collect::<Result<String, _>>().ok())?
            }
            Self::Plain { most, .. } => bytes
                .iter()
                .all(|byte| *byte <= most)
                .then(|| bytes.iter().map(|byte| char::from(*byte)).collect()),
            Self::Other(encoding) => {
                let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
                // Some encodings say one character in several ways; a file that would come back otherwise is refused.
                (encoding.encode(&text).0 == bytes).then(|| text.into_owned())
            }
        }
    }
}

/// What the first bytes say, and how long the byte-order mark is.
fn look_at(bytes: &[u8]) -> (Option<TextEncoding>, usize) {
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => (Some(TextEncoding::Utf8), 3),
        [0xff, 0xfe, ..] => (Some(TextEncoding::Utf16 { big: false }), 2),
        [0xfe, 0xff, ..] => (Some(TextEncoding::Utf16 { big: true }), 2),
        [b'<', 0, ..] => (Some(TextEncoding::Utf16 { big: false }), 0),
        [0, b'<', ..] => (Some(TextEncoding::Utf16 { big: true }), 0),
        _ => (None, 0),
    }
}

/// The encoding that the declaration names, if there is one.
fn declared(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(DECLARATION)]).into_owned();
    let declaration = head.strip_prefix("<?xml")?.split_once("?>")?.0;
    let (_, after) = declaration.split_once("encoding")?;
    let value = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    Some(value[1..].split_once(quote)?.0.to_owned())
}

/// The encoding of a name, for bytes that are not UTF-16.
fn by_name(name: &str, utf8_mark: bool) -> Result<TextEncoding, XmlError> {
    let lower = name.to_ascii_lowercase();
    let differ = |found| Err(XmlError::EncodingsDiffer { declared: name.to_owned(), found });
    let encoding = match lower.as_str() {
        "utf-8" | "utf8" => return Ok(TextEncoding::Utf8),
        "utf-16" | "utf-16le" | "utf-16be" | "unicode" | "ucs-2" | "iso-10646-ucs-2" | "utf-32" | "ucs-4" => {
            return differ("not");
        }
        "us-ascii" | "ascii" => TextEncoding::Plain { name: "US-ASCII", most: 0x7f },
        "iso-8859-1" | "latin1" | "iso_8859-1" | "l1" => {
            TextEncoding::Plain { name: "ISO-8859-1", most: 0xff }
        }
        _ => match Encoding::for_label(lower.as_bytes()) {
            Some(encoding) if encoding.output_encoding() == encoding && encoding.is_ascii_compatible() => {
                TextEncoding::Other(encoding)
            }
            _ => return Err(XmlError::UnknownEncoding(name.to_owned())),
        },
    };
    if utf8_mark { differ("marked as UTF-8") } else { Ok(encoding) }
}

/// A declaration within UTF-16 text has to say so, if it says anything.
fn agree_on_utf16(text: &str) -> Result<(), XmlError> {
    match declared(text.as_bytes()) {
        Some(name)
            if !matches!(
                name.to_ascii_lowercase().as_str(),
                "utf-16" | "utf-16le" | "utf-16be" | "unicode" | "ucs-2" | "iso-10646-ucs-2"
            ) =>
        {
            Err(XmlError::EncodingsDiffer { declared: name, found: "UTF-16" })
        }
        _ => Ok(()),
    }
}
