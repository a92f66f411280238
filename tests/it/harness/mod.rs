//! The harness shown to do what the suites rely on.

mod chaos;
mod gate;
mod http;
mod postgres;
mod process;
mod redis_server;
