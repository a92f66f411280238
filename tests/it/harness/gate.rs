//! A handler waits exactly as long as the test wants.

use smart_cache_tests::harness::Gate;

#[tokio::test]
async fn a_handler_waits_until_it_is_let_through() {
    let gate = Gate::new();
    let handler = tokio::spawn({
        let gate = gate.clone();
        async move { gate.pass().await }
    });
    gate.begun().await;
    assert!(!handler.is_finished());
    gate.open();
    assert_eq!(handler.await.unwrap(), 1);
}

#[tokio::test]
async fn one_opening_lets_one_of_two_handlers_through() {
    let gate = Gate::new();
    let mut handlers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let gate = gate.clone();
        handlers.spawn(async move { gate.pass().await });
    }
    gate.begun().await;
    gate.begun().await;
    gate.open();
    assert!(handlers.join_next().await.is_some());
    assert!(handlers.try_join_next().is_none());
    assert_eq!(gate.runs(), 2);
    gate.open_for_all();
    assert!(handlers.join_next().await.is_some());
}

#[tokio::test]
async fn an_opened_gate_only_counts() {
    let gate = Gate::opened();
    gate.pass().await;
    gate.pass().await;
    assert_eq!(gate.runs(), 2);
}
