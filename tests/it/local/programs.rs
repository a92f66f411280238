//! The programs that measure the local tier, in short.

use smart_cache_tests::harness::Program;

async fn lines_of(program: &str, arguments: &[&str]) -> Vec<String> {
    let (status, lines) = Program::start(program, arguments, &[]).ended().await;
    let text = lines.join("\n");
    println!("{text}");
    assert!(status.success(), "{status}:\n{text}");
    lines
}

/// It fails by itself when an old answer comes later than L.
#[tokio::test]
async fn the_staleness_stays_below_its_bound() {
    let lines = lines_of(
        env!("CARGO_BIN_EXE_staleness"),
        &["--rounds", "1", "--staleness-ms", "200"],
    )
    .await;
    assert!(lines.iter().any(|line| line.contains("200")));
}

/// It fails by itself when the weight exceeds the capacity.
#[tokio::test]
async fn a_small_capacity_is_kept_under_fills_and_clears() {
    lines_of(env!("CARGO_BIN_EXE_soak_local"), &["--seconds", "10"]).await;
}

/// Three processes write, clear and read; their links are killed, their tokens evicted meanwhile.
#[tokio::test]
async fn no_process_serves_what_was_cleared() {
    lines_of(
        env!("CARGO_BIN_EXE_stress_local"),
        &["--seconds", "5", "--seed", "1"],
    )
    .await;
}
