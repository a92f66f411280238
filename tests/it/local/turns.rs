//! Several things in one turn of the server's loop, or in one read of the client's.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, Value};
use smart_cache_tests::harness::{Chaos, Direction, RedisServer, eventually, namespace, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{MARGIN, Node, Rows};

/// Written in one piece, so that the server handles all of it in one turn.
async fn in_one_turn(server: &RedisServer, commands: &[&[&str]]) {
    let mut wire = String::new();
    for words in commands {
        wire.push_str(&format!("*{}\r\n", words.len()));
        for word in *words {
            wire.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
    }
    let mut raw = TcpStream::connect(server.address()).await.unwrap();
    raw.write_all(wire.as_bytes()).await.unwrap();
    let mut replies = vec![0; 4096];
    within("the replies", raw.read(&mut replies)).await.unwrap();
}

#[tokio::test]
async fn a_token_deleted_and_minted_again_in_one_turn_ends_local_hits() {
    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let node = Node::at(&server.url(), &namespace, &rows).await;
    let token = format!("{{{namespace}}}:t:page:1");
    for round in 0..20 {
        node.warm("/page/1").await;
        let version = rows.write();
        let minted = format!(":another{round}:1");
        in_one_turn(&server, &[&["DEL", &token], &["SET", &token, &minted]]).await;
        assert!(node.until("/page/1", version).await < MARGIN);
    }
}

/// This node's own ticket mints the token in the very turn in which somebody else deletes it: what
/// NOLOOP would hide. The server is stopped until both commands lie before it.
#[tokio::test]
async fn a_clear_elsewhere_and_ones_own_ticket_in_one_turn_are_heard() {
    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let patient = super::builder(&server.url(), &namespace).timeout(Duration::from_secs(5));
    let node = Node::built(patient, &rows).await;
    for _ in 0..5 {
        node.warm("/page/1").await;
        let version = rows.write();
        let token = format!("{{{namespace}}}:t:page:1");
        let other = "/page/2";
        server.freeze();
        let delete = ["DEL", token.as_str()];
        let commands = [&delete[..]];
        let clear = in_one_turn(&server, &commands);
        let asking = {
            let node = node.clone();
            async move { node.ask(other).await }
        };
        let thaw = async {
            // Both have been written by then: the sockets take them whether or not anybody reads.
            tokio::time::sleep(Duration::from_millis(20)).await;
            server.thaw();
        };
        tokio::join!(clear, asking, thaw);
        node.until("/page/1", version).await;
        node.cache.clear("page:2").await.unwrap();
    }
}

/// A raw connection that hears of everything below `prefix`.
struct Listener {
    connection: MultiplexedConnection,
    pushes: tokio::sync::mpsc::UnboundedReceiver<PushInfo>,
}

impl Listener {
    async fn at(server: &RedisServer, noloop: bool) -> Self {
        let (sender, pushes) = tokio::sync::mpsc::unbounded_channel();
        let client = redis::Client::open(server.url()).unwrap();
        let info = client.get_connection_info().clone();
        let settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3);
        let config = AsyncConnectionConfig::new()
            .set_push_sender(sender)
            .set_response_timeout(None);
        let client = redis::Client::open(info.set_redis_settings(settings)).unwrap();
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .unwrap();
        let mut tracking = redis::cmd("CLIENT");
        tracking
            .arg("TRACKING")
            .arg("ON")
            .arg("BCAST")
            .arg("PREFIX")
            .arg("t:");
        if noloop {
            tracking.arg("NOLOOP");
        }
        let () = tracking.query_async(&mut connection).await.unwrap();
        Self { connection, pushes }
    }

    /// The names that were pushed before a PONG that was asked for now.
    async fn heard(&mut self) -> Vec<String> {
        let _: Value = redis::cmd("PING")
            .query_async(&mut self.connection)
            .await
            .unwrap();
        let mut names = Vec::new();
        while let Ok(push) = self.pushes.try_recv() {
            if push.kind == PushKind::Invalidate
                && let Some(Value::Array(found)) = push.data.first()
            {
                names.extend(
                    found
                        .iter()
                        .map(|name| redis::from_redis_value_ref::<String>(name).unwrap()),
                );
            }
        }
        names
    }
}

/// What the tracking connection hears of when another deletes a token and it mints it again itself.
async fn heard_of_a_delete_behind_ones_own_mint(noloop: bool) -> Vec<String> {
    let server = RedisServer::start().await;
    let mut listener = Listener::at(&server, noloop).await;
    server.cli(&["SET", "t:k", "old"]).clear();
    listener.heard().await;
    // Both lie before the server when it wakes up; the earlier connection is read first or second,
    // so the order is asked for until it is the one that matters.
    let mut deleting = TcpStream::connect(server.address()).await.unwrap();
    for _ in 0..200 {
        listener.heard().await;
        server.freeze();
        deleting
            .write_all(b"*2\r\n$3\r\nDEL\r\n$3\r\nt:k\r\n")
            .await
            .unwrap();
        let mut set = redis::cmd("SET");
        set.arg("t:k").arg("new").arg("GET");
        let mut own = listener.connection.clone();
        let minting = set.query_async::<Option<String>>(&mut own);
        let thaw = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            server.thaw();
        };
        let (before, ()) = tokio::join!(minting, thaw);
        let mut reply = [0; 16];
        within("the reply", deleting.read(&mut reply))
            .await
            .unwrap();
        if before.unwrap().is_none() {
            // Deleted first, then minted, in one turn.
            return listener.heard().await;
        }
        server.cli(&["SET", "t:k", "old"]).clear();
    }
    panic!("the server never read the two in the order that matters");
}

/// Why the tracking connection must never ask for NOLOOP: should it ever write tokens, it would be
/// deaf to the clears of others.
#[tokio::test]
async fn noloop_loses_the_delete_of_another() {
    let heard = heard_of_a_delete_behind_ones_own_mint(true).await;
    assert!(
        heard.is_empty(),
        "the negative control no longer fails: {heard:?}"
    );
    let heard = heard_of_a_delete_behind_ones_own_mint(false).await;
    assert_eq!(heard, ["t:k"]);
}

/// The library's own words on the wire.
#[tokio::test]
async fn the_tracking_connection_asks_for_broadcasts_and_not_for_noloop() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let captured = chaos.capture("TRACKING");
    let _node = Node::at(&chaos.url(), &namespace(), &Rows::default()).await;
    let command = captured.taken().await;
    let words = String::from_utf8_lossy(command.message()).to_uppercase();
    assert!(
        words.contains("BCAST") && words.contains("PREFIX"),
        "{words}"
    );
    assert!(!words.contains("NOLOOP"), "{words}");
}

/// The answer of a lookup and the push that outdates it lie before the client together: whichever
/// connection it reads first, the old answer is not kept.
#[tokio::test]
async fn a_reply_and_its_push_in_one_read_leave_nothing_old_behind() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    chaos.mark("TRACKING");
    let (namespace, rows) = (namespace(), Rows::default());
    let near = Node::at(&chaos.url(), &namespace, &rows).await;
    let other = Node::at(&server.url(), &namespace, &rows).await;
    for round in 0..20 {
        let path = format!("/page/{round}");
        other.warm(&path).await;
        assert_eq!(server.cli(&["CONFIG", "RESETSTAT"]), "OK");
        // The lookup has been executed, the clear too; neither its answer nor the push is here.
        chaos.freeze(Direction::Replies);
        let executed = chaos.capture("MGET");
        let asking = {
            let (near, path) = (near.clone(), path.clone());
            tokio::spawn(async move { near.ask(&path).await })
        };
        executed.taken().await;
        let lookups = "cmdstat_mget";
        eventually("the lookup to be executed", async || {
            server
                .cli(&["INFO", "commandstats"])
                .contains(lookups)
                .then_some(())
        })
        .await;
        let version = rows.write();
        other.cache.clear(format!("page:{round}")).await.unwrap();
        if round % 2 == 0 {
            // The push first, the reply later.
            chaos.thaw(Direction::Replies);
        } else {
            // The reply alone at first.
            chaos.freeze_marked(Direction::Replies);
            chaos.thaw(Direction::Replies);
        }
        asking.await.unwrap();
        chaos.thaw_marked(Direction::Replies);
        near.until(&path, version).await;
        near.warm(&path).await;
    }
}
