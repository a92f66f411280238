//! Four real processes and ten thousand requests for one cold page: the handler runs once.

use smart_cache_tests::harness::Program;

/// The program that measures it fails by itself when more run, or when an answer is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_on_four_processes_are_one_run() {
    let numbers = Program::start(env!("CARGO_BIN_EXE_numbers"), &["cold"], &[]);
    let (status, lines) = numbers.ended().await;
    assert!(status.success(), "{status}: {lines:?}");
    assert!(
        lines.iter().any(|line| line.contains("| 10000, 1 |")),
        "{lines:?}"
    );
}

/// The same for what a miss asks and what an outage costs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miss_asks_three_times_and_an_outage_costs_one_timeout() {
    let numbers = Program::start(env!("CARGO_BIN_EXE_numbers"), &["miss", "outage"], &[]);
    let (status, lines) = numbers.ended().await;
    assert!(status.success(), "{status}: {lines:?}");
}
