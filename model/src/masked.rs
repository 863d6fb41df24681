//! How a value with something secret in it shows itself.

/// Implements `Debug` for a type of which one field is secret: that one shows as `***`, the named others as they are.
///
/// ```
/// struct Session { token: String, valid_millis: u64 }
/// staith_model::masked!(Session, token, valid_millis);
///
/// let session = Session { token: "hunter2".into(), valid_millis: 1 };
/// assert_eq!(format!("{session:?}"), "Session { valid_millis: 1, token: \"***\" }");
/// # let _ = session.token;
/// ```
#[macro_export]
macro_rules! masked {
    ($name:ident, $secret:ident $(, $shown:ident)*) => {
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($shown), &self.$shown))*
                    .field(stringify!($secret), &"***")
                    .finish()
            }
        }
    };
}
