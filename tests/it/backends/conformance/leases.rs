//! Who may fill an entry, and until when.

use std::time::{Duration, Instant};

use bytes::Bytes;
use smart_cache::Target;
use smart_cache::backend::{Lease, Stored, Ticket};
use smart_cache_tests::harness::eventually;

use super::on_each_backend;
use super::stage::{Settings, Stage, Subject, page, tagged};

on_each_backend![
    a_lease_keeps_others_busy_until_it_is_given_back,
    a_lease_keeps_others_busy_until_it_is_used,
    an_expired_lease_passes_on,
    the_holder_of_an_expired_lease_stores_nothing,
    the_second_holder_stores_also_after_the_first_has_tried,
    a_renewed_lease_outlives_its_time,
    a_lost_lease_cannot_be_renewed,
    a_lease_is_given_back_only_by_its_holder,
    a_released_lease_stores_nothing,
    the_lease_of_one_variant_does_not_hold_up_another,
    of_many_tickets_at_once_one_leads,
    busy_names_the_digest_that_the_leader_has,
    an_invented_lease_stores_nothing,
];

fn short(stage: &Stage, lease: Duration) -> Subject {
    stage.with(&Settings {
        lease,
        ..Settings::default()
    })
}

/// Asks until the lease before has expired.
async fn next_lead(backend: &Subject, target: &Target) -> Lease {
    eventually("the lease to expire", async || {
        match backend.ticket(target).await.unwrap() {
            Ticket::Lead(lease) => Some(lease),
            _ => None,
        }
    })
    .await
}

async fn a_lease_keeps_others_busy_until_it_is_given_back(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let lease = backend.lead(&target).await;
    assert!(backend.is_busy(&target).await);
    backend.0.release(&target, &lease).await.unwrap();
    backend.lead(&target).await;
}

async fn a_lease_keeps_others_busy_until_it_is_used(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let lease = backend.lead(&target).await;
    assert!(backend.is_busy(&target).await);
    backend.store(&target, &lease, "body").await;
    assert!(matches!(
        backend.ticket(&target).await.unwrap(),
        Ticket::Filled(_)
    ));
}

async fn an_expired_lease_passes_on(stage: Stage) {
    let (backend, target) = (short(&stage, Duration::from_millis(50)), page("k"));
    let first = backend.lead(&target).await;
    let second = next_lead(&backend, &target).await;
    assert_eq!(first.digest, second.digest);
    assert_ne!(first.value, second.value);
}

async fn the_holder_of_an_expired_lease_stores_nothing(stage: Stage) {
    let (backend, target) = (short(&stage, Duration::from_millis(1500)), page("k"));
    let first = backend.lead(&target).await;
    let second = next_lead(&backend, &target).await;
    assert_eq!(
        backend.store(&target, &second, "second").await,
        Stored::Landed(None)
    );
    assert_eq!(
        backend.store(&target, &first, "first").await,
        Stored::LeaseLost
    );
    assert_eq!(backend.served(&target).await.as_deref(), Some("second"));
}

async fn the_second_holder_stores_also_after_the_first_has_tried(stage: Stage) {
    let (backend, target) = (short(&stage, Duration::from_millis(1500)), page("k"));
    let first = backend.lead(&target).await;
    let second = next_lead(&backend, &target).await;
    assert_eq!(
        backend.store(&target, &first, "first").await,
        Stored::LeaseLost
    );
    assert_eq!(backend.served(&target).await, None);
    assert_eq!(
        backend.store(&target, &second, "second").await,
        Stored::Landed(None)
    );
    assert_eq!(backend.served(&target).await.as_deref(), Some("second"));
}

async fn a_renewed_lease_outlives_its_time(stage: Stage) {
    let lasting = Duration::from_millis(800);
    let (backend, target) = (short(&stage, lasting), page("k"));
    let lease = backend.lead(&target).await;
    let began = Instant::now();
    while began.elapsed() < 2 * lasting {
        assert!(backend.0.renew(&target, &lease).await.unwrap());
        assert!(backend.is_busy(&target).await);
        tokio::time::sleep(lasting / 20).await;
    }
    assert_eq!(
        backend.store(&target, &lease, "body").await,
        Stored::Landed(None)
    );
}

async fn a_lost_lease_cannot_be_renewed(stage: Stage) {
    let (backend, target) = (short(&stage, Duration::from_millis(50)), page("k"));
    let first = backend.lead(&target).await;
    next_lead(&backend, &target).await;
    assert!(!backend.0.renew(&target, &first).await.unwrap());
}

async fn a_lease_is_given_back_only_by_its_holder(stage: Stage) {
    let (backend, target) = (short(&stage, Duration::from_millis(1500)), page("k"));
    let first = backend.lead(&target).await;
    let second = next_lead(&backend, &target).await;
    backend.0.release(&target, &first).await.unwrap();
    assert!(backend.is_busy(&target).await);
    assert_eq!(
        backend.store(&target, &second, "body").await,
        Stored::Landed(None)
    );
}

async fn a_released_lease_stores_nothing(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let lease = backend.lead(&target).await;
    backend.0.release(&target, &lease).await.unwrap();
    backend.0.release(&target, &lease).await.unwrap();
    assert_eq!(
        backend.store(&target, &lease, "body").await,
        Stored::LeaseLost
    );
    assert_eq!(backend.served(&target).await, None);
}

async fn the_lease_of_one_variant_does_not_hold_up_another(stage: Stage) {
    let backend = stage.backend();
    backend.lead(&Target::new("k", &[], b"1")).await;
    backend.lead(&Target::new("k", &[], b"2")).await;
    backend.lead(&page("other")).await;
}

async fn of_many_tickets_at_once_one_leads(stage: Stage) {
    let (backend, target) = (stage.backend(), tagged("k", &["t"]));
    let mut tickets = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (backend, target) = (backend.clone(), target.clone());
        tickets.spawn(async move { backend.ticket(&target).await.unwrap() });
    }
    let tickets = tickets.join_all().await;
    let leads = tickets
        .iter()
        .filter(|ticket| matches!(ticket, Ticket::Lead(_)));
    assert_eq!(leads.count(), 1);
    let busy = tickets
        .iter()
        .filter(|ticket| matches!(ticket, Ticket::Busy(_)));
    assert_eq!(busy.count(), 49);
}

async fn busy_names_the_digest_that_the_leader_has(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let lease = backend.lead(&target).await;
    let Ticket::Busy(digest) = backend.ticket(&target).await.unwrap() else {
        panic!("it is held")
    };
    assert_eq!(digest, lease.digest);
}

async fn an_invented_lease_stores_nothing(stage: Stage) {
    let (backend, target) = (stage.backend(), page("k"));
    let real = backend.lead(&target).await;
    for value in [&b""[..], b"invented", &real.value[..real.value.len() - 1]] {
        let invented = Lease {
            digest: real.digest,
            value: Bytes::copy_from_slice(value),
        };
        assert_eq!(
            backend.store(&target, &invented, "body").await,
            Stored::LeaseLost
        );
    }
    assert_eq!(
        backend.store(&target, &real, "body").await,
        Stored::Landed(None)
    );
}
