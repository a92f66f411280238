//! Values that were computed are changed by steps, and nobody's acknowledged write is lost between
//! them: every order of a write with an `add`, a count or a move ends as one of the two after the
//! other would.

use std::sync::Arc;

use bytes::Bytes;
use smart_cache::Target;
use smart_cache::backend::{Added, BoxFuture, NewValue, ValueStore, value_key};

use super::plain::Plain;
use super::stage::{Settings, Subject};
use super::stepped::{Stepped, drive, stale_orders};
use crate::stores::{self, Stores};

/// How many orders are drawn.
const ORDERS: u64 = 300;

type NewUser = fn(&Arc<dyn ValueStore>) -> Arc<Stepped>;
type Change = fn(Arc<dyn ValueStore>) -> BoxFuture<'static, ()>;

/// A computed `1` under `k`; without its proof if it is to be dead.
async fn compute(map: &Arc<dyn ValueStore>, is_dead: bool) {
    let subject = Subject::on(Arc::clone(map), &Settings::default());
    let target = Target::new(&value_key("k"), &["="], b"=k");
    let lease = subject.lead(&target).await;
    let value = NewValue {
        name: "k",
        bytes: b"1",
        expiry: None,
    };
    let added = subject.0.add_value(&target, &lease, value).await;
    assert_eq!(added.unwrap(), Added::Stored);
    if is_dead {
        map.delete_many(&["t:=k".to_owned()]).await.unwrap();
    }
}

/// What stands under these names after a change and a write of `10` to `k`, in this order of steps.
async fn order(seed: u64, is_dead: bool, user: NewUser, change: Change) -> [Option<Bytes>; 2] {
    let map: Arc<dyn ValueStore> = Arc::new(Plain::default());
    compute(&map, is_dead).await;
    let user = || {
        let store = user(&map);
        let subject = Subject::on(store.clone(), &Settings::default());
        (store, subject.0.values().unwrap())
    };
    let ((one, changing), (other, writing)) = (user(), user());
    let write = async move {
        let values = [("k".to_owned(), Bytes::from_static(b"10"))];
        assert!(writing.set_many(&values, None).await.unwrap().is_empty());
    };
    drive(
        seed,
        vec![(one, change(changing)), (other, Box::pin(write))],
    )
    .await;
    let values = Subject::on(map, &Settings::default()).0.values().unwrap();
    let found = values.get_many(&["k".to_owned(), "l".to_owned()]).await;
    found.unwrap().try_into().unwrap()
}

type Ends = [Option<&'static str>; 2];

/// How many orders end as none of these.
fn odd_orders(is_dead: bool, user: NewUser, change: Change, may_end: &[Ends]) -> u64 {
    stale_orders(ORDERS, |seed| async move {
        let ended = order(seed, is_dead, user, change).await;
        let is_one = |end: &Ends| {
            ended.each_ref().map(Option::as_deref) == end.map(|text| text.map(str::as_bytes))
        };
        !may_end.iter().any(is_one)
    })
}

#[track_caller]
fn check(is_dead: bool, change: Change, may_end: &[Ends]) {
    let odd = odd_orders(is_dead, Stepped::new, change, may_end);
    assert_eq!(odd, 0, "of {ORDERS} orders");
}

/// The negative control: a store that looks and then writes does lose what is set in between.
#[test]
fn a_store_that_cannot_compare_loses_a_write_in_some_orders() {
    let add: Change = |values| {
        Box::pin(async move {
            values.add("k", "added".into(), None).await.unwrap();
        })
    };
    let count: Change = |values| {
        Box::pin(async move {
            values.increment("k", 1).await.unwrap();
        })
    };
    assert!(odd_orders(true, Stepped::looking, add, &[[Some("10"), None]]) > 0);
    let ends = [[Some("10"), None], [Some("11"), None]];
    assert!(odd_orders(false, Stepped::looking, count, &ends) > 0);
}

#[test]
fn an_add_over_what_lost_its_proof_never_takes_what_is_set_meanwhile() {
    let add: Change = |values| {
        Box::pin(async move {
            values.add("k", "added".into(), None).await.unwrap();
        })
    };
    check(true, add, &[[Some("10"), None]]);
    check(false, add, &[[Some("10"), None]]);
}

#[test]
fn a_count_of_what_was_computed_never_takes_what_is_set_meanwhile() {
    let count: Change = |values| {
        Box::pin(async move {
            values.increment("k", 1).await.unwrap();
        })
    };
    check(false, count, &[[Some("10"), None], [Some("11"), None]]);
    check(true, count, &[[Some("10"), None], [Some("11"), None]]);
}

#[test]
fn a_move_of_what_was_computed_never_takes_what_is_set_meanwhile() {
    let rename: Change = |values| {
        Box::pin(async move {
            values.rename("k", "l").await.unwrap();
        })
    };
    // A write ends what was computed first, so that a move may find nothing.
    let ends = [
        [Some("10"), None],
        [None, Some("10")],
        [Some("10"), Some("1")],
    ];
    check(false, rename, &ends);
    check(true, rename, &ends[..2]);
}

/// What the store has to bring along for that: of all who compare with one value, one exchanges it.
pub(super) async fn of_all_who_exchange_one_does(stores: &Arc<dyn Stores>) {
    let users = [stores.store("exchange"), stores.store("exchange")];
    let end = Some(std::time::Duration::from_secs(500));
    users[0]
        .set_many(&[("n".to_owned(), "0".into())], end)
        .await
        .unwrap();
    let mut counting = tokio::task::JoinSet::new();
    for at in 0..10 {
        let user = Arc::clone(&users[at % 2]);
        counting.spawn(async move {
            for _ in 0..5 {
                loop {
                    let found = user.get_many(&["n".to_owned()]).await.unwrap();
                    let old = found[0].clone().unwrap();
                    let number: u64 = std::str::from_utf8(&old).unwrap().parse().unwrap();
                    let new = Bytes::from((number + 1).to_string());
                    if user.exchange("n", &old, Some(&new)).await.unwrap() {
                        break;
                    }
                }
            }
        });
    }
    counting.join_all().await;
    let sum = Bytes::from_static(b"50");
    let found = users[1].get_many(&["n".to_owned()]).await.unwrap();
    assert_eq!(found, [Some(sum.clone())]);
    let left = users[0].ttl("n").await.unwrap();
    assert!(
        matches!(left, smart_cache::backend::Ttl::After(left) if left.as_secs() > 300),
        "{left:?}"
    );
    let (other, any) = (Bytes::from_static(b"5"), Bytes::from_static(b"\0\xff'"));
    assert!(!users[0].exchange("n", &other, None).await.unwrap());
    assert!(!users[0].exchange("none", &sum, None).await.unwrap());
    assert!(!users[0].exchange("none", &sum, Some(&any)).await.unwrap());
    assert!(users[0].exchange("n", &sum, Some(&any)).await.unwrap());
    assert!(users[1].exchange("n", &any, None).await.unwrap());
    assert!(!users[1].exchange("n", &any, None).await.unwrap());
    let names = ["n".to_owned(), "none".to_owned()];
    assert_eq!(users[0].get_many(&names).await.unwrap(), [None, None]);
}

#[tokio::test]
async fn of_all_who_exchange_one_does_on_a_sqlite_file() {
    of_all_who_exchange_one_does(&stores::sqlite()).await;
}

#[tokio::test]
async fn of_all_who_exchange_one_does_on_a_folder() {
    of_all_who_exchange_one_does(&stores::file()).await;
}

#[tokio::test]
async fn of_all_who_exchange_one_does_on_a_memcached() {
    of_all_who_exchange_one_does(&stores::memcached().await).await;
}
