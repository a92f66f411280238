//! The dashboard and the alert rules ask for metrics and labels that there are, in PromQL that
//! loads, and the alerts fire when they should.

use std::path::{Path, PathBuf};
use std::process::Command;

use smart_cache::observe::{Kind, METRICS};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops")
}

fn dashboard() -> serde_json::Value {
    let text = std::fs::read_to_string(folder().join("grafana-dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every expression of the dashboard, with the title of its panel.
fn expressions() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut found = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} shows something");
        for target in targets {
            let expr = target["expr"].as_str().unwrap();
            found.push((title.to_owned(), expr.to_owned()));
        }
    }
    found
}

/// Asserts that whatever begins like one of our metrics is one, and is used with labels that it has.
#[track_caller]
fn check(what: &str, text: &str) -> usize {
    let mut count = 0;
    for (at, _) in text.match_indices("smart_cache_") {
        let rest = &text[at..];
        let end = rest.find(|char: char| char != '_' && !char.is_ascii_alphanumeric());
        let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let metric = METRICS.iter().find(|metric| match metric.kind {
            Kind::Histogram => name
                .strip_prefix(metric.name)
                .is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix)),
            _ => name == metric.name,
        });
        let metric = metric.unwrap_or_else(|| panic!("{what}: there is no metric {name}"));
        count += 1;
        let Some(labels) = behind.strip_prefix('{') else {
            continue;
        };
        let labels = &labels[..labels.find('}').unwrap()];
        for matcher in labels.split(',').filter(|matcher| !matcher.is_empty()) {
            let label = matcher.split(['=', '!', '~']).next().unwrap().trim();
            let known =
                metric.labels.contains(&label) || ["namespace", "instance", "le"].contains(&label);
            assert!(known, "{what}: {name} has no label {label}");
        }
    }
    count
}

/// Runs Prometheus's own tool, which `tests/run` installs.
#[track_caller]
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(folder())
        .output()
        .unwrap_or_else(|error| panic!("cannot run promtool (tests/run installs it): {error}"));
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let all = expressions();
    for (title, expr) in &all {
        assert!(check(title, expr) > 0, "{title} shows something of ours");
    }
    for metric in METRICS {
        let shown = all.iter().any(|(_, expr)| expr.contains(metric.name));
        assert!(shown, "{} is on the dashboard", metric.name);
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids: Vec<_> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    for panel in panels {
        let place = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{} fits", panel["title"]);
        assert!(place("h") > 0);
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["datasource", "namespace"]);
}

#[test]
fn every_expression_of_the_dashboard_is_promql() {
    let rule = |(at, (_, expr)): (usize, (String, String))| {
        let expr = expr
            .replace("$__rate_interval", "5m")
            .replace("$__range", "1h")
            .replace("$namespace", ".*");
        serde_json::json!({ "record": format!("shown:{at}"), "expr": expr })
    };
    let rules: Vec<_> = expressions().into_iter().enumerate().map(rule).collect();
    let file = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dashboard.yml");
    // JSON is YAML.
    std::fs::write(&path, file.to_string()).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()]);
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    let rules = std::fs::read_to_string(folder().join("alerts.yml")).unwrap();
    assert!(check("alerts.yml", &rules) > 10);
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["test", "rules", "alerts_test.yml"]);
}
