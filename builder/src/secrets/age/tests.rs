use proptest::prelude::*;

use super::*;

/// What `age` 1.1.1 wrote with a key of `age-keygen`.
const KEY: &str = include_str!("tests/age-keygen.txt");
const SEALED: &[u8] = include_bytes!("tests/hello.age");

#[test]
fn what_age_wrote_can_be_read() {
    let identity: Identity = KEY.parse().unwrap();
    assert_eq!(decrypt(SEALED, &identity).unwrap().as_slice(), b"hello from age\n");
    assert!(KEY.contains(&identity.recipient()));
}

#[test]
fn a_key_survives_its_file() {
    let identity = Identity::new().unwrap();
    let again: Identity = identity.file().parse().unwrap();
    assert_eq!(again.recipient(), identity.recipient());
    assert_eq!(format!("{identity:?}"), "Identity(***)");
    let two = format!("{0}{0}", identity.file().as_str());
    let public = identity.recipient();
    for bad in
        ["", "# nothing", "AGE-SECRET-KEY-1QQQQ", &public, &two, &identity.file().replace("KEY-1", "KEY-1Q")]
    {
        assert!(bad.parse::<Identity>().is_err(), "{bad}");
    }
}

#[test]
fn every_length_survives() {
    let identity = Identity::new().unwrap();
    for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let plain = vec![7; length];
        assert_eq!(*decrypt(&encrypt(&plain, &identity).unwrap(), &identity).unwrap(), plain, "{length}");
    }
}

#[test]
fn another_key_opens_nothing() {
    let sealed = encrypt(b"plain", &Identity::new().unwrap()).unwrap();
    assert_eq!(decrypt(&sealed, &Identity::new().unwrap()), Err(Unreadable::OtherKey));
}

proptest! {
    #[test]
    fn what_was_changed_or_cut_is_refused(at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
        let identity = Identity::new().unwrap();
        let sealed = encrypt(&[7; 70_000], &identity).unwrap();
        let mut changed = sealed.clone();
        changed[at.index(sealed.len())] ^= 1 << bit;
        prop_assert!(decrypt(&changed, &identity).is_err());
        prop_assert!(decrypt(&sealed[..cut.index(sealed.len())], &identity).is_err());
    }

    #[test]
    fn garbage_is_an_error_never_a_panic(bytes: Vec<u8>) {
        let identity = Identity::new().unwrap();
        prop_assert!(decrypt(&bytes, &identity).is_err());
        let begun = [b"age-encryption.org/v1\n-> X25519 ".as_slice(), &bytes].concat();
        prop_assert!(decrypt(&begun, &identity).is_err());
    }
}
