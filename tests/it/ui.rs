//! What the compiler says of a mistake, and that it says it on the user's own words.
//!
//! Each fixture in `ui/fail` breaks the rule it is named after; `TRYBUILD=overwrite` writes
//! the messages anew. They are the compiler's in part, so they belong to one toolchain.

#[test]
fn mistakes_are_reported_where_they_were_made() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
