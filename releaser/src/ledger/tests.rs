use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use proptest::prelude::*;
use staith_packager::seal::key::Keys;
use tempfile::TempDir;

use super::*;

struct Place {
    dir: TempDir,
    ledger: Ledger<String>,
}

impl Place {
    fn with(events: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("env/ledger.jsonl"), "shop/production");
        for event in events {
            ledger.append(&(*event).to_owned(), &who()).unwrap();
        }
        Self { dir, ledger }
    }

    fn path(&self) -> PathBuf {
        self.ledger.path().to_owned()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn lines(&self) -> Vec<Vec<u8>> {
        self.bytes().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    fn set(&self, lines: &[Vec<u8>]) {
        fs::write(self.path(), lines.concat()).unwrap();
    }

    fn flaws(&self) -> Vec<FlawKind> {
        let flaws = self.ledger.verify(&[], None).unwrap().flaws;
        flaws.into_iter().map(|flaw| flaw.kind).collect()
    }

    fn events(&self) -> Vec<String> {
        self.ledger.read().unwrap().into_iter().map(|entry| entry.event).collect()
    }
}

fn who() -> Who {
    Who { user: "anna".into(), host: "deploy1".into(), claimed: None }
}

#[test]
fn what_is_appended_is_read_in_order_and_verified() {
    let place = Place::with(&["a", "b", "c"]);
    assert_eq!(place.events(), ["a", "b", "c"]);
    let verification = place.ledger.verify(&[], None).unwrap();
    assert!(verification.is_whole(), "{verification:?}");
    assert_eq!(verification.head, place.ledger.head().unwrap());
    let since: Vec<u64> = place.ledger.since(1).unwrap().iter().map(|entry| entry.position).collect();
    assert_eq!(since, [2, 3]);
    assert_eq!(place.ledger.since(3).unwrap(), []);
    assert_eq!(place.ledger.since(0).unwrap(), place.ledger.read().unwrap());
    let mode = fs::metadata(place.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[test]
fn nothing_yet_is_an_empty_ledger_and_asking_makes_none() {
    let place = Place::with(&[]);
    assert_eq!(place.ledger.read().unwrap(), []);
    assert_eq!(place.ledger.since(0).unwrap(), []);
    assert_eq!(place.ledger.head().unwrap().position, 0);
    assert!(place.ledger.verify(&[], None).unwrap().is_whole());
    assert!(!place.path().exists());
    assert!(matches!(place.ledger.since(4), Err(LedgerError::Damaged { .. })));
}

#[test]
fn a_decision_made_from_what_was_read_is_not_recorded_after_others_have_appended() {
    let place = Place::with(&["a"]);
    place.ledger.append_after(1, &"b".to_owned(), &who()).unwrap();
    let refused = place.ledger.append_after(1, &"c".to_owned(), &who());
    assert!(matches!(refused, Err(LedgerError::Moved { expected: 1, found: 2, .. })), "{refused:?}");
    assert_eq!(place.events(), ["a", "b"]);
}

#[test]
fn an_event_that_could_not_be_read_again_is_not_recorded() {
    #[derive(Debug, Serialize, serde::Deserialize)]
    struct Odd {
        #[serde(rename(serialize = "a", deserialize = "b"))]
        _field: u32,
    }
    let dir = tempfile::tempdir().unwrap();
    let ledger: Ledger<Odd> = Ledger::open(&dir.path().join("l.jsonl"), "x");
    assert!(matches!(ledger.append(&Odd { _field: 1 }, &who()), Err(LedgerError::Unwritable { .. })));
    assert_eq!(ledger.head().unwrap().position, 0);
}

#[test]
fn the_kinds_of_tampering_are_told_apart() {
    let place = Place::with(&["a", "b", "c", "d", "e"]);
    let whole = place.lines();
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        place.set(&lines);
        place.flaws()
    };
    let altered = changed(&|lines| {
        let text = String::from_utf8(lines[1].clone()).unwrap();
        lines[1] = text.replace("\"event\":\"b\"", "\"event\":\"B\"").into_bytes();
    });
    assert!(matches!(altered[..], [FlawKind::Altered { position: 2, .. }]), "{altered:?}");
    let removed = changed(&|lines| drop(lines.drain(1..3)));
    assert_eq!(removed, [FlawKind::Removed { from: 2, to: 3 }]);
    let swapped = changed(&|lines| lines.swap(1, 2));
    assert!(swapped.iter().all(|flaw| matches!(flaw, FlawKind::Reordered { .. })), "{swapped:?}");
    assert_eq!(swapped[0], FlawKind::Reordered { expected: 2, found: 3 });
    // Whoever can write can also hash: an entry made anew is whole, and the next one does not continue it.
    let other = Place::with(&["a", "x"]);
    let replaced = changed(&|lines| lines[1] = other.lines()[1].clone());
    assert!(replaced.contains(&FlawKind::Replaced { position: 3 }), "{replaced:?}");
    let torn = changed(&|lines| lines[4].truncate(20));
    assert_eq!(torn, [FlawKind::Torn { bytes: 20 }]);
    place.set(&whole);
    let elsewhere: Ledger<String> = Ledger::open(&place.path(), "shop/qa");
    let flaws = elsewhere.verify(&[], None).unwrap().flaws;
    assert!(matches!(flaws[0].kind, FlawKind::OtherLedger { .. }), "{flaws:?}");
}

#[test]
fn of_a_damaged_ledger_nothing_is_concluded_and_nothing_is_appended_to_it() {
    let place = Place::with(&["a", "b"]);
    let mut lines = place.lines();
    let text = String::from_utf8(lines[1].clone()).unwrap();
    lines[1] = text.replace("\"b\"", "\"B\"").into_bytes();
    place.set(&lines);
    assert!(matches!(place.ledger.read(), Err(LedgerError::Damaged { .. })));
    assert!(matches!(place.ledger.since(1), Err(LedgerError::Damaged { .. })));
    let refused = place.ledger.append(&"c".to_owned(), &who()).unwrap_err();
    assert!(refused.to_string().contains("entry 2 was altered"), "{refused}");
    assert_eq!(place.lines(), lines);
}

#[test]
fn an_interrupted_write_is_set_aside_and_told() {
    let place = Place::with(&["a", "b"]);
    let mut bytes = place.bytes();
    let torn = b"{\"position\":3,\"at\":17".to_vec();
    bytes.extend_from_slice(&torn);
    fs::write(place.path(), &bytes).unwrap();
    assert_eq!(place.events(), ["a", "b"]);
    assert_eq!(place.ledger.since(1).unwrap().len(), 1);
    assert_eq!(place.ledger.append(&"c".to_owned(), &who()).unwrap().position, 3);
    assert_eq!(place.events(), ["a", "b", "c"]);
    let verification = place.ledger.verify(&[], None).unwrap();
    assert!(verification.is_whole());
    assert_eq!(verification.set_aside.len(), 1);
    assert_eq!(fs::read(&verification.set_aside[0]).unwrap(), torn);
}

#[test]
fn blocks_that_a_loss_of_power_left_unwritten_are_a_torn_write_too() {
    for left in [&b"{\"position\":2,\0\0\0\0\n"[..], b"\0\0\0\0", b"\0\n"] {
        let place = Place::with(&["a"]);
        let mut bytes = place.bytes();
        bytes.extend_from_slice(left);
        fs::write(place.path(), &bytes).unwrap();
        assert_eq!(place.events(), ["a"]);
        place.ledger.append(&"b".to_owned(), &who()).unwrap();
        assert_eq!(place.events(), ["a", "b"]);
        assert_eq!(place.ledger.verify(&[], None).unwrap().set_aside.len(), 1);
    }
}

#[test]
fn an_entry_that_lacks_only_its_end_stays() {
    let place = Place::with(&["a", "b"]);
    let bytes = place.bytes();
    fs::write(place.path(), &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(place.events(), ["a", "b"]);
    place.ledger.append(&"c".to_owned(), &who()).unwrap();
    assert_eq!(place.events(), ["a", "b", "c"]);
    assert_eq!(place.ledger.verify(&[], None).unwrap().set_aside, Vec::<PathBuf>::new());
}

#[test]
fn what_was_cut_off_at_the_end_is_found_by_who_remembers_the_head() {
    let place = Place::with(&["a", "b", "c"]);
    let head = place.ledger.head().unwrap().hash;
    assert!(place.ledger.verify(&[], Some(&head)).unwrap().is_whole());
    place.ledger.append(&"d".to_owned(), &who()).unwrap();
    assert!(place.ledger.verify(&[], Some(&head)).unwrap().is_whole());
    let lines = place.lines();
    place.set(&lines[..2]);
    assert!(place.ledger.verify(&[], None).unwrap().is_whole(), "a shorter chain is a chain");
    let flaws = place.ledger.verify(&[], Some(&head)).unwrap().flaws;
    assert_eq!(flaws[0].kind, FlawKind::HeadMissing { hash: head });
    fs::remove_file(place.path()).unwrap();
    assert!(!place.ledger.verify(&[], Some(&head)).unwrap().is_whole());
}

#[test]
fn signed_heads_find_a_cut_and_a_chain_that_was_written_anew() {
    let place = Place::with(&[]);
    let key = || Keys::in_directory(&place.dir.path().join("keys")).own().unwrap();
    let trusted = [key().public()];
    let ledger = place.ledger.clone().signed_every(3, key());
    for event in ["a", "b", "c", "d", "e", "f", "g"] {
        ledger.append(&event.to_owned(), &who()).unwrap();
    }
    let verification = ledger.verify(&trusted, None).unwrap();
    assert!(verification.is_whole(), "{verification:?}");
    let positions: Vec<u64> = verification.checkpoints.iter().map(|one| one.head.position).collect();
    assert_eq!(positions, [3, 6]);
    assert_eq!(ledger.checkpoint(&key()).unwrap().unwrap().head.position, 7);

    let nobody = ledger.verify(&[], None).unwrap();
    assert_eq!(nobody.flaws.len(), 3, "nobody's signatures count: {nobody:?}");
    let cut = place.lines();
    place.set(&cut[..6]);
    let flaws = ledger.verify(&trusted, None).unwrap().flaws;
    assert_eq!(flaws.len(), 1);
    assert_eq!(flaws[0].kind, FlawKind::SignedHeadMissing { position: 7 });

    // Written anew as a whole, by somebody who has not the key.
    let anew = Place::with(&["a", "b", "c", "d", "e", "f", "X"]);
    place.set(&anew.lines());
    assert_eq!(ledger.verify(&trusted, None).unwrap().flaws.len(), 3);
    fs::remove_file(place.path()).unwrap();
    assert_eq!(ledger.verify(&trusted, None).unwrap().flaws.len(), 3);
}

#[test]
fn a_signed_head_that_was_altered_or_is_another_ledgers_does_not_count() {
    let place = Place::with(&["a"]);
    let key = Keys::in_directory(&place.dir.path().join("keys")).own().unwrap();
    place.ledger.checkpoint(&key).unwrap();
    let heads = place.path().with_extension("heads.jsonl");
    let whole = fs::read(&heads).unwrap();
    let elsewhere = place.dir.path().join("env/other.jsonl");
    let other: Ledger<String> = Ledger::open(&elsewhere, "shop/qa");
    fs::write(elsewhere.with_extension("heads.jsonl"), &whole).unwrap();
    let flaws = other.verify(&[key.public()], None).unwrap().flaws;
    assert!(matches!(flaws[..], [Flaw { kind: FlawKind::BadCheckpoint { checkpoint: 1, .. }, .. }]));
    for (at, _) in whole.iter().enumerate() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&heads, &bytes).unwrap();
        let told = place.ledger.verify(&[key.public()], None).unwrap();
        assert!(!told.is_whole(), "byte {at}: {told:?}");
    }
    // A write of one that was interrupted is made good by the next.
    fs::write(&heads, &whole[..whole.len() / 2]).unwrap();
    place.ledger.checkpoint(&key).unwrap();
    assert!(place.ledger.verify(&[key.public()], None).unwrap().is_whole());
}

#[test]
fn a_disk_that_is_full_records_nothing() {
    // Beyond what a process may write, a write fails as it does on a full disk.
    let place = Place::with(&["a"]);
    let held = Held::alone(&place.path()).unwrap();
    let full = Held {
        file: fs::OpenOptions::new().write(true).open("/dev/full").unwrap(),
        path: held.path.clone(),
        length: 0,
    };
    assert!(matches!(place.ledger.write(&full, b"x\n"), Err(LedgerError::Io { .. })));
    drop(held);
    assert_eq!(place.events(), ["a"]);
}

#[test]
fn an_append_reads_only_the_end() {
    // A line in the middle that is no entry would be found by whoever read it.
    let place = Place::with(&["a", "b", "c"]);
    let mut lines = place.lines();
    lines[0] = b"not an entry\n".to_vec();
    place.set(&lines);
    assert_eq!(place.ledger.append(&"d".to_owned(), &who()).unwrap().position, 4);
    assert!(place.ledger.read().is_err());
}

fn five() -> (Place, Digest) {
    let place = Place::with(&["deployment began", "switched", "approved by anna", "", "\u{1f4a5}\n\"x\""]);
    let head = place.ledger.head().unwrap().hash;
    (place, head)
}

fn is_found_with(place: &Place, whole: &[u8], at: usize, flip: u8) -> bool {
    let mut bytes = whole.to_vec();
    bytes[at] ^= flip;
    fs::write(place.path(), &bytes).unwrap();
    !place.ledger.verify(&[], None).unwrap().is_whole()
}

#[test]
fn another_byte_at_each_place_is_found() {
    let (place, _) = five();
    let whole = place.bytes();
    for at in 0..whole.len() {
        assert!(is_found_with(&place, &whole, at, 1), "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_other_byte_anywhere_is_found(at in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        let (place, _) = five();
        let whole = place.bytes();
        let at = at.index(whole.len());
        prop_assert!(is_found_with(&place, &whole, at, flip), "byte {} xor {}", at, flip);
    }

    #[test]
    fn anything_removed_inserted_or_moved_is_found(
        from in 0_usize..5, to in 0_usize..5, at in any::<prop::sample::Index>(), byte: u8, length in 1_usize..400,
    ) {
        let (place, head) = five();
        let (whole, lines) = (place.bytes(), place.lines());
        let found = |bytes: &[u8]| {
            fs::write(place.path(), bytes).unwrap();
            !place.ledger.verify(&[], Some(&head)).unwrap().is_whole()
        };
        let mut removed = lines.clone();
        removed.remove(from);
        prop_assert!(found(&removed.concat()), "line {} removed", from);
        let mut doubled = lines.clone();
        doubled.insert(to, lines[from].clone());
        prop_assert!(found(&doubled.concat()), "line {} again at {}", from, to);
        if from != to {
            let mut swapped = lines.clone();
            swapped.swap(from, to);
            prop_assert!(found(&swapped.concat()), "lines {} and {} swapped", from, to);
        }
        let at = at.index(whole.len());
        let cut = [&whole[..at], &whole[(at + length).min(whole.len())..]].concat();
        prop_assert!(found(&cut), "{} bytes removed at {}", length, at);
        let inserted = [&whole[..at], &[byte], &whole[at..]].concat();
        prop_assert!(found(&inserted), "{} inserted at {}", byte, at);
    }

    #[test]
    fn a_crash_anywhere_in_a_write_loses_nothing_that_was_acknowledged(at in any::<prop::sample::Index>()) {
        let (place, _) = five();
        let acknowledged = place.events();
        let before = place.bytes().len();
        place.ledger.append(&"the one that was interrupted".to_owned(), &who()).unwrap();
        let whole = place.bytes();
        let upto = before + at.index(whole.len() - before + 1);
        fs::write(place.path(), &whole[..upto]).unwrap();
        place.ledger.append(&"the next".to_owned(), &who()).unwrap();
        let events = place.events();
        prop_assert_eq!(&events[..5], &acknowledged[..]);
        prop_assert_eq!(events.last().map(String::as_str), Some("the next"));
        prop_assert!(place.ledger.verify(&[], None).unwrap().is_whole());
    }

    #[test]
    fn since_is_the_end_of_all(events in proptest::collection::vec(".{0,30}", 0..12), position in 0_u64..14) {
        let place = Place::with(&events.iter().map(String::as_str).collect::<Vec<_>>());
        let all = place.ledger.read().unwrap();
        match place.ledger.since(position) {
            Ok(since) => prop_assert_eq!(&all[usize::try_from(position).unwrap()..], &since[..]),
            Err(error) => prop_assert!(position > all.len() as u64, "{}", error),
        }
    }
}
