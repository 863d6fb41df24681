//! The body of an answer over HTTP/1.1, as far as it is wanted. Pure.

/// Most characters of the line before a chunk.
const LONGEST_LINE: usize = 256;

/// How an answer says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(usize),
    /// In chunks, the last of which is empty.
    Chunked,
    /// With the connection.
    Connection,
}

/// How much of a body is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// All of it, or more bytes than `most`.
    There(Vec<u8>),
    /// More has to come.
    Partly,
    /// It breaks off, or is not what its head says.
    Broken,
}

impl Framing {
    /// As the fields of a head say.
    pub(super) fn of(length: Option<&str>, encoding: Option<&str>) -> Option<Self> {
        match (encoding, length) {
            (Some(encoding), _) => encoding.eq_ignore_ascii_case("chunked").then_some(Self::Chunked),
            (None, Some(length)) => length.parse().ok().map(Self::Length),
            (None, None) => Some(Self::Connection),
        }
    }

    /// The body in `bytes`, which are those after the head; `ended` where no more come. Of one that is longer than `most`, one byte more.
    pub(super) fn body(self, bytes: &[u8], most: usize, ended: bool) -> Body {
        let read = match self {
            Self::Length(length) => {
                let wanted = length.min(most + 1);
                if bytes.len() < wanted { Body::Partly } else { Body::There(bytes[..wanted].to_vec()) }
            }
            Self::Chunked => chunks(bytes, most),
            Self::Connection if ended || bytes.len() > most => {
                Body::There(bytes[..bytes.len().min(most + 1)].to_vec())
            }
            Self::Connection => Body::Partly,
        };
        if ended && read == Body::Partly { Body::Broken } else { read }
    }
}

fn chunks(mut bytes: &[u8], most: usize) -> Body {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else {
            return if bytes.len() > LONGEST_LINE { Body::Broken } else { Body::Partly };
        };
        let line = String::from_utf8_lossy(&bytes[..end]);
        let size = line.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else { return Body::Broken };
        if size == 0 {
            return Body::There(body);
        }
        bytes = &bytes[end + 2..];
        let wanted = size.min(most + 1 - body.len());
        body.extend_from_slice(&bytes[..wanted.min(bytes.len())]);
        if body.len() > most {
            return Body::There(body);
        }
        match bytes.get(size..) {
            Some(rest) if rest.starts_with(b"\r\n") => bytes = &rest[2..],
            Some(rest) if rest.len() >= 2 => return Body::Broken,
            _ => return Body::Partly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_ends_where_its_head_says() {
        let there = |text: &str| Body::There(text.as_bytes().to_vec());
        for (length, encoding, bytes, ended, body) in [
            (Some("3"), None, "abcd", false, there("abc")),
            (Some("3"), None, "ab", false, Body::Partly),
            (Some("3"), None, "ab", true, Body::Broken),
            (Some("0"), None, "", false, there("")),
            (Some("90"), None, "abcdefghi", false, there("abcdefghi")),
            (None, None, "abc", false, Body::Partly),
            (None, None, "abc", true, there("abc")),
            (None, None, "abcdefghijkl", false, there("abcdefghi")),
            (Some("9"), Some("Chunked"), "2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", false, there("abc")),
            (None, Some("chunked"), "2\r\nab\r\n1", false, Body::Partly),
            (None, Some("chunked"), "2\r\nab\r\n1\r\nc", true, Body::Broken),
            (None, Some("chunked"), "2\r\nabcd\r\n0\r\n\r\n", false, Body::Broken),
            (None, Some("chunked"), "no\r\n", false, Body::Broken),
            (None, Some("chunked"), "ffffff\r\nabcdefghijkl", false, there("abcdefghi")),
        ] {
            let framing = Framing::of(length, encoding).unwrap();
            assert_eq!(framing.body(bytes.as_bytes(), 8, ended), body, "{framing:?} {bytes:?} {ended}");
        }
        assert_eq!((Framing::of(Some("many"), None), Framing::of(None, Some("gzip, chunked"))), (None, None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail(bytes: Vec<u8>, text in "([0-9a-f]{1,2}\r\n[a-c]{0,9}(\r\n)?){0,4}", ended: bool) {
            for framing in [Framing::Length(usize::MAX), Framing::Chunked, Framing::Connection] {
                for bytes in [&bytes[..], text.as_bytes()] {
                    if let Body::There(body) = framing.body(bytes, 8, ended) {
                        prop_assert!(body.len() <= 9);
                    }
                }
            }
        }
    }
}
