//! Schedules 2 and 14 on each real store: a token goes between ticket and store, and perhaps somebody
//! mints another one; what was made under the first is refused, and is never served.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smart_cache::Target;
use smart_cache::backend::{Added, NewValue, Stored, Ticket, Ttl, ValueStore, value_key};
use smart_cache_tests::harness::{eventually, namespace};

use super::stage::{Settings, Subject, page, tagged, tags};
use crate::stores::{self, Stores};

/// Two processes on one namespace, and a hand in its store.
struct World {
    first: Subject,
    second: Subject,
    raw: Arc<dyn ValueStore>,
}

impl World {
    fn of(stores: &Arc<dyn Stores>) -> Self {
        let name = namespace();
        let subject = || Subject::on(stores.store(&name), &Settings::default());
        Self {
            first: subject(),
            second: subject(),
            raw: stores.store(&name),
        }
    }

    async fn value(&self, name: &str) -> Option<bytes::Bytes> {
        let names = [name.to_owned()];
        self.raw.get_many(&names).await.unwrap().remove(0)
    }

    /// Takes a token away, as an eviction does.
    async fn evict(&self, key: &str) {
        let names = [format!("t:{key}")];
        assert_eq!(self.raw.delete_many(&names).await.unwrap(), 1, "{key:?}");
    }

    /// Lets a token come to its end.
    async fn expire(&self, key: &str) {
        let name = format!("t:{key}");
        let end = Some(Duration::from_millis(1));
        assert!(self.raw.touch(&name, end).await.unwrap(), "{key:?}");
        eventually("the token to expire", async || {
            self.value(&name).await.is_none().then_some(())
        })
        .await;
    }

    /// Puts a token in its place that was minted long ago.
    async fn mint_long_ago(&self, key: &str, number: u64) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let old = since.as_micros() as u64 - 2 * 3_600_000_000;
        let token = format!(":{number:032x}:{}", old + number);
        let values = [(format!("t:{key}"), token.into())];
        self.raw.set_many(&values, None).await.unwrap();
    }

    async fn life(&self, key: &str) -> Ttl {
        self.raw.ttl(&format!("t:{key}")).await.unwrap()
    }
}

/// How a token goes.
#[derive(Debug, Clone, Copy)]
enum Going {
    Evicted,
    Expired,
}

async fn a_token_that_goes_refuses_the_store(stores: &Arc<dyn Stores>) {
    let others = [
        ("k", Target::new("k", &[], b"another")),
        ("t", tagged("another", &["t"])),
        ("", page("another")),
    ];
    for (name, other) in others {
        for going in [Going::Evicted, Going::Expired] {
            for is_minted_again in [false, true] {
                let case = format!("{name:?} {going:?} {is_minted_again}");
                let world = World::of(stores);
                let target = tagged("k", &["t"]);
                let lease = world.first.lead(&target).await;
                match going {
                    Going::Evicted => world.evict(name).await,
                    Going::Expired => world.expire(name).await,
                }
                if is_minted_again {
                    world.second.lead(&other).await;
                }
                let stored = world.first.store(&target, &lease, "old").await;
                assert_eq!(stored, Stored::Cleared, "{case}");
                assert_eq!(world.first.served(&target).await, None, "{case}");
                assert_eq!(world.second.served(&target).await, None, "{case}");
                world.second.fill(&target, "new").await;
                let served = world.first.served(&target).await;
                assert_eq!(served.as_deref(), Some("new"), "{case}");
            }
        }
    }
}

async fn a_found_tag_that_goes_refuses_the_store(stores: &Arc<dyn Stores>) {
    for is_minted_again in [false, true] {
        let (world, target, found) = (World::of(stores), page("list"), tags(&["d"]));
        let lease = world.first.lead_with(&target, &found).await;
        world.evict("d").await;
        if is_minted_again {
            world.second.lead_with(&page("another"), &found).await;
        }
        let stored = world
            .first
            .store_with(&target, &lease, "old", None, &found)
            .await;
        assert_eq!(stored, Stored::YoungTag);
        assert_eq!(world.second.served(&target).await, None);
        // The list that it left brings the next one through.
        let lease = world.second.lead_with(&target, &found).await;
        let stored = world
            .second
            .store_with(&target, &lease, "new", None, &found)
            .await;
        assert_eq!(stored, Stored::Landed(None));
        assert_eq!(world.first.served(&target).await.as_deref(), Some("new"));
    }
}

/// The store was on its way when the token went: it lands, and is not served, whoever mints what.
async fn an_entry_that_lands_late_is_not_served(stores: &Arc<dyn Stores>) {
    for name in ["k", "t", ""] {
        let (world, target) = (World::of(stores), tagged("k", &["t"]));
        world.first.fill(&target, "old").await;
        // The index of its key tells where it stands.
        let id = world.value("n:0:1:k").await.expect("it is listed");
        let entry = format!("e:0:{}", String::from_utf8_lossy(&id));
        let late = world.value(&entry).await.expect("it was stored");
        world.evict(name).await;
        let land = async || {
            let values = [(entry.clone(), late.clone())];
            world.raw.set_many(&values, None).await.unwrap();
        };
        land().await;
        assert_eq!(world.second.served(&target).await, None, "{name:?}");
        world.second.fill(&target, "new").await;
        land().await;
        assert_eq!(world.first.served(&target).await, None, "{name:?}");
        world.first.fill(&target, "newer").await;
        let served = world.second.served(&target).await;
        assert_eq!(served.as_deref(), Some("newer"), "{name:?}");
    }
}

/// Two who find nothing mint both; the tokens of one of them count, for both.
async fn of_two_who_mint_at_once_one_leads(stores: &Arc<dyn Stores>) {
    let world = World::of(stores);
    for round in 0..10 {
        let target = tagged(&format!("k{round}"), &[&format!("t{round}")]);
        let (one, other) = tokio::join!(world.first.ticket(&target), world.second.ticket(&target));
        let (lease, busy) = match (one.unwrap(), other.unwrap()) {
            (Ticket::Lead(lease), Ticket::Busy(busy))
            | (Ticket::Busy(busy), Ticket::Lead(lease)) => (lease, busy),
            both => panic!("{both:?}"),
        };
        assert_eq!(lease.digest, busy);
        let stored = world.first.store(&target, &lease, "body").await;
        assert_eq!(stored, Stored::Landed(None));
        assert_eq!(world.second.served(&target).await.as_deref(), Some("body"));
    }
}

/// As a clear does, in the middle of a computation: what others have computed of the key is
/// gone, and what is on its way does not land.
async fn a_token_that_goes_refuses_a_computed_value(stores: &Arc<dyn Stores>) {
    let (world, raw_values) = (World::of(stores), "v:k");
    let values = world.first.0.values().unwrap();
    let target = Target::new(&value_key("k"), &["="], b"=k");
    for name in ["=k", "=", ""] {
        let lease = world.first.lead(&target).await;
        world.evict(name).await;
        let value = NewValue {
            name: "k",
            bytes: b"old",
            expiry: None,
        };
        let added = world.first.0.add_value(&target, &lease, value).await;
        assert_eq!(added.unwrap(), Added::Refused, "{name:?}");
        assert_eq!(world.value(raw_values).await, None, "{name:?}");
        // And one that has landed before it went.
        let lease = world.first.lead(&target).await;
        let added = world.first.0.add_value(&target, &lease, value).await;
        assert_eq!(added.unwrap(), Added::Stored, "{name:?}");
        let names = ["k".to_owned()];
        assert!(values.get_many(&names).await.unwrap()[0].is_some());
        world.evict(name).await;
        assert_eq!(values.get_many(&names).await.unwrap(), [None], "{name:?}");
        values.delete_many(&names).await.unwrap();
    }
}

/// Tokens of tags that no entry has any more get an end; those that something depends on do not.
async fn unused_tokens_get_an_end(stores: &Arc<dyn Stores>) {
    let world = World::of(stores);
    let unused = ["old tag", "old found", "old key", "=gone"];
    let used = ["k", "d", "=kept", "="];
    for (number, key) in (1..).zip(unused.iter().chain(&used)) {
        world.mint_long_ago(key, number).await;
    }
    // The head that tests write names the key `k` and no tags but those that were found.
    let (target, found) = (page("k"), tags(&["d"]));
    let lease = world.first.lead_with(&target, &found).await;
    let stored = world
        .first
        .store_with(&target, &lease, "body", None, &found)
        .await;
    assert_eq!(stored, Stored::Landed(None));
    let computed = Target::new("=kept", &["="], b"=kept");
    let lease = world.first.lead(&computed).await;
    let value = NewValue {
        name: "kept",
        bytes: b"value",
        expiry: None,
    };
    world
        .first
        .0
        .add_value(&computed, &lease, value)
        .await
        .unwrap();
    // Minted just now: whoever has the ticket has not stored yet.
    world.second.lead(&page("young")).await;
    let young = world.life("young").await;

    world.second.0.sweep().await.unwrap();
    for key in unused {
        let life = world.life(key).await;
        let Ttl::After(left) = life else {
            panic!("{key:?}: {life:?}")
        };
        assert!(left <= Duration::from_secs(3600), "{key:?}: {left:?}");
    }
    for key in used {
        assert_eq!(world.life(key).await, Ttl::Never, "{key:?}");
    }
    assert_eq!(world.life("").await, Ttl::Never, "the namespace's own");
    assert!(matches!(
        (young, world.life("young").await),
        (Ttl::After(_), Ttl::After(_))
    ));
    assert_eq!(world.first.served(&target).await.as_deref(), Some("body"));

    // A second look does not put the end off.
    let name = "t:old tag";
    let soon = Some(Duration::from_secs(60));
    assert!(world.raw.touch(name, soon).await.unwrap());
    world.second.0.sweep().await.unwrap();
    assert!(
        matches!(world.life("old tag").await, Ttl::After(left) if left <= Duration::from_secs(60))
    );

    // Whoever needs one before its end makes it permanent again.
    let again = tagged("old key", &["old tag"]);
    world.first.fill(&again, "again").await;
    assert_eq!(world.life("old key").await, Ttl::Never);
    assert_eq!(world.life("old tag").await, Ttl::Never);
    // And whoever has a ticket of before it came to its end is refused.
    let other = tagged("k", &["old found"]);
    let lease = world.first.lead(&other).await;
    world.expire("old found").await;
    assert_eq!(
        world.first.store(&other, &lease, "old").await,
        Stored::Cleared
    );
    world.second.lead(&page("old found")).await;
    assert_eq!(world.first.served(&other).await, None);
}

/// What the index of a key leaves when its last entry has gone.
async fn a_key_without_entries_leaves_no_index(stores: &Arc<dyn Stores>) {
    let world = World::of(stores);
    // The head that tests write names this key.
    let (gone, stays) = (page("gone"), page("k"));
    world.first.fill(&gone, "gone").await;
    world.first.fill(&stays, "stays").await;
    for name in ["c:0:gone", "n:0:1:gone", "c:0:k", "n:0:1:k"] {
        assert!(world.value(name).await.is_some(), "{name}");
    }
    world.first.0.clear(&["gone".to_owned()]).await.unwrap();
    world.first.0.discard(&gone).await.unwrap();
    for name in ["c:old:k", "n:old:1:k", "f:old"] {
        let values = [(name.to_owned(), "1".into())];
        world.raw.set_many(&values, None).await.unwrap();
    }
    world.second.0.sweep().await.unwrap();
    for name in ["c:0:gone", "n:0:1:gone", "c:old:k", "n:old:1:k", "f:old"] {
        assert!(world.value(name).await.is_none(), "{name}");
    }
    for name in ["c:0:k", "n:0:1:k"] {
        assert!(world.value(name).await.is_some(), "{name}");
    }
    world.second.fill(&gone, "again").await;
    assert_eq!(world.first.served(&gone).await.as_deref(), Some("again"));
}

/// All of it on one server.
pub(super) async fn all(stores: &Arc<dyn Stores>) {
    a_token_that_goes_refuses_the_store(stores).await;
    a_found_tag_that_goes_refuses_the_store(stores).await;
    an_entry_that_lands_late_is_not_served(stores).await;
    of_two_who_mint_at_once_one_leads(stores).await;
    a_token_that_goes_refuses_a_computed_value(stores).await;
    if stores.lists_names() {
        unused_tokens_get_an_end(stores).await;
        a_key_without_entries_leaves_no_index(stores).await;
    }
}

#[tokio::test]
async fn tokens_that_go_from_a_sqlite_file_refuse_what_was_made_under_them() {
    all(&stores::sqlite()).await;
}

#[tokio::test]
async fn tokens_that_go_from_a_folder_refuse_what_was_made_under_them() {
    all(&stores::file()).await;
}

#[tokio::test]
async fn tokens_that_go_from_a_memcached_refuse_what_was_made_under_them() {
    all(&stores::memcached().await).await;
}
