//! What the program does on a terminal: the live view, questions, bars.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use smart_cache_tests::harness::{Chaos, RedisServer, eventually};

use crate::screen::Terminal;
use crate::world::{World, run};

const WATCH: [&str; 4] = ["stats", "--watch", "--every", "100ms"];

/// The live view of this world.
fn watch(world: &World, size: (u16, u16)) -> Terminal {
    let url = world.server.url();
    let settings = [
        ("SMART_REDIS_URL", &*url),
        ("SMART_REDIS_NAMESPACE", "shop"),
    ];
    Terminal::start(size, &settings, &WATCH)
}

#[tokio::test]
async fn the_live_view_draws_and_goes_on_drawing_what_changes() {
    let world = World::new().await;
    world.fill(1..3).await;
    let mut terminal = watch(&world, (120, 40));
    terminal
        .shows(&[
            "smart-cache \"shop\" on Redis",
            "requests/s",
            "to be cleared",
            " processes ",
            " handlers ",
            "product:{id}",
            "/product/{id}",
            "0.0%",
            "q quits",
        ])
        .await;
    assert!(terminal.is_taken(), "the whole screen, without a cursor");
    // Two of three are hits now, as its next report says.
    for _ in 0..4 {
        world.ask(1).await;
    }
    terminal.shows(&["66.7%"]).await;
    assert!(terminal.is_running());
    terminal.press("q");
    let left = terminal.left().await;
    assert_eq!(left.code, Some(0), "{}", left.screen);
    assert!(!left.screen.contains("requests/s"), "{}", left.screen);
}

/// How a person, or a program, ends it.
#[derive(Debug, Clone, Copy)]
enum End {
    Key(&'static str),
    Signal(Signal),
}

#[tokio::test]
async fn every_way_to_end_the_live_view_leaves_the_terminal_as_it_was() {
    let world = World::new().await;
    for end in [
        End::Key("q"),
        End::Key("\u{1b}"),
        // Ctrl-C.
        End::Key("\u{3}"),
        End::Signal(Signal::INT),
        End::Signal(Signal::TERM),
        End::Signal(Signal::HUP),
    ] {
        let mut terminal = watch(&world, (80, 24));
        terminal.shows(&["q quits"]).await;
        // No other key does.
        terminal.press("xQ\r");
        match end {
            End::Key(key) => terminal.press(key),
            End::Signal(signal) => terminal.signal(signal),
        }
        let left = terminal.left().await;
        assert_eq!(left.code, Some(0), "{end:?}: {}", left.screen);
    }
}

#[tokio::test]
async fn a_window_of_any_size_is_drawn_and_may_change() {
    let world = World::new().await;
    world.fill(1..3).await;
    let mut terminal = watch(&world, (20, 5));
    terminal.shows(&["smart-cache"]).await;
    let big = ["product:{id}", "/product/{id}", "q quits"];
    for (size, parts) in [
        ((120, 40), &big[..]),
        ((1, 1), &[]),
        ((20, 5), &["smart-cache"]),
        ((300, 3), &["smart-cache"]),
        ((80, 24), &["product:{id}", "q quits"]),
        ((120, 40), &big),
    ] {
        terminal.resize(size);
        terminal.shows(parts).await;
        assert!(terminal.is_running(), "{size:?}");
    }
    terminal.press("q");
    assert_eq!(terminal.left().await.code, Some(0));
}

#[tokio::test]
async fn a_server_that_does_not_answer_keeps_no_key_waiting() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let settings = [
        ("SMART_REDIS_URL", &*chaos.url()),
        ("SMART_REDIS_TIMEOUT", "20s"),
    ];
    let mut terminal = Terminal::start((80, 24), &settings, &WATCH);
    terminal.shows(&["q quits"]).await;
    let mut held = chaos.hold("INFO");
    held.arrived().await;
    let pressed = Instant::now();
    terminal.press("q");
    assert_eq!(terminal.left().await.code, Some(0));
    let took = pressed.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_server_that_goes_away_leaves_the_last_numbers_and_the_reason() {
    let mut world = World::new().await;
    world.fill(1..3).await;
    let mut terminal = watch(&world, (100, 30));
    terminal.shows(&["product:{id}"]).await;
    world.server.kill();
    terminal
        .shows(&["shown is the last answer", "product:{id}"])
        .await;
    world.server.restart().await;
    terminal.shows(&["q quits"]).await;
    terminal.press("q");
    assert_eq!(terminal.left().await.code, Some(0));
}

#[tokio::test]
async fn a_server_that_never_answers_is_an_error_on_an_ordinary_screen() {
    let nobody = RedisServer::start().await.url();
    let settings = [
        ("SMART_REDIS_URL", &*nobody),
        ("SMART_REDIS_TIMEOUT", "300ms"),
    ];
    let mut terminal = Terminal::start((100, 30), &settings, &WATCH);
    let left = terminal.left().await;
    assert_eq!(left.code, Some(4), "{}", left.screen);
    assert!(left.screen.contains("smart-cache: "), "{}", left.screen);
    let written = terminal.written();
    assert!(!written.contains("\u{1b}[?1049h"), "{written:?}");
}

#[tokio::test]
async fn everything_is_cleared_only_after_a_yes() {
    let world = World::new().await;
    let url = world.server.url();
    let settings = [
        ("SMART_REDIS_URL", &*url),
        ("SMART_REDIS_NAMESPACE", "shop"),
    ];
    for (answer, code, is_hit) in [("n\r", 1, true), ("\r", 1, true), ("y\r", 0, false)] {
        world.ask(1).await;
        eventually("a hit", async || {
            world.ask(1).await.contains("hit").then_some(())
        })
        .await;
        let mut terminal = Terminal::start((100, 30), &settings, &["clear", "--all"]);
        terminal.shows(&["Clear everything of", "[y/N]"]).await;
        terminal.press(answer);
        let left = terminal.left().await;
        assert_eq!(left.code, Some(code), "{answer:?}: {}", left.screen);
        assert_eq!(world.ask(1).await.contains("hit"), is_hit, "{answer:?}");
    }
    // Who says that there is nothing to ask is not asked.
    let mut terminal = Terminal::start((100, 30), &settings, &["clear", "--all", "--yes"]);
    let left = terminal.left().await;
    assert_eq!(left.code, Some(0), "{}", left.screen);
    assert!(!left.screen.contains("[y/N]"), "{}", left.screen);
}

#[tokio::test]
async fn a_bar_appears_on_a_terminal_and_nowhere_else() {
    let world = World::new().await;
    world.fill(1..601).await;
    let url = world.server.url();
    let settings = [
        ("SMART_REDIS_URL", &*url),
        ("SMART_REDIS_NAMESPACE", "shop"),
    ];
    for (arguments, what) in [
        (&["ls"][..], "names"),
        (&["doctor"], "keys measured"),
        (&["sweep"], "sweeping"),
    ] {
        // Lines into a file, the bar on the terminal.
        let to = tempfile::tempfile().unwrap();
        let mut terminal = Terminal::start_with_output_to(Stdio::from(to), &settings, arguments);
        let left = terminal.left().await;
        assert_eq!(left.code, Some(0), "{arguments:?}: {}", left.screen);
        let written = terminal.written();
        assert!(written.contains(what), "{arguments:?}: {written:?}");
        assert!(!left.screen.contains(what), "it goes: {}", left.screen);
        let said = run(&settings, arguments).await;
        assert_eq!((said.code, &*said.err), (0, ""), "{arguments:?}");
    }
}
