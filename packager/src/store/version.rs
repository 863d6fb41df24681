//! Which of two versions is the higher one.

use std::cmp::Ordering;

use staith_model::Version;

/// Compares by the rules of semantic versions: numbers as numbers, a pre-release (`-rc.1`) below its release, build metadata
/// (`+...`) not at all. Versions of fewer parts are taken as if zeros followed: `1.4` is `1.4.0`.
pub fn compare(a: &Version, b: &Version) -> Ordering {
    let ((core_a, pre_a), (core_b, pre_b)) = (parts(a), parts(b));
    compare_lists(core_a, core_b, "0").then_with(|| match (pre_a, pre_b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        // Here the longer of two otherwise equal lists is the higher one, which an empty identifier brings about.
        (Some(a), Some(b)) => compare_lists(a, b, ""),
    })
}

/// Whether it is no pre-release.
pub(super) fn is_release(version: &Version) -> bool {
    parts(version).1.is_none()
}

/// Whether the numbers of `version` begin with those of `begin`: `1.4.27` and `1.4.0-rc.1` with `1.4`, but not `1.40`. What has
/// more than numbers is no beginning.
pub(super) fn begins_with(version: &Version, begin: &Version) -> bool {
    let is_numbers = begin.as_str().bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let (version, begin) = (parts(version).0.split('.'), begin.as_str().split('.'));
    let mut numbers = version.map(Some).chain(std::iter::repeat(None));
    let is_same = |a: &str, b: &str| compare_identifiers(a, b).is_eq();
    is_numbers
        && begin.zip(&mut numbers).all(|(asked, there)| there.is_some_and(|there| is_same(asked, there)))
}

/// Whether `version` is `of` with build metadata: `1.4.0-rc.1+c.0123` and `1.4.0-rc.1`.
pub(super) fn is_build_of(version: &Version, of: &Version) -> bool {
    version.as_str().strip_prefix(of.as_str()).is_some_and(|build| build.starts_with('+'))
}

fn parts(version: &Version) -> (&str, Option<&str>) {
    let precedence = version.as_str().split('+').next().unwrap_or_default();
    match precedence.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (precedence, None),
    }
}

fn compare_lists(a: &str, b: &str, filler: &'static str) -> Ordering {
    let longer = a.split('.').count().max(b.split('.').count());
    let filled = |list| str::split(list, '.').chain(std::iter::repeat(filler)).take(longer);
    filled(a)
        .zip(filled(b))
        .map(|(a, b)| compare_identifiers(a, b))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Numbers are below words; numbers of any length are compared as numbers.
fn compare_identifiers(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    match (number(a), number(b)) {
        (true, true) => {
            let significant = |text| str::trim_start_matches(text, '0').len();
            (a.len().min(1), significant(a), a.trim_start_matches('0')).cmp(&(
                b.len().min(1),
                significant(b),
                b.trim_start_matches('0'),
            ))
        }
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_in_the_order_of_semantic_versions() {
        let ascending = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.2",
            "1.2.1",
            "1.10.0",
            "2026.11.21",
        ];
        for (a, left) in ascending.iter().enumerate() {
            for (b, right) in ascending.iter().enumerate() {
                assert_eq!(
                    compare(&left.parse().unwrap(), &right.parse().unwrap()),
                    a.cmp(&b),
                    "{left} {right}"
                );
            }
        }
        for (a, b) in [("1.4", "1.4.0"), ("1.4.0+c.1", "1.4.0+c.2"), ("01.4", "1.04")] {
            assert_eq!(compare(&a.parse().unwrap(), &b.parse().unwrap()), Ordering::Equal, "{a} {b}");
        }
    }
}
