//! Values that must never be printed.

use std::fmt;

/// A secret text. It has no `Display` and no `Serialize`, its `Debug` is a mask, and it is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes a secret in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into_bytes())
    }

    /// Lets `reader` see the secret. The name is long so that every place where a secret comes out is easy to find.
    pub fn expose_to<R>(&self, reader: impl FnOnce(&str) -> R) -> R {
        reader(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from dropping a write to memory that nothing reads any more.
        std::hint::black_box(&self.0);
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
    }
}
