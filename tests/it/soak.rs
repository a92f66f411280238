//! The soak (`src/bin/soak`) in short: everything at random, and caches that are wrong on purpose.

use smart_cache_tests::harness::Program;

async fn soak(arguments: &[&str]) -> (bool, String) {
    let program = Program::start(env!("CARGO_BIN_EXE_soak"), arguments, &[]);
    let (status, lines) = program.ended().await;
    let text = lines.join("\n");
    println!("{text}");
    (status.success(), text)
}

#[tokio::test]
async fn nothing_is_violated_whatever_goes_wrong() {
    let (good, text) = soak(&["--seconds", "30", "--seed", "1", "--faults", "1"]).await;
    assert!(good, "{text}");
}

#[tokio::test]
async fn a_cache_that_sets_and_deletes_is_found_out() {
    let (good, text) = soak(&["--seconds", "60", "--seed", "1", "--broken", "set-del"]).await;
    assert!(
        !good && text.contains("had been cleared before it began"),
        "{text}"
    );
}

/// Our own, told that every server is the same one: the lagging replica of this seed is believed within seconds.
#[tokio::test]
async fn a_cache_that_takes_every_server_for_the_same_is_found_out() {
    let arguments = ["--seconds", "60", "--seed", "5", "--faults", "1"];
    let (good, text) = soak(&[&arguments[..], &["--broken", "fixed-id"]].concat()).await;
    assert!(
        !good && text.contains("had been cleared before it began"),
        "{text}"
    );
}
