//! The parts of the harness, one for each file.

mod certificates;
mod chaos;
mod daemon;
mod flags;
mod gate;
mod http;
mod interleave;
mod log;
mod memory;
mod namespace;
mod postgres;
mod process;
mod random;
mod redis_options;
mod redis_server;
mod resp;
mod sqlite;
mod wait;

pub use certificates::Certificates;
pub use chaos::{Captured, Chaos, Direction, Held, Loss, Replay};
pub use flags::{number_after, text_after};
pub use gate::Gate;
pub use http::{Client, Served, serve};
pub use interleave::{count, orders, orders_or_sample, sample};
pub use log::Log;
pub use mariadb::MariaDbServer;
pub use memcached::MemcachedServer;
pub use memory::resident_bytes;
pub use namespace::namespace;
pub use postgres::PostgresServer;
pub use process::{Program, workspace_program};
pub use random::Random;
pub use redis_options::RedisOptions;
pub use redis_server::RedisServer;
pub use sqlite::{SqliteFile, sqlite3};
pub use wait::{DEADLINE, eventually, within};
