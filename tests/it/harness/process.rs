//! Programs as processes of their own.

use std::path::Path;

use smart_cache_tests::harness::Program;

#[tokio::test]
async fn the_lines_of_a_program_are_read_one_by_one() {
    let script = r#"echo first; echo "port $PORT_OF_TEST"; echo "$0""#;
    let mut program = Program::start(
        "/bin/sh",
        &["-c", script, "argument"],
        &[("PORT_OF_TEST", "42")],
    );
    assert_eq!(program.line().await.as_deref(), Some("first"));
    assert_eq!(program.line_with("port ").await, "42");
    assert_eq!(program.line().await.as_deref(), Some("argument"));
    assert_eq!(program.line().await, None);
}

#[tokio::test]
async fn a_program_is_gone_when_its_guard_drops() {
    let program = Program::start("/bin/sleep", &["600"], &[]);
    let process = format!("/proc/{}", program.id());
    assert!(Path::new(&process).exists());
    drop(program);
    assert!(!Path::new(&process).exists());
}
