//! Addresses of repositories, as far as a server keeps them and shows them. Pure.
//!
//! A project's address is seen by whoever may see the project, and the audit log keeps it for good. So nothing may be in it that lets
//! its reader in: no password, and no user of the web, which for many forges is a token. The name of an account of ssh is none.

use std::ops::Range;

/// What stands in the place of what is not shown.
const HIDDEN: &str = "***";

/// Whether an address says by what its repository lets one in.
pub fn carries_credentials(origin: &str) -> bool {
    credentials(origin).is_some()
}

/// An address as everybody may see it.
pub fn without_credentials(origin: &str) -> String {
    let Some(hidden) = credentials(origin) else { return origin.to_owned() };
    format!("{}{HIDDEN}{}", &origin[..hidden.start], &origin[hidden.end..])
}

/// Where it says so, in bytes.
fn credentials(origin: &str) -> Option<Range<usize>> {
    let Some((scheme, rest)) = origin.split_once("://") else { return password_of_scp(origin) };
    let authority = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    let (user, _) = authority.rsplit_once('@')?;
    let is_ssh = ["ssh", "git+ssh", "ssh+git"].iter().any(|ssh| scheme.eq_ignore_ascii_case(ssh));
    let start = scheme.len() + "://".len();
    (!is_ssh || user.contains(':')).then_some(start..start + user.len())
}

/// `user:password@host:path`.
fn password_of_scp(origin: &str) -> Option<Range<usize>> {
    let (user, rest) = origin.split_once('@')?;
    (user.contains(':') && !user.contains('/') && rest.contains(':')).then_some(0..user.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_one_in_is_found_and_not_shown() {
        for (origin, shown) in [
            ("https://me:hunter2@example.org/x", "https://***@example.org/x"),
            ("https://hunter2@example.org/x.git", "https://***@example.org/x.git"),
            ("HTTPS://:hunter2@example.org:8443/x", "HTTPS://***@example.org:8443/x"),
            ("https://a@hunter2@example.org", "https://***@example.org"),
            ("https://@example.org/x", "https://***@example.org/x"),
            ("http://me:hunter2@localhost/x", "http://***@localhost/x"),
            ("ssh://git:hunter2@example.org/x", "ssh://***@example.org/x"),
            ("git:hunter2@example.org:x", "***@example.org:x"),
        ] {
            assert!(carries_credentials(origin), "{origin}");
            assert_eq!(without_credentials(origin), shown);
        }
    }

    #[test]
    fn a_bare_user_of_ssh_and_an_at_in_a_path_are_none() {
        for origin in [
            "git@example.org:shop.git",
            "ssh://git@example.org/shop.git",
            "git+ssh://git@example.org/shop.git",
            "https://example.org/@team/shop.git",
            "example.org:shop@2",
            "/srv/git/a:b@c/shop.git",
            "file:///srv/git/shop@2.git",
            "",
        ] {
            assert!(!carries_credentials(origin), "{origin}");
            assert_eq!(without_credentials(origin), origin);
        }
    }
}
