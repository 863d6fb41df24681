use proptest::prelude::*;
use staith_model::{Approvals, Check, FreezeWindow, HoursOfWeek};

use super::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn millis(text: &str) -> u64 {
    let at: jiff::Timestamp = text.parse().unwrap();
    u64::try_from(at.as_millisecond()).unwrap()
}

fn plan(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn facts(at: u64) -> Facts {
    Facts {
        requester: "rosa".into(),
        requested_at: at,
        plan: plan("p"),
        planned_at: at,
        heard_until: u64::MAX,
        branch: Some("main".into()),
        dirty: false,
        trust: None,
        succeeded_in: BTreeSet::new(),
        votes: Vec::new(),
        checks: BTreeMap::new(),
        freeze_override: None,
        break_glass: None,
    }
}

fn approvals(needed: u32) -> Approvals {
    Approvals {
        people: ["anna", "ben", "rosa"].map(str::to_owned).into(),
        needed,
        requester_may: false,
        deadline_seconds: 3600,
        at_deadline: AtDeadline::Expire,
        instructions: String::new(),
    }
}

fn guarded(needed: u32) -> Protection {
    Protection { approvals: Some(approvals(needed)), ..Protection::default() }
}

fn vote(person: &str, of: &str, at: u64, says: Say) -> Vote {
    Vote { person: person.into(), plan: plan(of), at, says, comment: "because".into() }
}

#[test]
fn whoever_is_waited_for_is_told_what_to_look_at() {
    let mut protection = guarded(1);
    let waits_for = |protection: &Protection| {
        let verdict = judge(protection, &facts(0), 1);
        match &verdict.gates[0].state {
            GateState::Waiting { what, .. } => what.clone(),
            state => panic!("{state:?}"),
        }
    };
    assert!(waits_for(&protection).ends_with("anna, ben"), "{}", waits_for(&protection));
    let approvals = protection.approvals.as_mut().unwrap();
    approvals.instructions = " Look at the dashboard first ".into();
    assert!(waits_for(&protection).ends_with("; what approvers look at: Look at the dashboard first"));
    protection.approvals.as_mut().unwrap().at_deadline = AtDeadline::Deploy;
    assert!(
        waits_for(&protection)
            .ends_with("that is a yes; what approvers look at: Look at the dashboard first")
    );
}

fn yes(person: &str, at: u64) -> Vote {
    vote(person, "p", at, Say::Approve)
}

fn ruling(protection: &Protection, facts: &Facts, now: u64) -> Ruling {
    judge(protection, facts, now).ruling
}

#[test]
fn without_protection_everything_is_open() {
    let verdict = judge(&Protection::default(), &facts(0), 5);
    assert_eq!((verdict.ruling, verdict.gates), (Ruling::Go, vec![]));
}

#[test]
fn a_quorum_of_other_people_on_this_very_plan() {
    let protection = guarded(2);
    let mut it = facts(0);
    assert_eq!(ruling(&protection, &it, 10), Ruling::Wait);
    it.votes = vec![yes("anna", 1), yes("anna", 2), yes("rosa", 3), yes("mallory", 4)];
    assert_eq!(ruling(&protection, &it, 10), Ruling::Wait, "one person, the requester, and a stranger");
    it.votes.push(vote("ben", "another plan", 5, Say::Approve));
    assert_eq!(ruling(&protection, &it, 10), Ruling::Wait);
    it.votes.push(yes("ben", 6));
    assert_eq!(ruling(&protection, &it, 10), Ruling::Go);
    it.plan = plan("changed");
    assert_eq!(ruling(&protection, &it, 10), Ruling::Wait);
}

#[test]
fn the_requester_counts_only_where_that_is_allowed() {
    let mut protection = guarded(2);
    let it = Facts { votes: vec![yes("anna", 1), yes("rosa", 1)], ..facts(0) };
    assert_eq!(ruling(&protection, &it, 10), Ruling::Wait);
    protection.approvals.as_mut().unwrap().requester_may = true;
    assert_eq!(ruling(&protection, &it, 10), Ruling::Go);
    // Three of three, and one of them may not: nobody has to wait for that.
    assert_eq!(ruling(&guarded(3), &it, 10), Ruling::Refused);
}

#[test]
fn a_no_ends_it_and_a_late_yes_changes_nothing() {
    let it = Facts {
        votes: vec![yes("anna", 1), vote("ben", "an earlier plan", 2, Say::Reject), yes("ben", 3)],
        ..facts(0)
    };
    let no = Ruling::Rejected { by: "ben".into(), comment: "because".into() };
    assert_eq!(ruling(&guarded(1), &it, 10), no);
    let glass = Override::new("anna", "the shop is down", plan("p"), 4).unwrap();
    assert_eq!(ruling(&guarded(1), &Facts { break_glass: Some(glass), ..it }, 10), no);
    let stranger = Facts { votes: vec![vote("mallory", "p", 1, Say::Reject), yes("anna", 2)], ..facts(0) };
    assert_eq!(ruling(&guarded(1), &stranger, 10), Ruling::Go);
}

#[test]
fn what_waits_expires() {
    let it = facts(0);
    assert_eq!(ruling(&guarded(1), &it, HOUR - 1), Ruling::Wait);
    assert_eq!(ruling(&guarded(1), &it, HOUR), Ruling::Expired);
    let late = Facts { votes: vec![yes("anna", HOUR)], ..facts(0) };
    assert_eq!(ruling(&guarded(1), &late, HOUR + 1), Ruling::Expired);
    let after = Protection { after: ["qa".parse().unwrap()].into(), ..Protection::default() };
    assert_eq!(ruling(&after, &it, PATIENCE_MILLIS - 1), Ruling::Wait);
    assert_eq!(ruling(&after, &it, PATIENCE_MILLIS), Ruling::Expired);
}

/// Of which nobody's silence is a no.
fn lenient() -> Protection {
    let mut protection = guarded(1);
    protection.approvals.as_mut().unwrap().at_deadline = AtDeadline::Deploy;
    protection
}

#[test]
fn silence_is_a_yes_only_where_that_is_said_and_from_the_deadline_on() {
    let it = facts(0);
    assert_eq!(ruling(&guarded(1), &it, HOUR), Ruling::Expired);
    let before = judge(&lenient(), &it, HOUR - 1);
    assert_eq!(before.ruling, Ruling::Wait);
    assert!(matches!(before.gates[0].state, GateState::Waiting { until: Some(HOUR), .. }), "{before:?}");
    let after = judge(&lenient(), &it, HOUR);
    assert_eq!(after.ruling, Ruling::Go);
    // Nobody is said to have approved it.
    let GateState::ByDefault { missing } = &after.gates[0].state else { panic!("{after:?}") };
    assert!(missing.starts_with("1 approval of plan"), "{missing}");
    let approved = judge(&lenient(), &Facts { votes: vec![yes("anna", HOUR + 1)], ..it.clone() }, HOUR + 2);
    assert!(matches!(approved.gates[0].state, GateState::Green { .. }), "{approved:?}");
    // It has an end, too.
    assert_eq!(ruling(&lenient(), &it, HOUR + PATIENCE_MILLIS), Ruling::Expired);
}

#[test]
fn silence_outweighs_nothing() {
    let now = HOUR + 5;
    let no = |by: &str, at| Facts { votes: vec![vote(by, "an earlier plan", at, Say::Reject)], ..facts(0) };
    for at in [1, HOUR, now] {
        assert!(matches!(ruling(&lenient(), &no("ben", at), now), Ruling::Rejected { .. }), "{at}");
        assert!(matches!(ruling(&lenient(), &no("rosa", at), now), Ruling::Rejected { .. }), "who asked");
    }
    // What was said may be on its way.
    let deaf = Facts { heard_until: HOUR - 1, ..facts(0) };
    assert_eq!(ruling(&lenient(), &deaf, now), Ruling::Wait);
    // Nobody was silent about a plan that they did not have an hour for.
    let fresh = Facts { planned_at: MINUTE, ..facts(0) };
    assert_eq!(ruling(&lenient(), &fresh, now), Ruling::Wait);
    assert_eq!(ruling(&lenient(), &fresh, HOUR + MINUTE), Ruling::Go);
    // Where nobody could have said anything, it is no silence.
    let mut nobody = lenient();
    nobody.approvals.as_mut().unwrap().people = ["rosa".to_owned()].into();
    assert_eq!(ruling(&nobody, &facts(0), now), Ruling::Refused);
}

#[test]
fn what_goes_by_default_needs_all_else_at_the_same_time() {
    let now = HOUR + 5;
    let closed = Protection { branches: vec!["release/*".into()], ..lenient() };
    assert_eq!(ruling(&closed, &facts(0), now), Ruling::Refused);
    let after = Protection { after: ["qa".parse().unwrap()].into(), ..lenient() };
    assert_eq!(ruling(&after, &facts(0), now), Ruling::Wait);
    let checked = Protection { checks: vec![Check::Health], ..lenient() };
    let seen = |at| Facts { checks: [(0, Sample { at, answer: Answer::Healthy })].into(), ..facts(0) };
    assert_eq!(ruling(&checked, &facts(0), now), Ruling::Wait, "nobody has looked");
    assert_eq!(
        ruling(&checked, &seen(now - SAMPLING_MILLIS - 1), now),
        Ruling::Wait,
        "nobody has looked lately"
    );
    assert_eq!(ruling(&checked, &seen(now - 1), now), Ruling::Go);
    let untrusted = Protection { trust: Some(Trust::Protected), ..lenient() };
    assert_eq!(ruling(&untrusted, &facts(0), now), Ruling::Refused);
    // As what a person says, it is withdrawn when the hours end.
    let office = hours(&["mon", "tue"], "09:00", "17:00", "UTC");
    let protection = Protection { hours: vec![office], ..lenient() };
    let asked = |at: &str| facts(millis(at));
    let (noon, evening) = (asked("2026-11-16T12:00:00Z"), asked("2026-11-16T18:00:00Z"));
    assert_eq!(ruling(&protection, &noon, millis("2026-11-16T13:00:00Z")), Ruling::Go);
    assert_eq!(ruling(&protection, &noon, millis("2026-11-17T10:00:00Z")), Ruling::Wait, "withdrawn");
    assert_eq!(ruling(&protection, &evening, millis("2026-11-16T20:00:00Z")), Ruling::Wait, "closed");
    assert_eq!(ruling(&protection, &evening, millis("2026-11-17T10:00:00Z")), Ruling::Go);
}

#[test]
fn every_gate_that_waits_says_until_when() {
    let now = millis("2026-11-21T12:00:00Z");
    let protection = Protection {
        after: ["qa".parse().unwrap()].into(),
        hours: vec![hours(&["mon"], "09:00", "17:00", "Europe/Berlin")],
        freezes: vec![freeze("2026-11-20[UTC]", "2026-11-25T00:00:00Z")],
        checks: vec![Check::Health],
        ..guarded(1)
    };
    let verdict = judge(&protection, &facts(now), now);
    assert_eq!(verdict.gates.len(), 5);
    for gate in &verdict.gates {
        assert!(
            matches!(&gate.state, GateState::Waiting { deadline, .. } if *deadline == now + HOUR),
            "{gate:?}"
        );
    }
    let until = |name: &str| {
        let gate = verdict.gates.iter().find(|gate| gate.name == name).unwrap();
        let GateState::Waiting { until, .. } = gate.state else { unreachable!() };
        until
    };
    assert_eq!(until("hours"), Some(millis("2026-11-23T09:00:00+01:00")));
    assert_eq!(until("freeze"), Some(millis("2026-11-25T00:00:00Z")));
}

fn hours(days: &[&str], from: &str, until: &str, zone: &str) -> HoursOfWeek {
    HoursOfWeek {
        days: days.iter().map(|day| (*day).to_owned()).collect(),
        from: from.into(),
        until: until.into(),
        zone: zone.into(),
    }
}

fn freeze(from: &str, until: &str) -> FreezeWindow {
    FreezeWindow { from: from.into(), until: until.into(), why: "the sale".into() }
}

fn open(one: &HoursOfWeek, at: &str) -> bool {
    let protection = Protection { hours: vec![one.clone()], ..Protection::default() };
    let now = millis(at);
    ruling(&protection, &facts(now), now) == Ruling::Go
}

#[test]
fn hours_are_those_of_the_clocks_there_in_winter_and_summer() {
    let office = hours(&["mon", "tue", "wed", "thu", "fri"], "09:00", "17:00", "Europe/Berlin");
    for (at, expected) in [
        ("2026-01-12T07:59:59Z", false),
        ("2026-01-12T08:00:00Z", true),
        ("2026-01-12T15:59:59Z", true),
        ("2026-01-12T16:00:00Z", false),
        ("2026-07-13T07:00:00Z", true),
        ("2026-07-13T15:00:00Z", false),
        ("2026-07-12T10:00:00Z", false),
    ] {
        assert_eq!(open(&office, at), expected, "{at}");
    }
}

#[test]
fn nights_in_which_clocks_change() {
    // 2026-03-29 in Berlin: 02:00 becomes 03:00. 2026-10-25: 03:00 becomes 02:00.
    let night = hours(&["sat"], "22:00", "04:00", "Europe/Berlin");
    assert!(open(&night, "2026-03-29T01:59:59Z"));
    assert!(!open(&night, "2026-03-29T02:00:00Z"));
    assert!(open(&night, "2026-10-25T02:59:59Z"));
    assert!(!open(&night, "2026-10-25T03:00:00Z"));
    // An hour that is skipped is no hour; one that comes twice is the first.
    let skipped = hours(&["sun"], "02:00", "03:00", "Europe/Berlin");
    assert!(!open(&skipped, "2026-03-29T01:00:00Z") && !open(&skipped, "2026-03-29T00:30:00Z"));
    assert!(open(&skipped, "2026-10-25T00:30:00Z"));
    let all_day = hours(&["sun"], "00:00", "24:00", "Europe/Berlin");
    assert!(open(&all_day, "2026-10-24T22:00:00Z") && open(&all_day, "2026-10-25T22:59:59Z"));
    assert!(!open(&all_day, "2026-10-25T23:00:00Z"));
}

#[test]
fn an_approval_is_withdrawn_when_the_hours_end() {
    let office = hours(&["mon", "tue", "wed", "thu", "fri"], "09:00", "17:00", "UTC");
    let mut protection = Protection { hours: vec![office], ..guarded(1) };
    protection.approvals.as_mut().unwrap().deadline_seconds = 7 * 24 * 3600;
    let monday = millis("2026-11-16T16:00:00Z");
    let it = Facts { votes: vec![yes("anna", monday + MINUTE)], ..facts(monday) };
    assert_eq!(ruling(&protection, &it, monday + 2 * MINUTE), Ruling::Go);
    assert_eq!(ruling(&protection, &it, monday + HOUR), Ruling::Wait);
    assert_eq!(ruling(&protection, &it, millis("2026-11-17T10:00:00Z")), Ruling::Wait, "withdrawn");
    // Said in the evening, for the next morning.
    let evening = Facts { votes: vec![yes("anna", monday + 2 * HOUR)], ..it };
    assert_eq!(ruling(&protection, &evening, millis("2026-11-17T10:00:00Z")), Ruling::Go);
}

#[test]
fn windows_that_touch_are_one() {
    let all = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let halves = vec![hours(&all, "00:00", "12:00", "UTC"), hours(&all, "12:00", "24:00", "UTC")];
    let mut protection = Protection { hours: halves, ..guarded(1) };
    protection.approvals.as_mut().unwrap().deadline_seconds = 7 * 24 * 3600;
    let now = millis("2026-11-16T11:00:00Z");
    let it = Facts { votes: vec![yes("anna", now)], ..facts(now) };
    assert_eq!(ruling(&protection, &it, now + 40 * HOUR), Ruling::Go);
}

#[test]
fn a_freeze_is_overridden_only_with_a_reason_and_for_this_plan() {
    let protection = Protection {
        freezes: vec![freeze("2026-12-20[Europe/Berlin]", "2027-01-02T08:00:00+01:00")],
        ..Protection::default()
    };
    let now = millis("2026-12-24T12:00:00Z");
    assert_eq!(ruling(&protection, &facts(now), now), Ruling::Wait);
    assert_eq!(ruling(&protection, &facts(now), millis("2026-12-19T22:59:59Z")), Ruling::Go);
    for (reason, of, expected) in [
        ("a hole is being used", "p", Ruling::Go),
        ("a hole is being used", "q", Ruling::Wait),
        (" .", "p", Ruling::Wait),
    ] {
        let thaw = Override { by: "anna".into(), reason: reason.into(), plan: plan(of), at: now };
        assert_eq!(Override::new("anna", reason, plan(of), now).is_ok(), reason.len() > 2);
        let it = Facts { freeze_override: Some(thaw), ..facts(now) };
        assert_eq!(ruling(&protection, &it, now), expected, "{reason} {of}");
    }
}

#[test]
fn breaking_the_glass_tells_what_was_passed_over() {
    let protection = Protection { branches: vec!["release/*".into()], ..guarded(2) };
    let glass = Override::new("anna", "the shop is down", plan("p"), 5).unwrap();
    let it = Facts { break_glass: Some(glass), ..facts(0) };
    let verdict = judge(&protection, &it, 10);
    assert_eq!(verdict.ruling, Ruling::Go);
    assert!(verdict.gates.iter().all(
        |gate| matches!(&gate.state, GateState::Overridden { reason, .. } if reason == "the shop is down")
    ));
    assert_eq!(ruling(&protection, &Facts { plan: plan("q"), ..it }, 10), Ruling::Refused);
}

#[test]
fn branches_are_globs_and_what_is_not_known_is_none() {
    let protection =
        Protection { branches: vec!["main".into(), "release/*".into()], ..Protection::default() };
    let of = |branch: Option<&str>, dirty| {
        ruling(&protection, &Facts { branch: branch.map(str::to_owned), dirty, ..facts(0) }, 5)
    };
    for branch in ["main", "release/1.2"] {
        assert_eq!(of(Some(branch), false), Ruling::Go);
    }
    for branch in ["Main", "feature", "release/1/2", "main2"] {
        assert_eq!(of(Some(branch), false), Ruling::Refused, "{branch}");
    }
    assert_eq!(of(None, false), Ruling::Refused);
    assert_eq!(of(Some("main"), true), Ruling::Refused);
}

#[test]
fn the_very_release_must_have_succeeded_before() {
    let protection = Protection { after: ["qa".parse().unwrap()].into(), ..Protection::default() };
    assert_eq!(ruling(&protection, &facts(0), 5), Ruling::Wait);
    let it = Facts { succeeded_in: ["qa".parse().unwrap()].into(), ..facts(0) };
    assert_eq!(ruling(&protection, &it, 5), Ruling::Go);
}

fn metric(limit: &str, dry_run: bool) -> Check {
    Check::Metric {
        metric: staith_model::Metric {
            name: "errors".parse().unwrap(),
            prometheus: "http://127.0.0.1:9090".into(),
            query: "q".into(),
            holds: staith_model::Comparison::Below,
            limit: limit.into(),
            dry_run,
        },
    }
}

#[test]
fn no_answer_is_never_a_good_one() {
    let now = 10 * MINUTE;
    let http = Check::Http { url: "https://example.org".into(), status: 200 };
    for (check, answer, expected) in [
        (http.clone(), Answer::Status(200), Ruling::Go),
        (http.clone(), Answer::Status(204), Ruling::Wait),
        (http.clone(), Answer::Nothing("refused".into()), Ruling::Wait),
        (http, Answer::Number(200.0), Ruling::Wait),
        (metric("0.5", false), Answer::Number(0.4), Ruling::Go),
        (metric("0.5", false), Answer::Number(0.5), Ruling::Wait),
        (metric("0.5", false), Answer::Number(f64::NAN), Ruling::Wait),
        (metric("half", false), Answer::Number(0.1), Ruling::Wait),
        (metric("NaN", false), Answer::Number(0.1), Ruling::Wait),
        (metric("0.5", false), Answer::Nothing("empty".into()), Ruling::Wait),
        (metric("0.5", true), Answer::Nothing("empty".into()), Ruling::Go),
        (Check::Health, Answer::Healthy, Ruling::Go),
        (Check::Health, Answer::Nothing("web1 is down".into()), Ruling::Wait),
    ] {
        let protection = Protection { checks: vec![check.clone()], ..Protection::default() };
        let sample = |at| BTreeMap::from([(0, Sample { at, answer: answer.clone() })]);
        let it = |at| Facts { checks: sample(at), ..facts(0) };
        assert_eq!(ruling(&protection, &it(now), now), expected, "{check:?} {answer:?}");
        if !matches!(&check, Check::Metric { metric } if metric.dry_run) {
            assert_eq!(ruling(&protection, &it(now - SAMPLING_MILLIS - 1), now), Ruling::Wait, "too old");
            assert_eq!(ruling(&protection, &it(now + 1), now), Ruling::Wait, "from the future");
            assert_eq!(ruling(&protection, &facts(0), now), Ruling::Wait, "not asked yet");
        }
    }
}

#[test]
fn what_cant_be_meant_is_told_and_lets_nothing_through() {
    let now = millis("2026-11-16T11:00:00Z");
    let bad = [
        Protection { branches: vec!["[".into()], ..Protection::default() },
        Protection { hours: vec![hours(&["mo"], "09:00", "17:00", "UTC")], ..Protection::default() },
        Protection { hours: vec![hours(&["mon"], "9", "17:00", "UTC")], ..Protection::default() },
        Protection { hours: vec![hours(&["mon"], "09:00", "17:00", "Mars/Base")], ..Protection::default() },
        Protection { hours: vec![hours(&[], "09:00", "17:00", "UTC")], ..Protection::default() },
        Protection { freezes: vec![freeze("soon", "later")], ..Protection::default() },
        Protection {
            freezes: vec![freeze("2027-01-02T00:00:00Z", "2027-01-01T00:00:00Z")],
            ..Protection::default()
        },
        Protection { checks: vec![metric("many", false)], ..Protection::default() },
        guarded(0),
        guarded(9),
    ];
    for protection in bad {
        assert_eq!(mistakes(&protection).len(), 1, "{protection:?}");
        assert_ne!(ruling(&protection, &facts(now), now), Ruling::Go, "{protection:?}");
    }
    assert_eq!(mistakes(&guarded(2)), Vec::<String>::new());
}

#[derive(Debug, Clone)]
enum Step {
    Vote(&'static str, Say, &'static str),
    Plan(&'static str),
    Time(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let person = prop::sample::select(vec!["anna", "ben", "rosa", "mallory", "Anna"]);
    let plan = prop::sample::select(vec!["p", "q"]);
    let say = prop_oneof![9 => Just(Say::Approve), 1 => Just(Say::Reject)];
    let step = prop_oneof![
        4 => (person, say, plan.clone()).prop_map(|(person, says, plan)| Step::Vote(person, says, plan)),
        1 => plan.prop_map(Step::Plan),
        2 => (0_u64..20 * MINUTE).prop_map(Step::Time),
    ];
    proptest::collection::vec(step, 0..25)
}

proptest! {
    #[test]
    fn never_green_without_a_quorum_of_others_on_the_plan_as_it_is(
        steps in steps(), needed in 1_u32..4, requester_may: bool,
    ) {
        let mut protection = guarded(needed);
        protection.approvals.as_mut().unwrap().requester_may = requester_may;
        let (mut it, mut now, mut rejected, mut expired) = (facts(0), 0, false, false);
        for step in steps {
            match step {
                Step::Vote(person, says, of) => {
                    rejected |= says == Say::Reject && ["anna", "ben", "rosa"].contains(&person);
                    it.votes.push(vote(person, of, now, says));
                }
                Step::Plan(of) => it.plan = plan(of),
                Step::Time(more) => now += more,
            }
            let verdict = judge(&protection, &it, now);
            expired |= now >= HOUR;
            let counted: BTreeSet<&str> = it.votes.iter()
                .filter(|vote| vote.says == Say::Approve && vote.plan == it.plan && vote.at < HOUR)
                .map(|vote| vote.person.as_str())
                .filter(|person| ["anna", "ben"].contains(person) || (requester_may && *person == "rosa"))
                .collect();
            let may = !rejected && !expired && counted.len() >= needed as usize;
            prop_assert_eq!(verdict.ruling == Ruling::Go, may, "{:?}", verdict);
            prop_assert_eq!(matches!(verdict.ruling, Ruling::Rejected { .. }), rejected);
            prop_assert_eq!(verdict.ruling == Ruling::Expired, expired && !rejected);
        }
    }

    #[test]
    fn hours_open_and_close_as_the_clock_there_says(offset in 0_u64..400 * 24 * 60) {
        let zone = jiff::tz::TimeZone::get("America/New_York").unwrap();
        let now = millis("2026-01-01T00:00:00Z") + offset * MINUTE;
        let at = jiff::Timestamp::from_millisecond(i64::try_from(now).unwrap()).unwrap().to_zoned(zone);
        let expected = (9..17).contains(&at.hour()) && at.weekday().to_monday_zero_offset() < 5;
        let office = hours(&["mon", "tue", "wed", "thu", "fri"], "09:00", "17:00", "America/New_York");
        let protection = Protection { hours: vec![office], ..Protection::default() };
        prop_assert_eq!(ruling(&protection, &facts(now), now) == Ruling::Go, expected);
    }
}

#[test]
fn whose_code_it_is_has_to_be_known_and_nobody_goes_past_it() {
    let protection = |trust| Protection { trust, ..Protection::default() };
    let glass = Override::new("anna", "the shop is down", plan("p"), 5).unwrap();
    for (least, told, expected) in [
        (None, None, Ruling::Go),
        (None, Some(Trust::Branch), Ruling::Go),
        (Some(Trust::Branch), Some(Trust::Branch), Ruling::Go),
        (Some(Trust::Branch), Some(Trust::Fork), Ruling::Refused),
        (Some(Trust::Protected), Some(Trust::Protected), Ruling::Go),
        (Some(Trust::Protected), Some(Trust::Branch), Ruling::Refused),
        (Some(Trust::Protected), None, Ruling::Refused),
    ] {
        for break_glass in [None, Some(glass.clone())] {
            let it = Facts { trust: told, break_glass, ..facts(0) };
            assert_eq!(ruling(&protection(least), &it, 10), expected, "{least:?} {told:?}");
        }
    }
}
