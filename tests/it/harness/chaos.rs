//! The network fails as the test says, and at once.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult, cmd};
use smart_cache_tests::harness::{Chaos, DEADLINE, Direction, Loss, RedisServer, eventually};

async fn server_and_chaos() -> (RedisServer, Chaos) {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    (server, chaos)
}

async fn connect(chaos: &Chaos) -> MultiplexedConnection {
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
    let client = redis::Client::open(chaos.url()).unwrap();
    client
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .unwrap()
}

async fn count_up(connection: &mut MultiplexedConnection) -> RedisResult<u64> {
    cmd("INCR").arg("counter").query_async(connection).await
}

/// Sends INCR and stops waiting for its answer after a moment, in which none has come.
async fn count_up_unheard(connection: &mut MultiplexedConnection) {
    tokio::time::timeout(Duration::from_millis(50), count_up(connection))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn everything_passes_as_long_as_nothing_else_is_said() {
    let (_server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    let big = "x".repeat(3_000_000);
    cmd("SET")
        .arg("big")
        .arg(&big)
        .query_async::<()>(&mut connection)
        .await
        .unwrap();
    let read: String = cmd("GET")
        .arg("big")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(read, big);
    assert_eq!(chaos.connections(), 1);
    let before = chaos.commands();
    count_up(&mut connection).await.unwrap();
    assert_eq!(chaos.commands(), before + 1);
}

#[tokio::test]
async fn frozen_requests_are_not_executed_until_they_thaw() {
    let (server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    chaos.freeze(Direction::Requests);
    count_up_unheard(&mut connection).await;
    assert_eq!(server.cli(&["GET", "counter"]), "");
    chaos.thaw(Direction::Requests);
    assert_eq!(count_up(&mut connection).await.unwrap(), 2);
}

#[tokio::test]
async fn frozen_replies_belong_to_executed_commands() {
    let (server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    chaos.freeze(Direction::Replies);
    count_up_unheard(&mut connection).await;
    eventually("the command to be executed", async || {
        (server.cli(&["GET", "counter"]) == "1").then_some(())
    })
    .await;
    chaos.thaw(Direction::Replies);
    assert_eq!(count_up(&mut connection).await.unwrap(), 2);
}

#[tokio::test]
async fn a_cut_breaks_open_connections_and_welcomes_new_ones() {
    let (_server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    chaos.cut();
    assert_eq!(chaos.connections(), 0);
    count_up(&mut connection).await.unwrap_err();
    assert_eq!(count_up(&mut connect(&chaos).await).await.unwrap(), 1);
}

#[tokio::test]
async fn refused_connections_do_not_come_about_and_open_ones_go_on() {
    let (_server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    chaos.refuse_connections();
    let client = redis::Client::open(chaos.url()).unwrap();
    assert!(client.get_multiplexed_async_connection().await.is_err());
    assert_eq!(count_up(&mut connection).await.unwrap(), 1);
    chaos.accept_connections();
    assert_eq!(count_up(&mut connect(&chaos).await).await.unwrap(), 2);
}

#[tokio::test]
async fn a_command_whose_reply_is_cut_off_was_executed() {
    let (server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    chaos.lose_reply_of("counter", Loss::Cut);
    cmd("PING")
        .query_async::<String>(&mut connection)
        .await
        .unwrap();
    count_up(&mut connection).await.unwrap_err();
    assert_eq!(server.cli(&["GET", "counter"]), "1");
    // Only once.
    assert_eq!(count_up(&mut connect(&chaos).await).await.unwrap(), 2);
}

#[tokio::test]
async fn behind_a_reply_that_never_comes_there_is_silence() {
    let (server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    chaos.lose_reply_of("counter", Loss::Silence);
    count_up_unheard(&mut connection).await;
    count_up_unheard(&mut connection).await;
    assert_eq!(chaos.connections(), 1);
    eventually("both commands to be executed", async || {
        (server.cli(&["GET", "counter"]) == "2").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_captured_command_can_be_delivered_again_and_again() {
    let (server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    let captured = chaos.capture("counter");
    assert_eq!(count_up(&mut connection).await.unwrap(), 1);
    let replay = captured.taken().await;
    assert_eq!(replay.deliver().await, b":2\r\n");
    assert_eq!(replay.deliver().await, b":3\r\n");
    assert_eq!(server.cli(&["GET", "counter"]), "3");
}

#[tokio::test]
async fn a_held_command_is_executed_when_it_is_released() {
    let (server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    let mut held = chaos.hold("INCR");
    let counting = tokio::spawn(async move { count_up(&mut connection).await.unwrap() });
    held.arrived().await;
    assert_eq!(server.cli(&["SET", "counter", "41"]), "OK");
    held.release();
    assert_eq!(counting.await.unwrap(), 42);
}

#[tokio::test]
async fn a_delay_is_added_to_every_answer() {
    let (_server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    chaos.delay(Duration::from_millis(40));
    let start = Instant::now();
    count_up(&mut connection).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn pushes_are_not_taken_for_replies() {
    let (server, chaos) = server_and_chaos().await;
    let (pushes, mut received) = tokio::sync::mpsc::unbounded_channel();
    let tracking = AsyncConnectionConfig::new().set_push_sender(pushes);
    let client = redis::Client::open(format!("{}/?protocol=resp3", chaos.url())).unwrap();
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&tracking)
        .await
        .unwrap();
    cmd("CLIENT")
        .arg("TRACKING")
        .arg("ON")
        .arg("BCAST")
        .query_async::<()>(&mut connection)
        .await
        .unwrap();
    assert_eq!(server.cli(&["SET", "pushed", "1"]), "OK");
    assert_eq!(
        received.recv().await.unwrap().kind,
        redis::PushKind::Invalidate
    );
    // Had the push been counted, this would lose the reply of another command.
    chaos.lose_reply_of("counter", Loss::Cut);
    cmd("PING")
        .query_async::<String>(&mut connection)
        .await
        .unwrap();
    count_up(&mut connection).await.unwrap_err();
}

#[tokio::test]
async fn without_its_proxy_a_client_is_alone() {
    let (_server, chaos) = server_and_chaos().await;
    let mut connection = connect(&chaos).await;
    let address = chaos.address();
    drop(chaos);
    count_up(&mut connection).await.unwrap_err();
    eventually("the port to close", async || {
        tokio::net::TcpStream::connect(address)
            .await
            .is_err()
            .then_some(())
    })
    .await;
}
