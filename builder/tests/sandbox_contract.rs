//! The built-in sandbox keeps the contract of engines, as root and as an ordinary user,
//! with the host's own root and with an image.

mod support;

use support::{bench::built_in, engine_contract as contract, ordinary_user, rootfs::InImage};

macro_rules! keeps {
    ($($name:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let place = tempfile::tempdir().unwrap();
            contract::$name(&built_in(place.path())).await;
        }
    )*

    /// One after another, because making the image takes longer than most of them.
    #[tokio::test(flavor = "multi_thread")]
    async fn all_of_it_in_an_image() {
        let place = tempfile::tempdir().unwrap();
        let engine = InImage::new(place.path());
        $(contract::$name(&engine).await;)*
    }};
}

keeps!(
    exit_codes_are_the_programs,
    output_comes_in_order_and_while_the_step_runs,
    a_slow_or_absent_receiver_loses_nothing_and_blocks_nobody,
    the_environment_is_the_specs_alone,
    a_step_starts_where_it_was_told,
    changes_land_in_upper_and_lowers_stay,
    left_overs_of_another_step_are_an_error,
    a_step_goes_on_with_left_overs_where_that_is_asked_for,
    sixty_layers_stack,
    a_missing_program_is_not_started,
    a_timeout_ends_the_whole_tree,
    cancelling_asks_first,
    a_step_cancelled_before_it_starts_ends,
    dropping_the_future_ends_the_step,
    what_a_step_leaves_running_ends_with_it,
    zombies_are_reaped,
    too_much_memory_is_told_by_a_counter,
    too_many_processes_are_refused,
    networks_are_what_was_asked_for,
    the_proxy_does_not_lead_to_the_host,
    two_sandboxes_know_nothing_of_each_other,
    big_arguments_and_environments_arrive,
    reaping_leaves_the_living_alone,
    a_program_is_reached_through_the_gate,
    neighbours_are_reached_by_name,
    neighbours_that_can_not_be_had_are_an_error,
    checks_run_beside_the_program,
    a_check_that_hangs_is_ended,
    one_gate_is_one_sandboxs,
    nothing_to_run_is_an_error,
    a_terminal_is_the_programs_own,
    nobody_types_into_a_terminal_but_the_person,
);

#[test]
fn the_same_as_an_ordinary_user() {
    ordinary_user::run_again("the_same_as_an_ordinary_user");
}
