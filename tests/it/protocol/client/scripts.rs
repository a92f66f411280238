//! The scripts as the crate ships them.

use redis::Script;

const TICKET: &str = include_str!("../../../../smart-cache/src/backend/redis/ticket.lua");
const STORE: &str = include_str!("../../../../smart-cache/src/backend/redis/store.lua");
const ADOPT: &str = include_str!("../../../../smart-cache/src/backend/redis/adopt.lua");
const RENEW: &str = include_str!("../../../../smart-cache/src/backend/redis/renew.lua");
const RELEASE: &str = include_str!("../../../../smart-cache/src/backend/redis/release.lua");
const EXPIRE: &str = include_str!("../../../../smart-cache/src/backend/redis/expire.lua");
const HOLD: &str = include_str!("../../../../smart-cache/src/backend/redis/hold.lua");
const UNHOLD: &str = include_str!("../../../../smart-cache/src/backend/redis/unhold.lua");

/// Where the scripts take the time from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Time {
    /// The server's own TIME.
    Server,
    /// The keys that [`Client::set_time`] writes, so that a test can turn the clock.
    Test,
}

/// All scripts, ready to be called.
#[derive(Clone, Debug)]
pub(super) struct Scripts {
    pub(super) ticket: Script,
    pub(super) store: Script,
    pub(super) adopt: Script,
    pub(super) renew: Script,
    pub(super) release: Script,
    pub(super) expire: Script,
    pub(super) hold: Script,
    pub(super) unhold: Script,
}

impl Scripts {
    pub(super) fn new(time: Time) -> Self {
        let script = |code: &str| match time {
            Time::Server => Script::new(code),
            Time::Test => Script::new(&code.replace(
                "redis.call('TIME')",
                "redis.call('MGET', 'seconds', 'micros')",
            )),
        };
        Self {
            ticket: script(TICKET),
            store: script(STORE),
            adopt: script(ADOPT),
            renew: script(RENEW),
            release: script(RELEASE),
            expire: script(EXPIRE),
            hold: script(HOLD),
            unhold: script(UNHOLD),
        }
    }
}
