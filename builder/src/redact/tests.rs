use std::fmt::Write as _;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use proptest::prelude::*;

use super::*;

/// With characters that every escape changes.
const SECRET: &str = "s3cr&t/\"Wörd\" +~'<key>?";

fn masker(secrets: &[&str]) -> Masker {
    let named = secrets.iter().enumerate().map(|(at, value)| (format!("s{at}"), Secret::new(*value)));
    Masker::new(&named.collect()).unwrap()
}

fn in_pieces<'a>(masker: &Masker, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    pieces.into_iter().for_each(|piece| stream.push(piece, &mut out));
    stream.finish(&mut out);
    out
}

fn whole(masker: &Masker, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&in_pieces(masker, [bytes])).into_owned()
}

fn percent(secret: &str, kept: &str, upper: bool) -> String {
    let mut text = String::new();
    for byte in secret.bytes() {
        match byte {
            _ if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => {
                text.push(char::from(byte))
            }
            _ if upper => write!(text, "%{byte:02X}").unwrap(),
            _ => write!(text, "%{byte:02x}").unwrap(),
        }
    }
    text
}

/// As another program would write the secret, and the part of it that tells the secret: of base64, digits that belong to
/// neighbours as well tell a few bits of them and of the secret's ends.
fn written() -> Vec<(&'static str, String, String)> {
    let mut all: Vec<(&'static str, String, String)> = Vec::new();
    let mut add = |name, text: String, telling: String| all.push((name, text, telling));
    let same = |text: String| (text.clone(), text);
    let (text, telling) = same(SECRET.to_owned());
    add("plain", text, telling);
    for (name, before) in [("base64 at 0", ""), ("base64 at 1", "x"), ("base64 at 2", "xy")] {
        for (engine, end) in
            [(&STANDARD, "zz"), (&STANDARD_NO_PAD, ""), (&URL_SAFE, ""), (&URL_SAFE_NO_PAD, "z")]
        {
            let digits = engine.encode(format!("{before}{SECRET}{end}"));
            let telling = digits[before.len() * 8 / 6 + 2..][..SECRET.len() * 8 / 6 - 2].to_owned();
            add(name, digits, telling);
        }
    }
    let hex = SECRET.bytes().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    for text in [hex.clone(), hex.to_uppercase()] {
        add("hexadecimal", text.clone(), text);
    }
    for kept in ["-_.~", "-_.!~*'()", ""] {
        for upper in [true, false] {
            let text = percent(SECRET, kept, upper);
            add("URL", text.clone(), text);
        }
    }
    let text = percent(SECRET, "*-._", true).replace("%20", "+");
    add("form", text.clone(), text);
    let json = serde_json::to_string(SECRET).unwrap();
    add("JSON", json.clone(), json[1..json.len() - 1].to_owned());
    let ascii = json.replace('ö', "\\u00f6");
    add("JSON in ASCII", ascii.clone(), ascii[1..ascii.len() - 1].to_owned());
    let php = ascii.replace('/', "\\/");
    add("JSON of PHP", php.clone(), php[1..php.len() - 1].to_owned());
    let twice = serde_json::to_string(&json).unwrap();
    add(
        "JSON in JSON",
        twice.clone(),
        serde_json::to_string(&json[1..json.len() - 1]).unwrap().trim_matches('"').into(),
    );
    for upper in [true, false] {
        let digits = if upper { hex.to_uppercase() } else { hex.clone() };
        let text: String =
            digits.as_bytes().chunks(2).map(|byte| format!("\\x{}", String::from_utf8_lossy(byte))).collect();
        add("every byte", text.clone(), text);
    }
    let reversed: String = SECRET.chars().rev().collect();
    add("reversed", reversed.clone(), reversed);
    let shell = SECRET.replace('\'', "'\\''");
    add("shell", format!("'{shell}'"), shell);
    let xml = "s3cr&amp;t/&quot;Wörd&quot; +~&#39;&lt;key&gt;?".to_owned();
    add("XML", xml.clone(), xml);
    all
}

#[test]
fn mask_matrix() {
    let masker = masker(&[SECRET]);
    let mut checked = 0;
    for (name, text, telling) in written() {
        let line = format!("before {text} after{}\n", ".".repeat(64));
        for split in 0..line.len() {
            let (head, tail) = line.as_bytes().split_at(split);
            let out = String::from_utf8_lossy(&in_pieces(&masker, [head, tail])).into_owned();
            assert!(!out.contains(&telling), "{name} split at {split}: {out}");
            assert!(
                out.starts_with("before ") && out.contains(MASK) && out.contains(" after..."),
                "{name}: {out}"
            );
            checked += 1;
        }
        let out = String::from_utf8_lossy(&in_pieces(&masker, line.as_bytes().chunks(1))).into_owned();
        assert!(!out.contains(&telling), "{name} byte by byte: {out}");
    }
    assert!(checked > 12 * 64, "{checked}");
}

#[test]
fn lines_that_tools_break_are_put_together() {
    let secret: String = (0..200).map(|at| char::from(b'!' + (at * 7 % 90) as u8)).collect();
    let masker = masker(&[&secret]);
    let hex = secret.bytes().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    for before in 0..80 {
        let digits = STANDARD.encode(format!("{}{secret} and more", "x".repeat(before)));
        for (text, width, end) in [(&digits, 76, "\n"), (&digits, 64, "\r\n"), (&hex, 60, "\n")] {
            let lines: Vec<&str> =
                text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
            let out = whole(&masker, (lines.join(end) + end).as_bytes());
            let left: String = out.split("***").map(|part| part.replace(['\r', '\n'], "")).collect();
            // What the neighbours have, and up to two ends of less than 16 digits.
            assert!(left.len() <= before * 4 / 3 + 32 + 12, "{before}, {width}: {out}");
        }
    }
}

/// By `base32` of GNU coreutils.
#[test]
fn base32_is_found_wherever_the_secret_begins() {
    let masker = masker(&["S3cret-of-x"]);
    for (text, masked) in [
        ("KMZWG4TFOQWW6ZRNPA======", "***======"),
        ("PBJTGY3SMV2C233GFV4A====", "PB***===="),
        ("PB4VGM3DOJSXILLPMYWXQ===", "PB4V***==="),
        ("PB4XUUZTMNZGK5BNN5TC26A=", "PB4XU***="),
        ("PB4XU6KTGNRXEZLUFVXWMLLY", "PB4XU6K***"),
    ] {
        assert_eq!(whole(&masker, text.as_bytes()), masked, "{text}");
    }
}

#[test]
fn utf_16_of_ascii_is_found() {
    let masker = masker(&["S3cret-of-x"]);
    let bytes: Vec<u8> = "a S3cret-of-x b".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(whole(&masker, &bytes), "a\0 \0***\0 \0b\0");
}

/// What a terminal does not show, and a program may put between the letters of a secret.
const UNSEEN: [&str; 14] = [
    "\u{1b}[0m",
    "\u{1b}[01;31m\u{1b}[K",
    "\u{1b}[38:2::1:2:3m",
    "\u{1b}(B",
    "\u{1b}7",
    "\u{1b}]8;;https://x.example/\u{7}",
    "\u{1b}]8;;https://x.example/\u{1b}\\",
    "\u{1b}]0;title\u{9c}",
    "\u{1b}Pq#0;2;0\u{1b}\\",
    "\u{9b}1m",
    "\u{9d}0;title\u{7}",
    "\r",
    "\u{8}",
    "\0",
];

#[test]
fn what_a_terminal_does_not_show_hides_no_secret() {
    let masker = masker(&["S3cret-of-x"]);
    let long = STANDARD.encode("and S3cret-of-x with neighbours");
    for unseen in UNSEEN {
        for (text, at) in [("S3cret-of-x", 2), (&*long, 14)] {
            let (head, tail) = text.split_at(at);
            let line = format!("\u{1b}[32mbefore {head}{unseen}{tail} after\n");
            let out = whole(&masker, line.as_bytes());
            assert!(out.starts_with("\u{1b}[32mbefore ") && out.ends_with(" after\n"), "{out:?}");
            assert!(out.contains(MASK) && !out.contains(&tail[..9]), "{unseen:?}: {out:?}");
            for split in 0..line.len() {
                let (one, two) = line.as_bytes().split_at(split);
                assert_eq!(
                    String::from_utf8_lossy(&in_pieces(&masker, [one, two])),
                    out,
                    "{unseen:?} at {split}"
                );
            }
        }
        let apart: Vec<String> = "S3cret-of-x".chars().map(String::from).collect();
        assert_eq!(whole(&masker, format!("<{}>", apart.join(unseen)).as_bytes()), "<***>", "{unseen:?}");
    }
}

#[test]
fn what_is_left_out_is_masked_as_well_where_it_holds_a_secret() {
    let masker = masker(&["S3cret-of-x"]);
    assert_eq!(
        whole(&masker, b"\x1b]8;;https://x.example/?key=S3cret-of-x\x07link\x1b]8;;\x07"),
        "\u{1b}]8;;https://x.example/?key=***\u{7}link\u{1b}]8;;\u{7}"
    );
    assert_eq!(whole(&masker, b"S3\x1b]0;S3cret-of-x\x07cret-of-x"), "***");
    // A string that does not end hides no more than its line.
    assert_eq!(whole(&masker, b"S\x1b]0;endless\nS3cr\x1b[met-of-x"), "S\u{1b}]0;endless\n***");
}

#[test]
fn what_is_long_and_unseen_is_not_held_back() {
    let masker = masker(&["S3cret-of-x"]);
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    stream.push(b"S3\x1bPq", &mut out);
    assert!(out.is_empty(), "the secret may go on after the picture");
    stream.push("#0;2;0".repeat(20_000).as_bytes(), &mut out);
    assert!(out.len() > 119_000, "{}", out.len());
}

#[test]
fn colours_delay_nothing_that_is_no_secret() {
    let masker = masker(&["hunter22"]);
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    for line in ["\x1b[31mred\x1b[0m\n", "10 of 20\r15 of 20\r", "hunt\x1b[0med\n", "question h\x1b[0m? "] {
        out.clear();
        stream.push(line.as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), line);
    }
}

#[test]
fn mask_no_overmask() {
    let masker = masker(&[
        "hunter22",
        "correct horse battery staple",
        "-----BEGIN KEY-----\nAAECAwQFBgcICQ==\n}\n-----END KEY-----\n",
    ]);
    for line in [
        "hunter2 is shorter",
        "{\n}\n",
        "correct horse, battery",
        "a } and a { and ----- and ***",
        "-----BEGIN KEY-----",
        "aHVudGVy",
        "==",
        "",
        "\0\u{1}\u{7f}",
    ] {
        assert_eq!(whole(&masker, line.as_bytes()), line);
    }
    assert_eq!(whole(&masker, b"<hunter22>hunter22hunter2 22retnuh"), "<***>***hunter2 ***");
    assert_eq!(whole(&masker, b"x AAECAwQFBgcICQ== y"), "x *** y");
}

#[test]
fn what_can_not_be_masked_is_refused() {
    let refused = |value: &str| Masker::admits("key", &Secret::new(value)).unwrap_err();
    assert!(matches!(refused("short"), Unmaskable::TooShort { length: 5, .. }));
    assert!(matches!(refused("  a   \n\n"), Unmaskable::TooShort { .. }));
    for common in ["password", "Production", "--------", "{{{{}}}}", "LOCALHOST"] {
        assert!(matches!(refused(common), Unmaskable::Common { .. }), "{common}");
    }
    assert!(matches!(refused(&"ab1".repeat(50_000)), Unmaskable::TooLong { .. }));
    assert!(matches!(refused("abc\0defgh"), Unmaskable::Nul { .. }));
    assert!(!refused("shor7").to_string().contains("shor7"));
}

#[test]
fn structure_of_a_document_is_no_secret_but_its_keys_are() {
    let document = r#"{
  "type": "service_account",
  "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQ==\n-----END PRIVATE KEY-----\n",
  "password": "tiger!7",
  "auth_uri": "https://accounts.example.org/o/oauth2/auth"
}"#;
    let masker = masker(&[document]);
    assert_eq!(whole(&masker, document.as_bytes()), MASK);
    assert_eq!(
        whole(&masker, b"{\n  \"type\": \"service_account\",\n"),
        "{\n  \"type\": \"service_account\",\n"
    );
    assert_eq!(whole(&masker, b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC tiger!7"), "*** ***");
}

#[test]
fn nothing_waits_that_can_not_become_a_secret() {
    let masker = masker(&["hunter22", "abcabcabc"]);
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    stream.push(b"line one\npassword: ", &mut out);
    assert_eq!(out, b"line one\npassword: ");
    stream.push(b"hunt", &mut out);
    assert_eq!(out, b"line one\npassword: ");
    stream.push(b"er22", &mut out);
    assert_eq!(out, b"line one\npassword: ***", "a whole secret waits for nothing");
    stream.push(b"abcabcabc", &mut out);
    stream.push(b"abc", &mut out);
    assert!(out.ends_with(b"******"), "{:?}", String::from_utf8_lossy(&out));
    stream.push(b"\nhunt", &mut out);
    stream.push(b"er at the end", &mut out);
    stream.finish(&mut out);
    assert!(out.ends_with(b"***\nhunter at the end"), "{:?}", String::from_utf8_lossy(&out));
}

#[test]
fn an_endless_overlap_takes_no_memory() {
    let masker = masker(&["abcabcabcabc"]);
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    for _ in 0..1000 {
        stream.push("abc".repeat(100).as_bytes(), &mut out);
    }
    stream.finish(&mut out);
    assert_eq!(out, MASK.as_bytes());
}

#[test]
fn results_and_reasons_are_masked() {
    let masker = masker(&["hunter22"]);
    let mut reason = Reason {
        blame: staith_model::Blame::Project,
        what: "`out/hunter22` is a socket".into(),
        remedy: Some("remove hunter22".into()),
    };
    masker.reason(&mut reason);
    assert_eq!(
        (reason.what.as_str(), reason.remedy.as_deref()),
        ("`out/***` is a socket", Some("remove ***"))
    );
    let failure = TestFailure {
        suite: "hunter22".into(),
        name: "hunter22".into(),
        message: "hunter22".into(),
        file: Some("hunter22".into()),
        line: None,
    };
    let finding = Finding {
        severity: staith_model::Severity::Error,
        path: "hunter22".into(),
        line: None,
        column: None,
        rule: Some("hunter22".into()),
        message: "hunter22".into(),
    };
    let mut results = StepResults {
        tests: Some(TestSummary { failures: vec![failure], ..TestSummary::default() }),
        findings: Some(Findings { shown: vec![finding], ..Findings::default() }),
        ..StepResults::default()
    };
    masker.results(&mut results);
    assert!(!serde_json::to_string(&results).unwrap().contains("hunter22"));
}

/// The text without what a terminal does not show, by rules of its own.
fn read(text: &str) -> String {
    let mut read = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match UNSEEN.iter().filter(|unseen| rest.starts_with(**unseen)).max_by_key(|unseen| unseen.len()) {
            Some(unseen) => rest = &rest[unseen.len()..],
            None => {
                read.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    read
}

proptest! {
    #[test]
    fn no_secret_is_read_between_sequences(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::sample::select(UNSEEN.to_vec()),
                prop::sample::select(vec!["a", "b", "c", "ab", "bc", "abcabcab", "YWJj", "x", "\n", "ü", "»"]),
            ],
            0..60,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let masker = masker(&["abcabcab", "bcabcabx"]);
        let text = pieces.concat();
        let out = whole(&masker, text.as_bytes());
        let read_out = read(&out);
        prop_assert!(!read_out.contains("abcabcab") && !read_out.contains("bcabcabx"), "{:?} {:?}", text, out);
        let read_text = read(&text);
        prop_assert!(
            out == text || ["abcabcab", "bcabcabx", "YWJj"].iter().any(|form| read_text.contains(form)),
            "{:?} {:?}", text, out
        );
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &text.as_bytes()[ends[0]..ends[1]]);
        prop_assert_eq!(String::from_utf8_lossy(&in_pieces(&masker, pieces)).into_owned(), out);
    }

    #[test]
    fn how_bytes_arrive_changes_nothing(
        text in "(ab|abc|cab|YWJj|\n|\r\n|x|616263|\x1b\\[m|\x1b|\x1b\\]0;|\x07|»|\u{9b}){0,60}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let masker = masker(&["abcabcab", "cabxabcx", "bcabcabxx"]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &text.as_bytes()[ends[0]..ends[1]]);
        prop_assert_eq!(String::from_utf8(in_pieces(&masker, pieces)).unwrap(), whole(&masker, text.as_bytes()));
    }

    #[test]
    fn no_secret_survives(secret in "[!-~ ]{8,40}", before in "[ -~\n]{0,40}", after in "[ -~\n]{0,40}") {
        prop_assume!(Masker::admits("s", &Secret::new(secret.clone())).is_ok());
        let masker = masker(&[&secret]);
        let text = format!("{before}{secret}{after}");
        let out = whole(&masker, text.as_bytes());
        prop_assert!(out.contains(MASK) && !out.contains(&secret), "{}", out);
    }

    #[test]
    fn what_holds_no_secret_stays_as_it_is(bytes: Vec<u8>) {
        prop_assert_eq!(in_pieces(&masker(&["a secret of some length"]), [&bytes[..]]), bytes);
    }
}

#[test]
fn what_a_person_waits_for_is_let_go_and_the_rest_of_a_secret_is_masked() {
    let masker = masker(&["tok-91f3c2"]);
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    stream.push(b"$ to", &mut out);
    assert_eq!((out.as_slice(), stream.held()), (&b"$ "[..], 2));
    stream.release(&mut out);
    assert_eq!((out.as_slice(), stream.held()), (&b"$ to"[..], 0));
    stream.push(b"k-91f3c2 ls tok-91f3c2\n", &mut out);
    stream.finish(&mut out);
    assert_eq!(String::from_utf8_lossy(&out), "$ to*** ls ***\n");
}
