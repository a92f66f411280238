//! Schedule 14: no scripts, so every step of every actor mixes with those of the others.
//!
//! Readers look up, take a ticket, read the row and store; writers commit and clear. Whatever the
//! order was, afterwards the cache holds the newest row or nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use smart_cache::Target;
use smart_cache::backend::{BoxFuture, Lookup, Stored, Ticket, ValueStore as _};

use super::plain::Plain;
use super::stage::{Settings, Subject, page, tagged, tags};
use super::stepped::{Stepped, drive, stale_orders};

/// How many orders of each scenario are drawn.
const ORDERS: u64 = 300;

/// What a scenario is made of.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    readers: usize,
    writers: usize,
    /// Tokens vanish meanwhile, as they do where memory is short.
    evictions: bool,
    /// The row is named by a tag that the handler finds, instead of one that it declares.
    found: bool,
    /// Get, set and delete of the answer alone: what everybody writes first.
    naive: bool,
}

const PLAIN: Scenario = Scenario {
    readers: 2,
    writers: 1,
    evictions: false,
    found: false,
    naive: false,
};

type Actor = (Arc<Stepped>, BoxFuture<'static, ()>);

/// What all actors of one order share.
struct World {
    values: Arc<Plain>,
    row: Arc<AtomicU64>,
    scenario: Scenario,
}

impl World {
    fn target(&self) -> Target {
        if self.scenario.found {
            page("list")
        } else {
            tagged("list", &["row"])
        }
    }

    fn actor(&self) -> (Arc<Stepped>, Subject) {
        let store = Stepped::new(&self.values);
        let subject = Subject::on(store.clone(), &Settings::default());
        (store, subject)
    }

    fn reader(&self) -> Actor {
        let (store, subject) = self.actor();
        let (row, target) = (Arc::clone(&self.row), self.target());
        let found = if self.scenario.found {
            tags(&["row"])
        } else {
            Vec::new()
        };
        let actor = async move {
            for _ in 0..2 {
                let Lookup::Miss { dynamic, .. } = subject.lookup(&target).await.unwrap() else {
                    continue;
                };
                let Ok(Ticket::Lead(lease)) = subject.ticket_with(&target, &dynamic).await else {
                    continue;
                };
                let read = row.load(Ordering::Relaxed).to_string();
                subject
                    .store_with(&target, &lease, &read, None, &found)
                    .await;
            }
        };
        (store, Box::pin(actor))
    }

    fn writer(&self) -> Actor {
        let (store, subject) = self.actor();
        let (row, own) = (Arc::clone(&self.row), Arc::clone(&store));
        let actor = async move {
            own.step().await;
            row.fetch_add(1, Ordering::Relaxed);
            subject.clear(&["row"]).await;
        };
        (store, Box::pin(actor))
    }

    fn evictor(&self, seed: u64) -> Actor {
        let store = Stepped::new(&self.values);
        let (values, own) = (Arc::clone(&self.values), Arc::clone(&store));
        let actor = async move {
            for round in 0..3 {
                for _ in 0..8 {
                    own.step().await;
                }
                let mut names = values.all_names();
                names.retain(|name| name.starts_with("t:"));
                if !names.is_empty() {
                    let at = (seed + round) as usize % names.len();
                    values.delete_many(&names[at..=at]).await.unwrap();
                }
            }
        };
        (store, Box::pin(actor))
    }

    fn naive_reader(&self) -> Actor {
        let store = Stepped::new(&self.values);
        let (row, own) = (Arc::clone(&self.row), Arc::clone(&store));
        let actor = async move {
            let names = ["answer".to_owned()];
            if own.get_many(&names).await.unwrap()[0].is_none() {
                let read = row.load(Ordering::Relaxed).to_string();
                let [name] = names;
                own.set_many(&[(name, read.into())], None).await.unwrap();
            }
        };
        (store, Box::pin(actor))
    }

    fn naive_writer(&self) -> Actor {
        let store = Stepped::new(&self.values);
        let (row, own) = (Arc::clone(&self.row), Arc::clone(&store));
        let actor = async move {
            own.step().await;
            row.fetch_add(1, Ordering::Relaxed);
            own.delete_many(&["answer".to_owned()]).await.unwrap();
        };
        (store, Box::pin(actor))
    }

    /// Whether the cache serves something else than the row.
    async fn is_stale(&self) -> bool {
        let served = if self.scenario.naive {
            let answer = self.values.get_many(&["answer".to_owned()]).await.unwrap();
            answer[0]
                .as_ref()
                .map(|answer| String::from_utf8_lossy(answer).into_owned())
        } else {
            let subject = Subject::on(self.values.clone(), &Settings::default());
            subject.served(&self.target()).await
        };
        served.is_some_and(|served| served != self.row.load(Ordering::Relaxed).to_string())
    }
}

async fn one_order(scenario: Scenario, seed: u64) -> bool {
    let world = World {
        values: Arc::default(),
        row: Arc::default(),
        scenario,
    };
    let mut actors = Vec::new();
    for _ in 0..scenario.readers {
        actors.push(if scenario.naive {
            world.naive_reader()
        } else {
            world.reader()
        });
    }
    for _ in 0..scenario.writers {
        actors.push(if scenario.naive {
            world.naive_writer()
        } else {
            world.writer()
        });
    }
    if scenario.evictions {
        actors.push(world.evictor(seed));
    }
    drive(seed, actors).await;
    world.is_stale().await
}

fn check_nothing_is_stale(scenario: Scenario) {
    let stale = stale_orders(ORDERS, |seed| one_order(scenario, seed));
    assert_eq!(stale, 0, "of {ORDERS} orders of {scenario:?}");
}

#[test]
fn readers_and_a_writer_in_any_order_leave_nothing_stale() {
    check_nothing_is_stale(PLAIN);
}

#[test]
fn two_writers_and_three_readers_in_any_order_leave_nothing_stale() {
    check_nothing_is_stale(Scenario {
        readers: 3,
        writers: 2,
        ..PLAIN
    });
}

#[test]
fn tokens_that_vanish_at_any_time_leave_nothing_stale() {
    check_nothing_is_stale(Scenario {
        evictions: true,
        ..PLAIN
    });
}

#[test]
fn a_tag_found_by_the_handler_leaves_nothing_stale_in_any_order() {
    check_nothing_is_stale(Scenario {
        found: true,
        ..PLAIN
    });
}

#[test]
fn a_found_tag_whose_token_vanishes_leaves_nothing_stale_in_any_order() {
    check_nothing_is_stale(Scenario {
        found: true,
        evictions: true,
        ..PLAIN
    });
}

/// The negative control: these orders do find what a cache without tokens gets wrong.
#[test]
fn get_set_and_delete_alone_end_stale_in_some_orders() {
    let scenario = Scenario {
        naive: true,
        ..PLAIN
    };
    assert!(stale_orders(ORDERS, |seed| one_order(scenario, seed)) > 0);
}

/// A backend on a map, the map, and the entry that was stored before a clear.
async fn cleared() -> (Subject, Arc<Plain>, Target, (String, Bytes)) {
    let values = Arc::new(Plain::default());
    let subject = Subject::on(values.clone(), &Settings::default());
    let target = page("k");
    subject.fill(&target, "old").await;
    let name = "t:k".to_owned();
    let token = values.get_many(std::slice::from_ref(&name)).await.unwrap();
    let token = token[0].clone().unwrap();
    subject.clear(&["k"]).await;
    assert_eq!(subject.served(&target).await, None);
    (subject, values, target, (name, token))
}

/// Why no client may send an add twice, and why no touch may bring a value back: nothing tells the
/// token that returns from one that never left.
#[tokio::test]
async fn a_token_that_returns_after_a_clear_would_revive_the_old_answer() {
    let (subject, values, target, (name, token)) = cleared().await;
    assert!(values.add(&name, token, None).await.unwrap());
    assert_eq!(subject.served(&target).await.as_deref(), Some("old"));
}

/// A store that was on its way for long, past a clear and a new fill.
#[tokio::test]
async fn an_entry_that_lands_late_is_never_served() {
    let values = Arc::new(Plain::default());
    let subject = Subject::on(values.clone(), &Settings::default());
    let target = page("k");
    subject.fill(&target, "old").await;
    let mut names = values.all_names();
    names.retain(|name| name.starts_with("e:"));
    let late = values.get_many(&names).await.unwrap()[0].clone().unwrap();
    subject.clear(&["k"]).await;
    subject.fill(&target, "new").await;
    values
        .set_many(&[(names[0].clone(), late)], None)
        .await
        .unwrap();
    assert_eq!(subject.served(&target).await, None);
    subject.fill(&target, "newer").await;
    assert_eq!(subject.served(&target).await.as_deref(), Some("newer"));
}

#[tokio::test]
async fn what_stands_in_a_tokens_place_and_is_none_is_replaced() {
    let values = Arc::new(Plain::default());
    let subject = Subject::on(values.clone(), &Settings::default());
    for name in ["t:", "t:k"] {
        let foreign = Bytes::from_static(b"something else");
        values
            .set_many(&[(name.to_owned(), foreign)], None)
            .await
            .unwrap();
        assert_eq!(subject.served(&page("k")).await, None);
        subject.fill(&page("k"), name).await;
        assert_eq!(subject.served(&page("k")).await.as_deref(), Some(name));
    }
}

#[tokio::test]
async fn an_invented_ticket_is_no_lease() {
    let subject = Subject::on(Arc::new(Plain::default()), &Settings::default());
    let real = subject.lead(&page("k")).await;
    let mut other = real.clone();
    other.value = [&real.value[..], b"\x01\x00\x00\x00a\x00\x00\x00\x00"]
        .concat()
        .into();
    let stored = subject.store(&page("k"), &other, "body").await;
    assert_eq!(stored, Stored::LeaseLost);
}

#[tokio::test]
async fn a_sweep_takes_the_dead_and_leaves_the_living() {
    let values = Arc::new(Plain::default());
    let subject = Subject::on(values.clone(), &Settings::default());
    // The head of a test's payload names this key.
    let (dead, living) = (Target::new("k", &[], b"1"), Target::new("k", &[], b"2"));
    subject.fill(&dead, "dead").await;
    subject.clear(&["k"]).await;
    subject.fill(&living, "living").await;
    assert_eq!(subject.0.sweep().await.unwrap(), 1);
    assert_eq!(subject.served(&living).await.as_deref(), Some("living"));
    assert_eq!(subject.0.sweep().await.unwrap(), 0);
}
