//! Stored, found, expired, displaced, removed.

use std::time::Duration;

use smart_cache::Target;
use smart_cache::backend::{Filling, Lookup, Stored, Ticket};
use smart_cache_tests::harness::eventually;

use super::on_each_backend;
use super::stage::{Settings, Stage, page, payload, tagged};

on_each_backend![
    a_lookup_of_nothing_misses_without_a_digest,
    a_lookup_after_a_ticket_sees_the_digest_of_the_ticket,
    what_was_stored_is_found_to_the_byte,
    every_length_of_body_is_found_to_the_byte,
    variants_of_one_key_are_entries_of_their_own,
    a_ticket_finds_what_was_filled_meanwhile,
    an_entry_with_a_time_to_live_expires,
    a_store_while_the_token_is_young_expires_after_settle,
    a_shorter_time_to_live_beats_settle,
    a_store_with_an_old_token_stays_for_ever,
    a_clear_makes_the_token_young_again,
    without_settle_the_first_store_stays_for_ever,
    a_key_holds_no_more_variants_than_allowed,
    a_variant_that_is_stored_again_displaces_nobody,
    a_discarded_entry_is_gone_and_can_be_filled_again,
    discarding_nothing_is_no_error,
    reclaiming_takes_the_dead_and_leaves_the_living,
];

const AN_HOUR: Duration = Duration::from_secs(3600);

async fn a_lookup_of_nothing_misses_without_a_digest(stage: Stage) {
    let found = stage.backend().lookup(&tagged("k", &["t"])).await.unwrap();
    assert!(
        matches!(&found, Lookup::Miss { digest: None, dynamic } if dynamic.is_empty()),
        "{found:?}"
    );
}

async fn a_lookup_after_a_ticket_sees_the_digest_of_the_ticket(stage: Stage) {
    let (backend, target) = (stage.backend(), tagged("k", &["t"]));
    let lease = backend.lead(&target).await;
    let found = backend.lookup(&target).await.unwrap();
    assert!(
        matches!(&found, Lookup::Miss { digest, .. } if *digest == Some(lease.digest)),
        "{found:?} {lease:?}"
    );
}

async fn what_was_stored_is_found_to_the_byte(stage: Stage) {
    let (backend, target) = (stage.backend(), tagged("k", &["t"]));
    let mut payload = payload("", &[]);
    payload.extend((0..=255).cycle().take(70_000).map(|byte: u16| byte as u8));
    let lease = backend.lead(&target).await;
    let filling = Filling {
        payload: &payload,
        ttl: None,
        dynamic: &[],
    };
    let stored = backend.0.store(&target, &lease, filling).await.unwrap();
    assert_eq!(stored, Stored::Landed(None));
    let Lookup::Hit(found) = backend.lookup(&target).await.unwrap() else {
        panic!("it was stored")
    };
    assert!(found == *payload, "{} bytes came back", found.len());
}

async fn every_length_of_body_is_found_to_the_byte(stage: Stage) {
    let backend = stage.backend();
    for length in [0, 1, 79, 80, 81, 4095, 4096, 4097, 1 << 20] {
        let (target, body) = (page(&format!("k{length}")), "x".repeat(length));
        backend.fill(&target, &body).await;
        assert!(
            backend.served(&target).await == Some(body),
            "{length} bytes"
        );
    }
}

async fn variants_of_one_key_are_entries_of_their_own(stage: Stage) {
    let backend = stage.backend();
    let (one, two) = (Target::new("k", &[], b"1"), Target::new("k", &[], b"2"));
    backend.fill(&one, "one").await;
    assert_eq!(backend.served(&two).await, None);
    backend.fill(&two, "two").await;
    assert_eq!(backend.served(&one).await.as_deref(), Some("one"));
    assert_eq!(backend.served(&two).await.as_deref(), Some("two"));
    backend.clear(&["k"]).await;
    assert_eq!(backend.served(&one).await, None);
    assert_eq!(backend.served(&two).await, None);
}

async fn a_ticket_finds_what_was_filled_meanwhile(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    backend.fill(&target, "there").await;
    let Ticket::Filled(found) = backend.ticket(&target).await.unwrap() else {
        panic!("it is filled")
    };
    assert!(found == *payload("there", &[]), "{found:?}");
}

async fn an_entry_with_a_time_to_live_expires(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let ttl = Duration::from_millis(150);
    let lease = backend.lead(&target).await;
    let stored = backend
        .store_with(&target, &lease, "brief", Some(ttl), &[])
        .await;
    assert_eq!(stored, Stored::Landed(Some(ttl)));
    eventually("the entry to expire", async || {
        backend.served(&target).await.is_none().then_some(())
    })
    .await;
    backend.fill(&target, "next").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("next"));
}

async fn a_store_while_the_token_is_young_expires_after_settle(stage: Stage) {
    let settle = Duration::from_millis(200);
    let (backend, target) = (
        stage.with(&Settings {
            settle,
            ..Settings::default()
        }),
        page("k"),
    );
    let lease = backend.lead(&target).await;
    let stored = backend.store(&target, &lease, "settling").await;
    assert_eq!(stored, Stored::Landed(Some(settle)));
    eventually("the settling entry to expire", async || {
        backend.served(&target).await.is_none().then_some(())
    })
    .await;
}

async fn a_shorter_time_to_live_beats_settle(stage: Stage) {
    let (backend, target) = (
        stage.with(&Settings {
            settle: AN_HOUR,
            ..Settings::default()
        }),
        page("k"),
    );
    for (ttl, expected) in [(AN_HOUR / 2, AN_HOUR / 2), (AN_HOUR * 2, AN_HOUR)] {
        backend.clear(&["k"]).await;
        let lease = backend.lead(&target).await;
        let stored = backend
            .store_with(&target, &lease, "body", Some(ttl), &[])
            .await;
        assert_eq!(stored, Stored::Landed(Some(expected)), "ttl {ttl:?}");
    }
}

async fn a_store_with_an_old_token_stays_for_ever(stage: Stage) {
    let (backend, target) = (
        stage.with(&Settings {
            settle: Duration::from_millis(20),
            ..Settings::default()
        }),
        page("k"),
    );
    eventually("the token to be older than settle", async || {
        let Ticket::Lead(lease) = backend.ticket(&target).await.unwrap() else {
            return None;
        };
        let stored = backend.store(&target, &lease, "body").await;
        (stored == Stored::Landed(None)).then_some(())
    })
    .await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("body"));
}

async fn a_clear_makes_the_token_young_again(stage: Stage) {
    let settle = Duration::from_millis(300);
    let (backend, target) = (
        stage.with(&Settings {
            settle,
            ..Settings::default()
        }),
        tagged("k", &["t"]),
    );
    eventually("the tokens to be older than settle", async || {
        let Ticket::Lead(lease) = backend.ticket(&target).await.unwrap() else {
            return None;
        };
        let stored = backend.store(&target, &lease, "old").await;
        (stored == Stored::Landed(None)).then_some(())
    })
    .await;
    backend.clear(&["t"]).await;
    let lease = backend.lead(&target).await;
    let stored = backend.store(&target, &lease, "new").await;
    assert_eq!(stored, Stored::Landed(Some(settle)));
}

async fn without_settle_the_first_store_stays_for_ever(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let lease = backend.lead(&target).await;
    let stored = backend.store(&target, &lease, "body").await;
    assert_eq!(stored, Stored::Landed(None));
}

async fn a_key_holds_no_more_variants_than_allowed(stage: Stage) {
    let backend = stage.with(&Settings {
        max_variants: 4,
        ..Settings::default()
    });
    let variants: Vec<Target> = (0..20_u8).map(|at| Target::new("k", &[], &[at])).collect();
    let other = page("other");
    backend.fill(&other, "other").await;
    for target in &variants {
        backend.fill(target, "body").await;
        assert_eq!(
            backend.served(target).await.as_deref(),
            Some("body"),
            "the newest stays"
        );
    }
    let mut served = 0;
    for target in &variants {
        served += usize::from(backend.served(target).await.is_some());
    }
    // Each of four partitions keeps one, if one of the variants belongs to it.
    let least = if matches!(stage, Stage::Partitioned(_)) {
        1
    } else {
        4
    };
    assert!((least..=4).contains(&served), "{served}");
    assert_eq!(backend.served(&other).await.as_deref(), Some("other"));
}

async fn a_variant_that_is_stored_again_displaces_nobody(stage: Stage) {
    let backend = stage.with(&Settings {
        max_variants: 8,
        ..Settings::default()
    });
    let (one, two) = (Target::new("k", &[], b"1"), Target::new("k", &["t"], b"2"));
    backend.fill(&one, "one").await;
    for round in 0..10 {
        backend.fill(&two, &format!("two {round}")).await;
        backend.clear(&["t"]).await;
    }
    assert_eq!(backend.served(&one).await.as_deref(), Some("one"));
}

async fn a_discarded_entry_is_gone_and_can_be_filled_again(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    backend.fill(&target, "damaged").await;
    backend.0.discard(&target).await.unwrap();
    assert_eq!(backend.served(&target).await, None);
    backend.fill(&target, "whole").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("whole"));
}

async fn discarding_nothing_is_no_error(stage: Stage) {
    stage.backend().0.discard(&page("k")).await.unwrap();
}

async fn reclaiming_takes_the_dead_and_leaves_the_living(stage: Stage) {
    let backend = stage.backend();
    let (dead, living) = (
        Target::new("k", &[], b"dead"),
        Target::new("k", &[], b"living"),
    );
    backend.fill(&dead, "dead").await;
    backend.fill(&living, "old").await;
    backend.clear(&["k"]).await;
    backend.fill(&living, "new").await;
    backend
        .0
        .reclaim(vec!["k".to_owned(), "unknown".to_owned()])
        .await;
    assert_eq!(backend.served(&dead).await, None);
    assert_eq!(backend.served(&living).await.as_deref(), Some("new"));
    if let Stage::Redis(server) = &stage {
        let entries = server.cli(&[
            "--no-raw",
            "EVAL",
            "return #redis.call('KEYS', '*:e:*')",
            "0",
        ]);
        assert_eq!(entries, "(integer) 1", "the dead one is gone");
    }
}
