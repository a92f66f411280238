//! The README's own example, as a newcomer would copy it.

/// What the example leaves to the reader.
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

#[test]
fn the_example_of_the_readme_compiles() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```rust\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let lines = example
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    assert!(lines <= 25, "the example of 25 lines has {lines}");
    // It is compiled, not run: its server would never end.
    let renamed = example.replace("#[tokio::main]\nasync fn main()", "async fn example()");
    assert_ne!(renamed, example);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("readme.rs");
    std::fs::write(&file, format!("{renamed}{PRELUDE}")).unwrap();
    trybuild::TestCases::new().pass(file);
}
