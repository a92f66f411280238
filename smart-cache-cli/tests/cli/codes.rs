//! Exit codes: each that is documented, and what it stands for.

use std::process::Stdio;

use smart_cache_tests::harness::{RedisServer, within};

use crate::world::{World, run};

/// Where nobody listens.
async fn nobody() -> String {
    RedisServer::start().await.url()
}

#[tokio::test]
async fn help_names_every_code_that_is_documented() {
    let help = run(&[], &["--help"]).await.well();
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let listed = guide.split_once("Exit codes: ").unwrap().1;
    for code in [
        "0 done",
        "1 not found",
        "2 usage",
        "3 settings",
        "4 the backend",
        "5 ",
    ] {
        assert!(help.contains(code), "{code}: {help}");
        assert!(listed.contains(code), "{code}: {listed}");
    }
}

#[tokio::test]
async fn one_is_what_is_not_there_and_what_needs_attention() {
    let world = World::new().await;
    let said = world.say(&["show", "no-such-key"]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let full = RedisServer::options().memory("100mb", "noeviction").start();
    let world = World::on(full.await).await;
    assert_eq!(world.say(&["doctor"]).await.code, 1);
}

#[tokio::test]
async fn one_is_an_outbox_in_which_a_clear_waits_for_too_long() {
    use smart_cache::hooks::outbox;
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let url = format!("sqlite:{}", path.display());
    let options = SqliteConnectOptions::new().filename(&path);
    let pool = SqlitePool::connect_with(options.create_if_missing(true));
    let pool = pool.await.unwrap();
    outbox::create(&pool).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    outbox::clear_in(&mut transaction, ["product:1"])
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let ask = async |arguments: &[&str]| {
        let asked = [&["outbox", "status", "--database", &url], arguments].concat();
        run(&[], &asked).await
    };
    assert_eq!(ask(&[]).await.code, 0, "it has only just been written");
    sqlx::query("UPDATE smart_cache_outbox SET written = written - 61000, due = due - 61000")
        .execute(&pool)
        .await
        .unwrap();
    let said = ask(&[]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("is a relay running"), "{}", said.out);
    let said = ask(&["--json"]).await;
    assert_eq!(said.code, 1);
    let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["stuck"], true, "{document}");
}

#[tokio::test]
async fn two_is_a_command_line_that_cannot_be_understood() {
    for arguments in [
        &[][..],
        &["list"],
        &["clear"],
        &["clear", "k", "--all"],
        &["stats", "--every", "1ms"],
        &["stats", "--every", "soon"],
        &["show", "k", "--body"],
        &["show", "k", "--entry", "0", "--body", "--json"],
        &["completions", "tcsh"],
        &["outbox", "status"],
    ] {
        let said = run(&[], arguments).await;
        assert_eq!(said.code, 2, "{arguments:?}: {}{}", said.out, said.err);
        let explains = said.err.contains("--help") || said.err.contains("Usage:");
        assert!(explains, "{arguments:?}: {}", said.err);
    }
}

#[tokio::test]
async fn three_is_a_setting_that_cannot_be_used() {
    for (variable, value, reason) in [
        (
            "SMART_REDIS_TIMEOUT",
            "soon",
            "SMART_REDIS_TIMEOUT=\"soon\"",
        ),
        ("SMART_REDIS_NAMESPACE", "a{b}", "braces"),
        ("SMART_REDIS_BACKEND", "memory", "in each process alone"),
        ("SMART_REDIS_BACKEND", "off", "keeps nothing"),
        ("SMART_REDIS_BACKEND", "Sql", "no list of what it keeps"),
        ("SMART_REDIS_BACKEND", "file", "no list of what it keeps"),
        (
            "SMART_REDIS_BACKEND",
            "memcached",
            "no list of what it keeps",
        ),
        ("SMART_REDIS_URL", "sqlite:shop.db", "SMART_REDIS_URL"),
    ] {
        let said = run(&[(variable, value)], &["ls"]).await;
        assert_eq!(said.code, 3, "{variable}={value}: {}{}", said.out, said.err);
        assert!(
            said.err.contains(reason),
            "{variable}={value}: {}",
            said.err
        );
    }
    let wrong = run(&[], &["outbox", "status", "--database", "mysql://x"]).await;
    assert_eq!(wrong.code, 3, "{}", wrong.err);
}

#[tokio::test]
async fn four_is_a_backend_or_a_database_that_does_not_answer() {
    let nobody = nobody().await;
    let settings = [
        ("SMART_REDIS_URL", &*nobody),
        ("SMART_REDIS_TIMEOUT", "300ms"),
    ];
    for command in [
        &["ls"][..],
        &["clear", "k"],
        &["clear", "--all"],
        &["sweep"],
        &["stats"],
        &["stats", "--watch"],
        &["show", "k"],
        &["outbox", "status", "--database", "sqlite:no-such-file.db"],
        &[
            "outbox",
            "status",
            "--database",
            "postgres://127.0.0.1:1/shop",
        ],
    ] {
        let said = run(&settings, command).await;
        assert_eq!(said.code, 4, "{command:?}: {}{}", said.out, said.err);
        assert!(said.err.starts_with("smart-cache: "), "{}", said.err);
    }
    // What cannot be reached is what it looks for.
    let doctor = run(&settings, &["doctor"]).await;
    assert!(doctor.out.contains("PROBLEM  connection"), "{}", doctor.out);
    assert_eq!(doctor.code, 1);
}

#[tokio::test]
async fn four_is_a_clear_that_was_not_acknowledged() {
    let reader = RedisServer::options().user("reader on >secret ~* +@read +@connection +info");
    let server = reader.start().await;
    let url = server.url().replace("redis://", "redis://reader:secret@");
    for command in [&["clear", "k"][..], &["clear", "--all"]] {
        let said = run(&[("SMART_REDIS_URL", &url)], command).await;
        assert_eq!(said.code, 4, "{command:?}: {}{}", said.out, said.err);
        assert!(said.err.contains("NOT CLEARED"), "{}", said.err);
        assert!(said.err.contains("run it again"), "{}", said.err);
        assert_eq!(said.out, "", "it claims nothing");
    }
}

/// Runs the program in this world with its standard output there: its code, and what it complained of.
async fn run_into(world: &World, output: impl Into<Stdio>, arguments: &[&str]) -> (i32, String) {
    let program = tokio::process::Command::new(env!("CARGO_BIN_EXE_smart-cache"))
        .args(arguments)
        .env_clear()
        .env("SMART_REDIS_URL", world.server.url())
        .env("SMART_REDIS_NAMESPACE", "shop")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let output = within(
        format!("the end of {arguments:?}"),
        program.wait_with_output(),
    );
    let output = output.await.unwrap();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), complained)
}

/// Every command, with something to say.
const TALKATIVE: [&[&str]; 10] = [
    &["ls"],
    &["ls", "--json"],
    &["show", "product:1"],
    &["stats"],
    &["stats", "--json"],
    &["stats", "--watch"],
    &["clear", "product:2"],
    &["doctor"],
    &["sweep"],
    &["completions", "bash"],
];

/// A device that is always full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn five_is_an_output_that_cannot_be_written() {
    let world = World::new().await;
    world.fill(1..3).await;
    for arguments in TALKATIVE {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let (code, complained) = run_into(&world, full.unwrap(), arguments).await;
        assert_eq!(code, 5, "{arguments:?}: {complained}");
        let expected = complained.starts_with("smart-cache: cannot write");
        assert!(expected, "{arguments:?}: {complained}");
    }
}

/// `smart-cache ls | head`: nothing has failed.
#[tokio::test]
async fn a_reader_that_has_gone_is_no_failure() {
    let world = World::new().await;
    world.fill(1..3).await;
    for arguments in TALKATIVE {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, complained) = run_into(&world, writer, arguments).await;
        assert_eq!((code, &*complained), (0, ""), "{arguments:?}");
    }
}
