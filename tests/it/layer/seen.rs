//! What many services read without saying so tells two answers apart.

use super::{check_apart, check_shared, site};

#[tokio::test]
async fn every_host_has_its_own_answer() {
    let (app, _) = site(|layer| layer.query(["page"])).await;
    let host = |name: &'static str| [("host", name)];
    check_apart(&app, ("/", &host("a.test")), ("/", &host("b.test"))).await;
    check_apart(&app, ("/", &host("a.test")), ("/", &host("a.test:8080"))).await;
    check_apart(&app, ("/", &host("a.test")), ("/", &[])).await;
    check_apart(
        &app,
        ("/", &[("host", "a.test"), ("host", "b.test")]),
        ("/", &[("host", "b.test"), ("host", "a.test")]),
    )
    .await;
    // A target in absolute form names a host of its own, whatever the header says.
    check_apart(&app, ("http://a.test/x", &[]), ("http://b.test/x", &[])).await;
    check_apart(&app, ("http://a.test/x", &[]), ("https://a.test/x", &[])).await;
    check_apart(
        &app,
        ("http://a.test/y", &host("b.test")),
        ("/y", &host("b.test")),
    )
    .await;
}

#[tokio::test]
async fn headers_that_replace_the_target_count_like_the_target() {
    let (app, _) = site(|layer| layer).await;
    for name in [
        "x-forwarded-host",
        "x-forwarded-server",
        "x-forwarded-proto",
        "x-forwarded-scheme",
        "x-forwarded-ssl",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-path",
        "x-forwarded-uri",
        "x-host",
        "x-original-host",
        "x-http-host-override",
        "x-scheme",
        "x-original-url",
        "x-rewrite-url",
        "x-script-name",
    ] {
        let path = format!("/{name}");
        check_apart(&app, (&path, &[(name, "evil")]), (&path, &[])).await;
        check_apart(&app, (&path, &[(name, "")]), (&path, &[])).await;
        check_apart(&app, (&path, &[(name, "evil")]), (&path, &[(name, "b")])).await;
    }
}

#[tokio::test]
async fn a_value_does_not_reach_from_one_header_into_the_next() {
    let (app, _) = site(|layer| layer).await;
    check_apart(
        &app,
        ("/", &[("x-forwarded-host", "a"), ("x-host", "b")]),
        ("/", &[("x-forwarded-host", "b"), ("x-host", "a")]),
    )
    .await;
    check_apart(
        &app,
        ("/", &[("x-forwarded-host", "a"), ("x-forwarded-host", "b")]),
        ("/", &[("x-forwarded-host", "a, b")]),
    )
    .await;
}

#[tokio::test]
async fn forwarded_counts_but_for_its_addresses() {
    let (app, _) = site(|layer| layer).await;
    let with = |value: &'static str| [("forwarded", value)];
    check_shared(
        &app,
        ("/a", &with("for=192.0.2.1;host=a")),
        ("/a", &with("for=192.0.2.2;host=a")),
    )
    .await;
    for (path, one, other) in [
        ("/b", "host=a", "host=b"),
        ("/c", "for=1;host=a", "host=a"),
        ("/d", "for=1, host=a", "for=1; host=a"),
        ("/e", "for=\"1;host=a\"", "for=\"1;host=b\""),
        ("/f", "host=a, host=b", "host=b, host=a"),
    ] {
        check_apart(&app, (path, &with(one)), (path, &with(other))).await;
    }
    check_apart(
        &app,
        ("/g", &[("forwarded", "host=a"), ("forwarded", "host=b")]),
        ("/g", &with("host=a,host=b")),
    )
    .await;
}

#[tokio::test]
async fn the_path_counts_as_it_was_sent() {
    let (app, _) = site(|layer| layer).await;
    for (one, other) in [
        ("/a/b", "/a%2Fb"),
        ("/a/b", "/a//b"),
        ("/a/b", "/a/b/"),
        ("/a/b", "/A/b"),
        ("/a/b", "/a/./b"),
        ("/a/b", "/a/c/../b"),
        ("/a/b", "/a/b;x"),
        ("/a%2fc", "/a%2Fc"),
        ("/a/b", "/a/b%3Fx=1"),
    ] {
        check_apart(&app, (one, &[]), (other, &[])).await;
    }
}
