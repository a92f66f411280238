//! The schedules of docs/protocol.md, through the crate's own backend and its real connection.
//!
//! Schedule 8 (a clear while a flight runs) is about requests: see `road::flight`. What another
//! process could do at any moment (DEL, FLUSHALL) is done here by a raw client.

mod memory_limit;
mod messages;
mod restarts;
mod tokens;
mod two_ids;

use redis::aio::MultiplexedConnection;
use redis::cmd;
use smart_cache_tests::harness::{Chaos, RedisServer};

use super::stage::{Subject, options};

/// The namespace of every test here; each has a server of its own.
const NAMESPACE: &str = "n";

/// A backend with nothing between it and the server.
fn direct(server: &RedisServer) -> Subject {
    Subject::at(&server.url(), options(NAMESPACE))
}

/// A backend whose network is in the test's hands.
fn through(chaos: &Chaos) -> Subject {
    Subject::at(&chaos.url(), options(NAMESPACE))
}

/// The hash by which a script is called.
fn sha(script: &str) -> String {
    sha1_smol::Sha1::from(script).hexdigest()
}

const TICKET: &str = include_str!("../../../smart-cache/src/backend/redis/ticket.lua");
const STORE: &str = include_str!("../../../smart-cache/src/backend/redis/store.lua");

/// Lets the server know the scripts, so that each is called by one message.
async fn with_scripts(server: &RedisServer) -> MultiplexedConnection {
    let mut raw = server.connection().await;
    for script in [TICKET, STORE] {
        let _: String = cmd("SCRIPT")
            .arg("LOAD")
            .arg(script)
            .query_async(&mut raw)
            .await
            .unwrap();
    }
    raw
}

/// The name of a key's token; of the namespace's own for the empty key.
fn token(key: &str) -> String {
    format!("{{{NAMESPACE}}}:t:{key}")
}

async fn evict(raw: &mut MultiplexedConnection, name: &str) {
    let gone: u64 = cmd("DEL").arg(name).query_async(raw).await.unwrap();
    assert_eq!(gone, 1, "{name} was there");
}
