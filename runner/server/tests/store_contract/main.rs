//! What a store promises of projects, arrivals, clocks, messages to forges and streams, whichever database is behind it. A promise is a
//! function over [`bench::Bench`], which knows nothing but the traits; another database is held to all of them by a line of its own at
//! the end.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod arrivals;
mod bench;
mod outbox;
mod projects;
mod schedules;
mod streams;

/// All promises, held against what makes stores.
macro_rules! holds {
    ($database:ident: $makes:expr => $($room:ident :: $promise:ident),+ $(,)?) => {
        mod $database {
            $(
                #[tokio::test]
                async fn $promise() {
                    crate::$room::$promise($makes).await;
                }
            )+
        }
    };
}

holds! {
    sqlite: crate::bench::Bench::sqlite() =>
    projects::a_project_is_there_from_its_beginning_to_its_end,
    projects::settings_are_changed_by_who_looked_at_them,
    projects::what_has_open_runs_stays,
    projects::another_project_of_the_same_name_is_another_one,
    arrivals::what_is_told_again_is_the_same,
    arrivals::a_list_is_written_down_whole_or_not_at_all,
    arrivals::what_is_known_already_starts_nothing,
    arrivals::what_nobody_told_is_found_once,
    arrivals::one_project_keeps_no_other_waiting,
    arrivals::what_happened_to_a_branch_later_waits_for_what_was_before,
    arrivals::what_has_ended_stays_as_it_is,
    arrivals::only_what_was_agreed_to_is_free,
    arrivals::pages_go_from_the_newest_to_the_oldest,
    schedules::a_clock_is_looked_at_and_what_came_due_is_there,
    outbox::of_a_run_only_what_is_true_now_is_told,
    outbox::an_answer_to_what_is_no_longer_true_settles_nothing,
    outbox::a_dead_forge_keeps_no_other_waiting,
    streams::a_length_only_grows_and_only_for_who_counts,
    streams::a_stream_is_closed_once,
    streams::a_mark_is_put_once,
    streams::streams_are_listed_in_their_order,
    streams::what_runs_in_flight_build_is_known,
}
