//! Where a provider's content lies in the zip.

use crate::web_deploy::portable;

/// A provider's path as the zip has it below `Content/`: `C:\build\shop\` lies in `C_C/build/shop`, `Default Web Site/app` in
/// just that. Case is kept, but nobody looks at it.
pub(crate) fn zip_path(path: &str) -> String {
    let path = path.replace('\\', "/");
    let path = path.trim_matches('/');
    match path.split_once(":/") {
        Some((drive, rest)) => format!("{drive}_C/{}", rest.trim_start_matches('/')),
        None => match path.strip_suffix(':') {
            Some(drive) => format!("{drive}_C"),
            None => path.to_owned(),
        },
    }
}

/// Whether two paths of Windows mean one place: whatever their case, their separators and a separator at their end.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    let plain = |path: &str| portable::fold(path.replace('\\', "/").trim_end_matches('/'));
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_become_directories() {
        for (path, expected) in [
            ("C:\\build\\shop", "C_C/build/shop"),
            ("c:\\build\\shop\\", "c_C/build/shop"),
            ("D:/a/1/s", "D_C/a/1/s"),
            ("C:\\", "C_C"),
            ("WebSite", "WebSite"),
            ("Default Web Site/app", "Default Web Site/app"),
            ("app\\", "app"),
            ("", ""),
        ] {
            assert_eq!(zip_path(path), expected, "{path}");
        }
        assert!(is_same("C:\\Build\\shop\\", "c:/build/SHOP"));
        assert!(!is_same("C:\\src", "app"));
    }
}
