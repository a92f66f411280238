//! The suites on the servers that take long to start: one of each for all checks.

use std::sync::Arc;

use smart_cache::backend::ValueStore;
use smart_cache_tests::harness::{MariaDbServer, MemcachedServer, PostgresServer, eventually};

use super::stage::{Settings, Subject, page};
use super::{changes, schedule, tokens};
use crate::backends::conformance;
use crate::stores::{self, Stores, in_memcached, limits, sql};
use crate::values;
use crate::values::stage::Stage;

#[tokio::test]
async fn postgres_keeps_every_promise() {
    let mut server = PostgresServer::start().await;
    let stores = stores::postgres(&server);
    conformance::all(&stores).await;
    check_two_users(&stores).await;
    values::all(&Stage::Stores(stores::postgres(&server))).await;
    let url = server.database();
    limits::what_has_expired_goes_by_itself(&url, || {
        server.psql_at(&url, "SELECT COUNT(*) FROM smart_cache_values")
    })
    .await;

    let url = server.database();
    let subject = Subject::on(Arc::new(sql(&url, "n")), &Settings::default());
    subject.fill(&page("k"), "before").await;
    assert_eq!(subject.served(&page("k")).await.as_deref(), Some("before"));
    server.restart().await;
    assert_eq!(subject.served_when_back(&page("k")).await, None);
    subject.fill(&page("k"), "after").await;
    assert_eq!(subject.served(&page("k")).await.as_deref(), Some("after"));
}

#[tokio::test]
async fn mariadb_keeps_every_promise() {
    let mut server = MariaDbServer::start().await;
    let stores = stores::mariadb(&server);
    conformance::all(&stores).await;
    check_two_users(&stores).await;
    values::all(&Stage::Stores(stores::mariadb(&server))).await;
    let url = server.database();
    let (_, name) = url.rsplit_once('/').unwrap();
    limits::what_has_expired_goes_by_itself(&url, || {
        server.sql(&format!("SELECT COUNT(*) FROM {name}.smart_cache_values"))
    })
    .await;

    let url = server.database();
    let store = Arc::new(sql(&url, "n"));
    let subject = Subject::on(store.clone(), &Settings::default());
    subject.fill(&page("k"), "before").await;
    assert!(store.add("plain", "value".into(), None).await.unwrap());
    server.restart().await;
    // The entry is there and its tokens too; they are of another life of the server.
    assert_eq!(subject.served_when_back(&page("k")).await, None);
    let kept = store.get_many(&["plain".to_owned()]).await.unwrap();
    assert_eq!(kept[0].as_deref(), Some(&b"value"[..]));
}

/// Schedule 14, which is many round trips.
async fn check_the_schedule(stores: &Arc<dyn Stores>) {
    changes::of_all_who_exchange_one_does(stores).await;
    tokens::all(stores).await;
    schedule::on_real_stores(stores).await;
}

#[tokio::test]
async fn on_postgres_no_order_of_steps_leaves_anything_stale() {
    let server = PostgresServer::start().await;
    check_the_schedule(&stores::postgres(&server)).await;
}

#[tokio::test]
async fn on_mariadb_no_order_of_steps_leaves_anything_stale() {
    let server = MariaDbServer::start().await;
    check_the_schedule(&stores::mariadb(&server)).await;
}

/// Two users of one namespace, with connections of their own, as two processes would have.
async fn check_two_users(stores: &Arc<dyn Stores>) {
    let users = [stores.store("two"), stores.store("two")];
    assert!(users[0].add("n", "0".into(), None).await.unwrap());
    let mut counting = tokio::task::JoinSet::new();
    for at in 0..40 {
        let user = Arc::clone(&users[at % 2]);
        counting.spawn(async move {
            for _ in 0..5 {
                user.increment("n", 1).await.unwrap();
            }
        });
    }
    counting.join_all().await;
    let sum = users[1].get_many(&["n".to_owned()]).await.unwrap();
    assert_eq!(sum[0].as_deref(), Some(&b"200"[..]));

    for round in 0..10 {
        let mut adding = tokio::task::JoinSet::new();
        for at in 0..6 {
            let (user, name) = (Arc::clone(&users[at % 2]), format!("add {round}"));
            adding
                .spawn(async move { user.add(&name, at.to_string().into(), None).await.unwrap() });
        }
        let added = adding.join_all().await;
        assert_eq!(added.iter().filter(|added| **added).count(), 1);
    }
    // What has expired is replaced by one of those who try.
    let brief = Some(std::time::Duration::from_millis(30));
    assert!(users[0].add("brief", "old".into(), brief).await.unwrap());
    eventually("it to expire", async || {
        users[1]
            .add("brief", "new".into(), None)
            .await
            .unwrap()
            .then_some(())
    })
    .await;
    let found = users[0].get_many(&["brief".to_owned()]).await.unwrap();
    assert_eq!(found[0].as_deref(), Some(&b"new"[..]));
    assert_eq!(
        users[1]
            .delete_many(&["brief".to_owned(), "nothing".to_owned()])
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn two_users_of_a_sqlite_file_do_not_lose_each_others_steps() {
    check_two_users(&stores::sqlite()).await;
}

#[tokio::test]
async fn two_users_of_a_folder_do_not_lose_each_others_steps() {
    check_two_users(&stores::file()).await;
}

#[tokio::test]
async fn two_users_of_a_memcached_do_not_lose_each_others_steps() {
    check_two_users(&stores::memcached().await).await;
}

/// Clears of the values of another process are heard, also by one that has read before.
#[tokio::test]
async fn a_clear_by_another_process_takes_the_namespace_everywhere() {
    let server = MemcachedServer::start().await;
    let (one, other) = (
        in_memcached(&server.url(), "n"),
        in_memcached(&server.url(), "n"),
    );
    let names = ["k".to_owned()];
    one.add("k", "old".into(), None).await.unwrap();
    assert!(other.get_many(&names).await.unwrap()[0].is_some());
    one.clear().await.unwrap();
    assert!(other.get_many(&names).await.unwrap()[0].is_none());
    // A write under the former generation would be lost.
    one.clear().await.unwrap();
    other.add("k", "new".into(), None).await.unwrap();
    assert!(one.get_many(&names).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn a_memcached_that_lost_everything_makes_entries_miss() {
    let mut server = MemcachedServer::start().await;
    let subject = Subject::on(
        Arc::new(in_memcached(&server.url(), "n")),
        &Settings::default(),
    );
    subject.fill(&page("k"), "before").await;
    server.restart().await;
    assert_eq!(subject.served_when_back(&page("k")).await, None);
    subject.fill(&page("k"), "after").await;
    assert_eq!(subject.served(&page("k")).await.as_deref(), Some("after"));
}
