//! Schedule 14: no scripts, so every step of every actor mixes with those of the others.
//!
//! Readers look up, take a ticket, read the row and store; writers commit and clear. Whatever the
//! order was, afterwards the cache holds the newest row or nothing.
//!
//! Over 400 lines, since actors, steps and what is asked of their orders make one table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use smart_cache::Target;
use smart_cache::backend::{BoxFuture, Lookup, Stored, Ticket, ValueStore};
use smart_cache_tests::harness::namespace;

use super::plain::Plain;
use super::stage::{Settings, Subject, page, tagged, tags};
use super::stepped::{Stepped, drive, stale_of, stale_orders};
use crate::stores::{self, Stores};

/// How many orders of each scenario are drawn.
const ORDERS: u64 = 300;
/// Where each step is a round trip.
const ORDERS_OF_A_SERVER: u64 = 25;

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
    /// As many users of one store; actors take turns with them.
    users: Vec<Arc<dyn ValueStore>>,
    /// Part of every name, so that orders may share a store.
    number: u64,
    row: Arc<AtomicU64>,
    scenario: Scenario,
}

impl World {
    fn key(&self) -> String {
        format!("list{}", self.number)
    }

    fn tag(&self) -> String {
        format!("row{}", self.number)
    }

    fn target(&self) -> Target {
        if self.scenario.found {
            page(&self.key())
        } else {
            tagged(&self.key(), &[&self.tag()])
        }
    }

    fn actor(&self, at: usize) -> (Arc<Stepped>, Subject) {
        let store = Stepped::new(&self.users[at % self.users.len()]);
        let subject = Subject::on(store.clone(), &Settings::default());
        (store, subject)
    }

    fn reader(&self, at: usize) -> Actor {
        let (store, subject) = self.actor(at);
        let (row, target) = (Arc::clone(&self.row), self.target());
        let found = if self.scenario.found {
            tags(&[&self.tag()])
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

    fn writer(&self, at: usize) -> Actor {
        let (store, subject) = self.actor(at);
        let (row, own, tag) = (Arc::clone(&self.row), Arc::clone(&store), self.tag());
        let actor = async move {
            own.step().await;
            row.fetch_add(1, Ordering::Relaxed);
            subject.clear(&[&tag]).await;
        };
        (store, Box::pin(actor))
    }

    /// Tokens are removed, or expire, as those do that the sweep has found unused.
    fn evictor(&self, at: usize) -> Actor {
        let values = Arc::clone(&self.users[at % self.users.len()]);
        let store = Stepped::new(&values);
        let own = Arc::clone(&store);
        let names = [self.tag(), self.key(), String::new()].map(|key| format!("t:{key}"));
        let seed = self.number as usize;
        let actor = async move {
            for round in 0..3 {
                for _ in 0..8 {
                    own.step().await;
                }
                let name = &names[(seed + round) % names.len()];
                if (seed + round).is_multiple_of(2) {
                    let name = std::slice::from_ref(name);
                    values.delete_many(name).await.unwrap();
                } else {
                    let end = Some(Duration::from_millis(1));
                    values.touch(name, end).await.unwrap();
                }
            }
        };
        (store, Box::pin(actor))
    }

    fn naive_reader(&self, at: usize) -> Actor {
        let store = Stepped::new(&self.users[at % self.users.len()]);
        let (row, own, key) = (Arc::clone(&self.row), Arc::clone(&store), self.key());
        let actor = async move {
            let names = [key];
            if own.get_many(&names).await.unwrap()[0].is_none() {
                let read = row.load(Ordering::Relaxed).to_string();
                let [name] = names;
                own.set_many(&[(name, read.into())], None).await.unwrap();
            }
        };
        (store, Box::pin(actor))
    }

    fn naive_writer(&self, at: usize) -> Actor {
        let store = Stepped::new(&self.users[at % self.users.len()]);
        let (row, own, key) = (Arc::clone(&self.row), Arc::clone(&store), self.key());
        let actor = async move {
            own.step().await;
            row.fetch_add(1, Ordering::Relaxed);
            own.delete_many(&[key]).await.unwrap();
        };
        (store, Box::pin(actor))
    }

    /// Whether the cache serves something else than the row.
    async fn is_stale(&self) -> bool {
        let values = &self.users[0];
        let served = if self.scenario.naive {
            let answer = values.get_many(&[self.key()]).await.unwrap();
            answer[0]
                .as_ref()
                .map(|answer| String::from_utf8_lossy(answer).into_owned())
        } else {
            let subject = Subject::on(Arc::clone(values), &Settings::default());
            subject.served(&self.target()).await
        };
        served.is_some_and(|served| served != self.row.load(Ordering::Relaxed).to_string())
    }
}

async fn one_order(scenario: Scenario, number: u64, users: Vec<Arc<dyn ValueStore>>) -> bool {
    let world = World {
        users,
        number,
        row: Arc::default(),
        scenario,
    };
    let mut actors = Vec::new();
    for at in 0..scenario.readers {
        actors.push(if scenario.naive {
            world.naive_reader(at)
        } else {
            world.reader(at)
        });
    }
    for at in scenario.readers..scenario.readers + scenario.writers {
        actors.push(if scenario.naive {
            world.naive_writer(at)
        } else {
            world.writer(at)
        });
    }
    if scenario.evictions {
        actors.push(world.evictor(actors.len()));
    }
    drive(number, actors).await;
    world.is_stale().await
}

/// An order on a map of its own.
async fn on_a_map(scenario: Scenario, seed: u64) -> bool {
    one_order(scenario, seed, vec![Arc::new(Plain::default())]).await
}

/// The schedule on a real store, whose users have connections of their own, as processes would
/// have.
pub(super) async fn on_real_stores(stores: &Arc<dyn Stores>) {
    let all = [
        PLAIN,
        Scenario {
            evictions: true,
            ..PLAIN
        },
        Scenario {
            found: true,
            evictions: true,
            ..PLAIN
        },
    ];
    for scenario in all {
        let name = namespace();
        let users: Vec<_> = (0..4).map(|_| stores.store(&name)).collect();
        let order = |seed| one_order(scenario, seed, users.clone());
        let stale = stale_of(ORDERS_OF_A_SERVER, order).await;
        assert_eq!(stale, 0, "of {ORDERS_OF_A_SERVER} orders of {scenario:?}");
    }
    // The negative control.
    let (scenario, name) = (
        Scenario {
            naive: true,
            ..PLAIN
        },
        namespace(),
    );
    let users: Vec<_> = (0..4).map(|_| stores.store(&name)).collect();
    let order = |seed| one_order(scenario, seed, users.clone());
    assert!(stale_of(4 * ORDERS_OF_A_SERVER, order).await > 0);
}

#[tokio::test]
async fn on_a_sqlite_file_no_order_of_steps_leaves_anything_stale() {
    on_real_stores(&stores::sqlite()).await;
}

#[tokio::test]
async fn on_a_folder_no_order_of_steps_leaves_anything_stale() {
    on_real_stores(&stores::file()).await;
}

#[tokio::test]
async fn on_a_memcached_no_order_of_steps_leaves_anything_stale() {
    on_real_stores(&stores::memcached().await).await;
}

fn check_nothing_is_stale(scenario: Scenario) {
    let stale = stale_orders(ORDERS, |seed| on_a_map(scenario, seed));
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
    assert!(stale_orders(ORDERS, |seed| on_a_map(scenario, seed)) > 0);
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
