//! Negative controls: for each invariant, a decider that forgets it is noticed, and for the right reason.

use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use super::{
    super::wrong::Wrong,
    abort::{any_stopped, is_heeded},
    analysis::{any_measured, goes_on_with_data_only},
    authority::{
        any_stale, any_with_a_past, goes_back, is_overtaken, only_reads_again, stages_nothing_on_the_way_back,
    },
    decisions::{any_paused, stands_still},
    undecided::{any_interrupted, is_asked_of_a_person},
    *,
};

/// Looks for a case in which a wrong decider breaks a property, and the property says what was broken.
#[expect(clippy::result_large_err, reason = "the runner of properties has its own type of error")]
fn is_noticed<S>(
    wrong: Wrong,
    cases: S,
    property: impl Fn(&Scenario) -> Result<(), TestCaseError>,
    words: &str,
) where
    S: Strategy<Value = Scenario>,
{
    // The first case that shows it is enough. Others may show something else first.
    let config = ProptestConfig { max_shrink_iters: 0, ..config(400) };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let shows = |scenario| match property(&scenario) {
        Err(TestCaseError::Fail(why)) if why.message().contains(words) => Err(TestCaseError::Fail(why)),
        _ => Ok(()),
    };
    let outcome = wrong.while_doing(|| runner.run(&cases, shows));
    let Err(TestError::Fail(why, _)) = outcome else {
        panic!("a decider that forgets {wrong:?} was not noticed: {outcome:?}");
    };
    assert!(why.message().contains(words), "{wrong:?}: {why}");
}

macro_rules! noticed {
    ($($test:ident: $wrong:ident, $cases:expr, $property:expr, $words:expr;)+) => {
        $(#[test]
        fn $test() {
            is_noticed(Wrong::$wrong, $cases, $property, $words);
        })+
    };
}

noticed! {
    i1_abort_forgotten: Abort, any_stopped(), is_heeded, "it went on from";
    i1_abort_after_all_else: AbortAtOnce, any_stopped(), is_heeded, "it went on from";
    i1_forward_after_abort: WayBack, any_stopped(), is_heeded, "Switch";
    i2_barrier_forgotten: Barrier, any_network(), arrives_at_last, "I2: ";
    i2_barrier_forgotten_in_trouble: Barrier, any_trouble(), ends, "I2: ";
    i3_budget_forgotten: Budget, any_quiet(), arrives, "I3: ";
    drain_forgotten: Drain, any_quiet(), arrives, "was restarted while it got requests";
    no_endpoint_left: Proof, all_sick(), is_taken_back, "no endpoint is left";
    pause_forgotten: Pause, any_paused(), stands_still, "while it stood still";
    undecided_forgotten: Undecided, any_interrupted(), is_asked_of_a_person, "was decided by nobody";
    i4_deadline_forgotten: Deadline, any_trouble(), ends, "I4: ";
    i5_lease_forgotten: Lease, any_stale(), is_overtaken, "it was not told";
    i6_gates_on_the_way_back: Free, any_with_a_past(), goes_back, "Expired";
    i6_bytes_on_the_way_back: Bytes, any_trouble(), stages_nothing_on_the_way_back, "staged on the way back";
    i7_no_reply_taken_for_no: NoReply, any_network(), arrives_at_last, "the network alone";
    i7_no_data_taken_for_yes: NoData, any_measured(), goes_on_with_data_only, "it went on without data";
    i7_failure_limit_forgotten: Limit, any_measured(), goes_on_with_data_only, "it was asked again after";
    shares_of_waves_forgotten: Share, any_quiet(), arrives, "is watched while";
    i8_writes_again: Reads, any_quiet(), only_reads_again, "it did";
}

/// The new release works nowhere.
fn all_sick() -> impl Strategy<Value = Scenario> {
    any_quiet().prop_map(|mut scenario| {
        scenario.before = true;
        scenario.sick = members(&scenario).into_iter().collect();
        scenario
    })
}
