//! The scripts of the protocol, each in a file of its own.

use std::sync::LazyLock;

use redis::Script;

pub(crate) static TICKET: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("ticket.lua")));
pub(crate) static STORE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("store.lua")));
pub(crate) static ADOPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("adopt.lua")));
pub(crate) static RENEW: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("renew.lua")));
pub(crate) static RELEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("release.lua")));
pub(crate) static REAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("reap.lua")));
pub(crate) static RETIRE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("retire.lua")));
pub(crate) static ADD_VALUE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("add_value.lua")));
pub(crate) const COUNT_TEXT: &str = include_str!("count.lua");
pub(crate) static COUNT: LazyLock<Script> = LazyLock::new(|| Script::new(COUNT_TEXT));
pub(crate) static EXPIRE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("expire.lua")));
pub(crate) static HOLD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("hold.lua")));
pub(crate) static UNHOLD: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("unhold.lua")));
pub(crate) static PARTITIONS: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("partitions.lua")));
