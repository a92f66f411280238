//! What the compiler says of a mistake, and that it says it on the user's own words; and that the
//! README's own example compiles, as a newcomer would copy it.
//!
//! Each fixture in `fail` breaks the rule it is named after; `TRYBUILD=overwrite` writes the
//! messages anew. They are the compiler's in part, so they belong to one toolchain.

/// What the README's example leaves to the reader.
const PRELUDE: &str = r#"
#[derive(Clone)]
struct Db;

#[derive(serde::Serialize)]
struct Product;

impl Db {
    fn open() -> Self { Db }
    async fn product(&self, _: u64) -> Option<Product> { Some(Product) }
    async fn rename(&self, _: u64, _: String) {}
}

fn main() { let _ = example; }
"#;

/// One test, since each run of the compiler would wait for the other's.
#[test]
fn mistakes_are_reported_where_they_were_made_and_the_readme_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let readme = folder.path().join("readme.rs");
    std::fs::write(&readme, readme_example()).unwrap();
    let cases = trybuild::TestCases::new();
    cases.pass(readme);
    cases.pass("pass/*.rs");
    cases.compile_fail("fail/*.rs");
}

/// The example as a program. It is compiled and run, so its server must not be.
fn readme_example() -> String {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme
        .split_once("```rust\n")
        .expect("the README has an example");
    let (example, _) = rest.split_once("```").expect("and it ends");
    let lines = example.lines().filter(|line| !line.trim().is_empty());
    let count = lines.count();
    assert!(count <= 25, "the example of 25 lines has {count}");
    let renamed = example.replace("#[tokio::main]\nasync fn main()", "async fn example()");
    assert_ne!(renamed, example);
    format!("{renamed}{PRELUDE}")
}
