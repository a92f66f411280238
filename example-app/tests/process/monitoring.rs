//! The dashboard and the alert rules with a real Prometheus that scrapes a real shop: every panel
//! shows something, every rule is evaluated.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use smart_cache::observe::{Kind, METRICS};
use smart_cache_tests::harness::{Client, Prometheus, RedisServer, eventually};

use crate::shop::{Shop, hit};

fn ops() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops")
}

/// What each panel asks for, as Grafana would ask.
fn queries() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(ops().join("grafana-dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut queries = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap();
            let expr = expr
                .replace("$__rate_interval", "20s")
                .replace("$__range", "1m")
                .replace("$namespace", "watched");
            queries.push((panel["title"].to_string(), expr));
        }
    }
    queries
}

/// Visitors of every kind: pages that are there, that are new, that are only asked about (a bypass), and
/// a delivery that clears some.
async fn visit(shop: Client) {
    for round in 0_u32.. {
        for path in [
            "/products/7".to_owned(),
            format!("/products/{}", 8 + round % 2_000),
        ] {
            shop.get(&path).await;
        }
        let unseen = format!("/products/{}", 5_000 + round % 2_000);
        shop.request(Method::HEAD, &unseen).await;
        if round % 5 == 0 {
            let delivery = Request::post("/products/7/stock")
                .header("content-type", "application/json")
                .body(Bytes::from_static(b"{\"quantity\":1}"));
            shop.send(delivery.unwrap()).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_prometheus_finds_something_for_every_panel_and_evaluates_every_alert() {
    let redis = RedisServer::start().await;
    let mut process = Shop::start(&[
        ("SMART_REDIS_URL", &*redis.url()),
        ("SMART_REDIS_NAMESPACE", "watched"),
        ("SMART_REDIS_SETTLE", "0"),
        ("SMART_REDIS_AUDIT", "1"),
    ]);
    let shop = process.client().await;
    hit(shop, "/products/7").await;
    let visitors = tokio::spawn(visit(shop));
    let prometheus = Prometheus::scraping(shop.server(), &ops().join("alerts.yml")).await;

    for (title, query) in queries() {
        eventually(format!("something for {title}: {query}"), async || {
            let series = prometheus.query(&query).await;
            let is_number = |series: &serde_json::Value| series["value"][1] != "NaN";
            series.iter().any(is_number).then_some(())
        })
        .await;
    }
    // What the dashboard's choice of namespaces is made of.
    let namespaces = "label/namespace/values?match%5B%5D=smart_cache_requests_total";
    assert_eq!(
        prometheus.api(namespaces).await,
        serde_json::json!(["watched"])
    );

    let names = prometheus.api("label/__name__/values").await;
    let names = names.as_array().unwrap().iter();
    let names: BTreeSet<_> = names.filter_map(serde_json::Value::as_str).collect();
    for metric in METRICS {
        let name = match metric.kind {
            Kind::Histogram => format!("{}_bucket", metric.name),
            _ => metric.name.to_owned(),
        };
        assert!(names.contains(&*name), "{name} is served: {names:?}");
    }

    let alerts = eventually("every rule to be evaluated", async || {
        let groups = prometheus.api("rules").await;
        let rules = groups["groups"][0]["rules"].as_array()?.clone();
        rules
            .iter()
            .all(|rule| rule["health"] == "ok")
            .then_some(rules)
    })
    .await;
    assert!(alerts.len() >= 9, "{alerts:#?}");
    for alert in alerts {
        assert_eq!(alert["type"], "alerting", "{alert}");
        assert_ne!(alert["state"], "firing", "nothing is wrong: {alert}");
    }
    assert!(
        !visitors.is_finished(),
        "the visitors are served to the end"
    );
    visitors.abort();
}
