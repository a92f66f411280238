//! No key leaves its namespace: applications that share a server do not meet.

use redis::cmd;
use smart_cache_tests::harness::{RedisServer, namespace};

use super::stage::{Subject, options, page, tagged};

async fn names(server: &RedisServer) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = cmd("KEYS")
        .arg("*")
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    names.sort();
    names
}

async fn check_apart(one: &str, other: &str) {
    let server = RedisServer::start().await;
    let first = Subject::at(&server.url(), options(one));
    let second = Subject::at(&server.url(), options(other));
    let target = tagged("k", &["t"]);
    first.fill(&target, "first").await;
    assert_eq!(second.served(&target).await, None);
    second.fill(&target, "second").await;
    assert_eq!(first.served(&target).await.as_deref(), Some("first"));

    first.clear(&["k", "t"]).await;
    assert_eq!(first.served(&target).await, None);
    assert_eq!(second.served(&target).await.as_deref(), Some("second"));

    first.fill(&target, "first again").await;
    second.0.clear_all().await.unwrap();
    assert_eq!(second.served(&target).await, None);
    assert_eq!(first.served(&target).await.as_deref(), Some("first again"));
    first.0.clear_all().await.unwrap();
    assert_eq!(first.served(&target).await, None);
}

#[tokio::test]
async fn two_namespaces_on_one_server_do_not_meet() {
    check_apart(&namespace(), &namespace()).await;
}

#[tokio::test]
async fn a_namespace_that_begins_like_another_is_another() {
    check_apart("prod", "prod2").await;
    check_apart("prod2", "prod").await;
    check_apart("a", "a:t").await;
    check_apart("a:t:", "a").await;
}

#[tokio::test]
async fn a_namespace_of_glob_characters_is_only_itself() {
    check_apart("a*", "ab").await;
    check_apart("[a]", "a").await;
    check_apart("a b", "a\\b").await;
}

#[tokio::test]
async fn keys_of_others_are_never_touched() {
    let server = RedisServer::start().await;
    let mut raw = server.connection().await;
    let foreign = [
        "k",
        "t:k",
        "prod:t:k",
        "{prod2}:t:k",
        "{prod}",
        "cache:k",
        "{prod",
    ];
    for name in foreign {
        let () = cmd("SET")
            .arg(name)
            .arg("theirs")
            .query_async(&mut raw)
            .await
            .unwrap();
    }
    let backend = Subject::at(&server.url(), options("prod"));
    backend.fill(&tagged("k", &["t"]), "mine").await;
    for name in names(&server).await {
        let is_foreign = foreign.iter().any(|own| own.as_bytes() == name);
        assert!(
            is_foreign || name.starts_with(b"{prod}:"),
            "{} leaves the namespace",
            String::from_utf8_lossy(&name)
        );
    }
    backend.clear(&["k", "t", "prod2", "*"]).await;
    backend.0.clear_all().await.unwrap();
    backend
        .0
        .reclaim(vec!["k".to_owned(), "*".to_owned()])
        .await;
    backend.0.discard(&page("k")).await.unwrap();
    for name in foreign {
        let value: Option<String> = cmd("GET").arg(name).query_async(&mut raw).await.unwrap();
        assert_eq!(value.as_deref(), Some("theirs"), "{name}");
    }
}

#[tokio::test]
async fn builds_share_clears_but_no_entries() {
    let (server, namespace) = (RedisServer::start().await, namespace());
    let build = |version: &str| {
        let mut options = options(&namespace);
        options.version = version.to_owned();
        Subject::at(&server.url(), options)
    };
    let (old, new, target) = (build("1"), build("2"), page("k"));
    old.fill(&target, "old build").await;
    assert_eq!(new.served(&target).await, None);
    new.fill(&target, "new build").await;
    assert_eq!(old.served(&target).await.as_deref(), Some("old build"));
    new.clear(&["k"]).await;
    assert_eq!(old.served(&target).await, None);
    assert_eq!(new.served(&target).await, None);
}
