//! Handlers among names that shadow everything the generated code might have meant.

#![allow(
    dead_code,
    unused_macros,
    non_camel_case_types,
    non_upper_case_globals,
    reason = "the names are the test"
)]

use axum_real::extract::{Path as Id, Query as Search, State as Shared};
use smart_cache::smart_cache;

use super::{App, Shapes, check_each_is_cached, ran};
use ::axum as axum_real;

mod core {}
mod std {}
mod alloc {}
mod axum {}
mod tracing {}
mod inventory {}
mod private {}

struct Result;
struct Option;
struct String;
struct Box;
struct Send;
struct Display;
struct CacheContext;
struct Cached;
struct KeyPart;
struct Variant;
const Some: u8 = 0;
const None: u8 = 0;
const Ok: u8 = 0;
const Err: u8 = 0;
const SITE: &str = "mine";

macro_rules! format_args {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}
macro_rules! module_path {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}
macro_rules! file {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}
macro_rules! line {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}
macro_rules! column {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}

type Text = ::std::string::String;

#[smart_cache("hostile:{id}:{call}", tags("{context}"), ttl = "1m", query("a"))]
async fn shadowed(
    Shared(_argument0): Shared<App>,
    Id((id, call)): Id<(u64, u64)>,
    Search(context): Search<Context>,
) -> ::std::result::Result<Text, ()> {
    ::core::result::Result::Ok(
        [
            SITE,
            &id.to_string(),
            &call.to_string(),
            &context.to_string(),
            &ran("hostile"),
        ]
        .concat(),
    )
}

#[smart_cache("hostile-nothing")]
async fn nothing() -> Text {
    fn never() {}
    never();
    ran("hostile-nothing")
}

#[derive(serde::Deserialize)]
struct Context {
    a: u64,
}

impl ::std::fmt::Display for Context {
    fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        self.a.fmt(formatter)
    }
}

#[tokio::test]
async fn handlers_among_shadowed_names_are_cached() {
    check_each_is_cached(
        Shapes::default()
            .at("/hostile/{id}/{call}", "/hostile/7/8?a=9", shadowed)
            .plain("/hostile-nothing", nothing),
    )
    .await;
}
