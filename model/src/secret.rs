//! Values that must never be printed.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text. It has no `Display` and no `Serialize`, its `Debug` is a mask, and its memory is wiped when it is dropped.
///
/// The bytes lie in a place of their own that does not move with the value, so that no copy of them stays behind where it
/// has been. A clone is a copy, and is wiped as well. Comparing takes as long as the texts agree: compare with other secrets
/// of one's own only, never with what somebody else sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Takes a secret in.
    pub fn new(text: impl Into<String>) -> Self {
        // Room beyond the text's end would be given back with what it holds, and making the text fit may move it; so the
        // text is copied to a place of the right size, and the whole old place is wiped.
        let text = Zeroizing::new(text.into());
        Self(Zeroizing::new(Box::from(text.as_str())))
    }

    /// Lets `reader` see the secret. The name is long so that every place where a secret comes out is easy to find.
    pub fn expose_to<R>(&self, reader: impl FnOnce(&str) -> R) -> R {
        reader(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_a_mask() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(***) Some(Secret(***))");
        assert_eq!(secret.expose_to(str::len), 7);
        assert_eq!(secret.clone(), Secret::new("hunter2"));
    }

    #[test]
    fn a_secret_is_wiped_when_it_is_dropped() {
        const fn is_wiped_when_dropped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        is_wiped_when_dropped(&Secret::new("hunter2").0);
    }
}
