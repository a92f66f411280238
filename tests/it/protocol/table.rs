//! The table of docs/protocol.md: which way to invalidate leaves stale answers for ever.
//!
//! Every scenario is enacted in every order of its steps, or in a sample where these are too many,
//! by the protocol and by four other ways. The others have to fail where the table says that they
//! do: a test that no wrong way can fail proves nothing about the right one.

use redis::aio::MultiplexedConnection;
use smart_cache_tests::harness::RedisServer;

use super::strategies::{Generation, SetDel, StampsAtStore, TagSets, Tokens, Variation};
use super::world::{READER, Step, Tally, WRITER, enact};

type Actors<'a> = &'a [&'static [Step]];

const CROWD: [&[Step]; 4] = [READER, READER, WRITER, WRITER];

fn crowd_and(accident: &'static [Step]) -> Vec<&'static [Step]> {
    [&CROWD[..], &[accident]].concat()
}

async fn tokens(server: &RedisServer, actors: Actors<'_>, variation: Variation) -> Tally {
    enact(server, actors, async |connection| {
        Tokens::new(connection, variation).await
    })
    .await
}

async fn set_del(server: &RedisServer, actors: Actors<'_>) -> usize {
    enact(server, actors, async |connection| SetDel(connection))
        .await
        .stale
}

async fn tag_sets(server: &RedisServer, actors: Actors<'_>) -> usize {
    enact(server, actors, async |connection| TagSets(connection))
        .await
        .stale
}

async fn generation(server: &RedisServer, actors: Actors<'_>) -> usize {
    enact(server, actors, async |connection| Generation(connection))
        .await
        .stale
}

async fn stamps_at_store(server: &RedisServer, actors: Actors<'_>) -> usize {
    let make = async |connection: MultiplexedConnection| StampsAtStore(connection);
    enact(server, actors, make).await.stale
}

/// The ways whose store proves nothing fail in every scenario of more than one reader and writer.
async fn ways_without_proof_fail(server: &RedisServer, actors: Actors<'_>) {
    assert!(set_del(server, actors).await > 0, "SET and DEL");
    assert!(tag_sets(server, actors).await > 0, "tag sets");
    assert!(
        stamps_at_store(server, actors).await > 0,
        "stamps read at the store"
    );
}

/// The protocol leaves nothing stale and serves nothing outlawed, whether leases last or not.
async fn tokens_hold(server: &RedisServer, actors: Actors<'_>, variation: Variation) {
    for short_leases in [false, true] {
        let tally = tokens(
            server,
            actors,
            Variation {
                short_leases,
                ..variation
            },
        )
        .await;
        assert_eq!(
            (tally.stale, tally.outlawed),
            (0, 0),
            "short leases: {short_leases}, {tally:?}"
        );
        assert!(tally.useful > 0, "nothing was ever cached: {tally:?}");
    }
}

#[tokio::test]
async fn one_reader_and_one_writer_in_all_ten_orders() {
    let server = RedisServer::start().await;
    let actors: Actors<'_> = &[READER, WRITER];

    let tally = tokens(&server, actors, Variation::default()).await;
    assert_eq!((tally.orders, tally.stale, tally.outlawed), (10, 0, 0));
    // Both whole orders end with a cleared page or a good one, and so do most between.
    assert!(tally.useful > 0);

    assert_eq!(set_del(&server, actors).await, 1);
    assert_eq!(tag_sets(&server, actors).await, 1);
    assert_eq!(stamps_at_store(&server, actors).await, 1);
    assert_eq!(generation(&server, actors).await, 0);
}

#[tokio::test]
async fn a_clear_between_lookup_and_ticket_changes_nothing() {
    let server = RedisServer::start().await;
    let reader: &[Step] = &[Step::Lookup, Step::Ticket, Step::Read, Step::Store];
    tokens_hold(&server, &[reader, WRITER], Variation::default()).await;
    tokens_hold(&server, &[reader, reader, WRITER], Variation::default()).await;
    assert_eq!(set_del(&server, &[reader, WRITER]).await, 1);
}

#[tokio::test]
async fn two_readers_and_two_writers() {
    let server = RedisServer::start().await;
    tokens_hold(&server, &CROWD, Variation::default()).await;
    ways_without_proof_fail(&server, &CROWD).await;
    assert_eq!(generation(&server, &CROWD).await, 0);
}

#[tokio::test]
async fn a_crowd_whose_metadata_is_evicted() {
    let server = RedisServer::start().await;
    let actors = crowd_and(&[Step::Evict]);
    tokens_hold(&server, &actors, Variation::default()).await;
    ways_without_proof_fail(&server, &actors).await;
    assert!(
        generation(&server, &actors).await > 0,
        "a counter that begins again"
    );
}

#[tokio::test]
async fn a_crowd_and_a_flush_of_everything() {
    let server = RedisServer::start().await;
    let actors = crowd_and(&[Step::Flush]);
    tokens_hold(&server, &actors, Variation::default()).await;
    ways_without_proof_fail(&server, &actors).await;
    assert!(
        generation(&server, &actors).await > 0,
        "a counter that begins again"
    );
}

#[tokio::test]
async fn a_crowd_and_a_server_that_comes_back_with_old_data() {
    let server = RedisServer::start().await;
    let actors = crowd_and(&[Step::Snapshot, Step::Restore]);
    tokens_hold(&server, &actors, Variation::default()).await;
    ways_without_proof_fail(&server, &actors).await;
    assert!(generation(&server, &actors).await > 0, "an old counter");

    let blind = Variation {
        no_identity: true,
        ..Variation::default()
    };
    let tally = tokens(&server, &actors, blind).await;
    assert!(tally.stale > 0, "tokens that do not know their server");
}

#[tokio::test]
async fn a_hook_that_clears_before_the_commit_is_healed_by_settle() {
    let server = RedisServer::start().await;
    let actors: Actors<'_> = &[READER, READER, &[Step::Clear, Step::Commit]];
    ways_without_proof_fail(&server, actors).await;
    assert!(generation(&server, actors).await > 0, "a counter");

    let unsettled = tokens(
        &server,
        actors,
        Variation {
            old_tokens: true,
            ..Variation::default()
        },
    )
    .await;
    assert_eq!(unsettled.orders, 560);
    assert!(unsettled.stale > 0, "without settle nothing can notice it");

    let settling = Variation {
        settle_ms: 2_000,
        old_tokens: true,
        ..Variation::default()
    };
    tokens_hold(&server, actors, settling).await;
    let settled = tokens(&server, actors, settling).await;
    assert!(
        settled.healing > 0,
        "what was stale for ever is now stale for a while: {settled:?}"
    );
}

#[tokio::test]
async fn a_writer_that_dies_before_its_clear_is_healed_by_its_hold() {
    let server = RedisServer::start().await;
    let dying: Actors<'_> = &[READER, READER, WRITER, &[Step::Commit]];
    ways_without_proof_fail(&server, dying).await;
    assert!(generation(&server, dying).await > 0, "a counter");
    assert!(
        tokens(&server, dying, Variation::default()).await.stale > 0,
        "no hold, no cure"
    );

    let writer: &[Step] = &[Step::Hold, Step::Commit, Step::Unhold];
    let dying: &[Step] = &[Step::Hold, Step::Commit, Step::HoldsEnd];
    tokens_hold(&server, &[READER, READER, dying], Variation::default()).await;
    tokens_hold(
        &server,
        &[READER, READER, writer, dying],
        Variation::default(),
    )
    .await;
}

/// Schedule 13 in every order: a clear is one DEL, which takes the mark of a hold as well. Whoever
/// mints looks at the holds then, so the key stays held and the writer may die.
#[tokio::test]
async fn a_plain_clear_or_an_eviction_during_a_hold_does_not_end_it() {
    let server = RedisServer::start().await;
    let dying: &[Step] = &[Step::Hold, Step::Commit, Step::HoldsEnd];
    let writer: &[Step] = &[Step::Hold, Step::Commit, Step::Unhold];
    let dynamic = Variation {
        dynamic: true,
        old_tokens: true,
        ..Variation::default()
    };
    let crowds: [(&[&'static [Step]], Variation); 4] = [
        (&[READER, dying, &[Step::Clear]], Variation::default()),
        (
            &[READER, READER, writer, dying, &[Step::Clear]],
            Variation::default(),
        ),
        (
            &[READER, READER, dying, &[Step::Evict]],
            Variation::default(),
        ),
        (&[READER, READER, dying, &[Step::Clear]], dynamic),
    ];
    for (actors, variation) in crowds {
        tokens_hold(&server, actors, variation).await;
        let blind = Variation {
            blind_to_holds: true,
            ..variation
        };
        let tally = tokens(&server, actors, blind).await;
        assert!(tally.stale > 0, "minting without a look: {tally:?}");
    }
}

#[tokio::test]
async fn a_crowd_that_finds_its_tag_while_it_runs_in_every_accident() {
    let server = RedisServer::start().await;
    let dynamic = Variation {
        dynamic: true,
        old_tokens: true,
        ..Variation::default()
    };
    let accidents: [&[Step]; 4] = [
        &[],
        &[Step::Evict],
        &[Step::Flush],
        &[Step::Snapshot, Step::Restore],
    ];
    for accident in accidents {
        tokens_hold(&server, &crowd_and(accident), dynamic).await;
    }

    let hook: Actors<'_> = &[READER, READER, &[Step::Clear, Step::Commit]];
    assert!(
        tokens(&server, hook, dynamic).await.stale > 0,
        "no settle, no cure"
    );
    let settling = Variation {
        settle_ms: 2_000,
        ..dynamic
    };
    tokens_hold(&server, hook, settling).await;
}
