//! Each mistake is found, with the check that the sound protocol passes: `sound.rs` has it.

use smart_cache_model::Flaw;
use stateright::{Checker as _, HasDiscoveries, Model as _};

use crate::setup::Setup;
use crate::sound;
use crate::world::NOTHING_STALE;

/// The shortest way to a stale answer.
fn find(flaw: Flaw, mut setup: Setup) {
    setup.settings.flaw = Some(flaw);
    let checker = setup
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let way = checker
        .discovery(NOTHING_STALE)
        .unwrap_or_else(|| panic!("{flaw:?}: nothing was found"))
        .into_actions();
    println!(
        "after {} states, in {} steps: {way:?}",
        checker.unique_state_count(),
        way.len()
    );
}

#[test]
fn set_and_del() {
    find(Flaw::SetDel, sound::plain());
}

#[test]
fn tokens_without_the_servers_identity() {
    find(Flaw::NoIdentity, sound::rollback());
}

#[test]
fn tokens_that_are_a_function_of_the_request() {
    find(Flaw::PureTokens, sound::messages());
}

#[test]
fn a_clear_that_is_forgotten_when_it_was_not_acknowledged() {
    find(Flaw::ForgottenClear, sound::messages());
}

#[test]
fn a_ticket_that_compares_one_digest() {
    find(Flaw::OneDigest, sound::found_tags());
}

#[test]
fn a_store_that_takes_young_tags() {
    find(Flaw::UncheckedTags, sound::found_tags());
}

#[test]
fn tokens_of_one_script_that_look_alike() {
    find(Flaw::AlikeTokens, sound::changing_tags());
}

#[test]
fn a_clock_that_is_believed_whatever_it_says() {
    find(Flaw::NoClockRule, sound::clock());
}

#[test]
fn tokens_that_carry_the_build() {
    find(Flaw::TokensOfBuilds, sound::builds());
}

#[test]
fn a_follower_that_has_made_no_lookup() {
    find(Flaw::EarlyJoin, sound::flights());
}

#[test]
fn a_flight_that_is_joined_while_its_answer_is_stored() {
    find(Flaw::OpenWhileStoring, sound::tagged_flights());
}

#[test]
fn an_origin_that_is_the_nonce_alone() {
    find(Flaw::OriginIsNonce, sound::expired());
}

#[test]
fn expired_answers_without_a_third_digest() {
    find(Flaw::NoOrigins, sound::expired());
}

#[test]
fn a_sample_that_is_taken_after_the_lookup() {
    find(Flaw::LateSample, sound::local());
}

#[test]
fn a_sample_of_found_tags_that_is_taken_after_their_lookup() {
    find(Flaw::LateTagSample, sound::local_tags());
}

#[test]
fn a_tracking_connection_that_goes_on_where_the_last_one_ended() {
    find(Flaw::NoGeneration, sound::local());
}

#[test]
fn a_local_tier_without_a_heartbeat() {
    find(Flaw::NoHeartbeat, sound::local());
}

#[test]
fn tracking_with_noloop() {
    find(Flaw::Noloop, sound::local_turns());
}

#[test]
fn entries_that_do_not_settle() {
    find(Flaw::NoSettle, sound::settle());
}

#[test]
fn stores_without_a_lease() {
    find(Flaw::NoLease, sound::settle());
}

#[test]
fn an_unhold_that_forgets_the_other_holder() {
    find(Flaw::UnholdForgets, sound::holds());
}

#[test]
fn a_ticket_that_does_not_look_at_the_holds() {
    find(Flaw::BlindToHolds, sound::lost_marks());
}
