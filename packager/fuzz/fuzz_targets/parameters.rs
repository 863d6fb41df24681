//! A file of declarations, then, after a NUL, the bytes of a file that they are applied to: as text and as XML.

#![no_main]

use libfuzzer_sys::fuzz_target;
use staith_packager::parameters::{Declarations, Rewrite, Values, resolve};

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (declared, file) = (&bytes[..cut], bytes.get(cut + 1..).unwrap_or_default());
    let declared = match Declarations::read(declared) {
        Ok(declared) => declared,
        Err(mistakes) => {
            assert!(mistakes.0.iter().all(|mistake| mistake.line > 0 && mistake.column > 0));
            return;
        }
    };
    let again = Declarations::read(declared.to_xml().as_bytes()).expect("its own spelling is read");
    assert_eq!(again.parameters(), declared.parameters(), "its spelling means something else");
    let mut values = Values::default();
    values.add_file(declared.to_set_parameters_xml().as_bytes(), "x").expect("its own spelling is read");
    let _ = resolve(&declared, &values);
    // What has no default is set, so that more is applied.
    let mut values = Values::default();
    for parameter in declared.parameters().iter().filter(|parameter| parameter.default.is_none()) {
        let _ = values.set(&format!("{}=<a b='c'>x</a>", parameter.name), &declared);
    }
    let Ok(resolved) = resolve(&declared, &values) else { return };
    let _ = resolved.provider_path("iisApp", "app");
    for path in ["app\\web.config", "app\\a.txt"] {
        match resolved.rewrite(path, file) {
            Ok(Rewrite::Rewritten { by, .. }) => assert!(!by.is_empty()),
            Ok(Rewrite::Untouched) => assert_eq!(resolved.is_in_scope(path), Ok(false)),
            Ok(Rewrite::InScopeUnmatched { .. }) | Err(_) => {}
        }
    }
    let _ = resolved.unmatched();
});
