//! The dashboard is one by Grafana's own model; it and the alert rules ask for metrics and labels that
//! there are, in PromQL that loads, and the alerts fire when they should.
//!
//! That a real Prometheus finds something for every panel is shown with the shop.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use smart_cache::observe::{Kind, METRICS};
use smart_cache_tests::harness::npm_install;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops")
}

fn dashboard() -> Value {
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

/// Runs the check of `tests/grafana` over dashboards: whether each is sound, and what it said.
fn by_the_model(files: &[PathBuf]) -> (Vec<bool>, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
    let output = Command::new("node")
        .current_dir(folder)
        .arg("check.mjs")
        .args(files)
        .output()
        .unwrap_or_else(|error| panic!("cannot run node (tests/run installs it): {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let sound = files
        .iter()
        .map(|file| {
            let file = file.display();
            let is_sound = said.lines().any(|line| line == format!("ok {file}"));
            let is_not = said.lines().any(|line| line == format!("not ok {file}"));
            let complained = String::from_utf8_lossy(&output.stderr);
            assert_ne!(is_sound, is_not, "{file}: {said}{complained}");
            is_sound
        })
        .collect();
    (sound, said)
}

/// Grafana's types of a dashboard, its panels and their options, and the compiler that checks them.
#[tokio::test]
async fn the_dashboard_is_one_by_the_model_of_grafana_itself() {
    npm_install(&Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana")).await;
    let scratch = tempfile::tempdir().unwrap();
    let mut files = vec![folder().join("grafana-dashboard.json")];
    // Controls: what Grafana would not understand is found.
    for (at, wrong) in [
        json!({ "tilte": "a field that there is not" }),
        json!({ "graphTooltip": 7 }),
        json!({ "schemaVersion": "39" }),
        json!({ "panels": [{ "id": 2, "type": "stat", "title": "without anything else" }] }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut dashboard = dashboard();
        for (name, value) in wrong.as_object().unwrap() {
            dashboard[name] = value.clone();
        }
        files.push(write(scratch.path(), at, &dashboard));
    }
    for (at, (pointer, value)) in [
        ("/panels/1/type", json!("graph")),
        ("/panels/1/gridPos", json!({ "x": 0, "y": 1, "w": 4 })),
        ("/panels/1/options/colorMode", json!("backgruond")),
        ("/panels/8/options/legend/placement", json!("botom")),
        (
            "/panels/8/fieldConfig/defaults/custom/showPoints",
            json!("sometimes"),
        ),
        ("/panels/8/targets/0/expr", Value::Null),
        ("/templating/list/1/type", json!("queries")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut dashboard = dashboard();
        *dashboard.pointer_mut(pointer).expect(pointer) = value;
        files.push(write(scratch.path(), 100 + at, &dashboard));
    }
    let (sound, said) = by_the_model(&files);
    assert!(sound[0], "{said}");
    for (file, sound) in files.iter().zip(sound).skip(1) {
        assert!(!sound, "{} passed for a dashboard: {said}", file.display());
    }
}

fn write(folder: &Path, number: usize, dashboard: &Value) -> PathBuf {
    let path = folder.join(format!("{number}.json"));
    std::fs::write(&path, dashboard.to_string()).unwrap();
    path
}

#[test]
fn panels_have_a_place_of_their_own() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut taken = BTreeSet::new();
    let mut last = 0;
    for panel in panels {
        let place = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{} fits", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} covers another one", panel["title"]);
        }
        last = last.max(y + h);
    }
    // Grafana would pull panels up into a gap, and the file would not be what is seen.
    assert_eq!(taken.len() as u64, 24 * last, "no place is empty");
}

#[test]
fn every_variable_and_label_that_is_used_is_there() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["datasource", "namespace"]);
    // Grafana's own, for every panel.
    let known = [&names[..], &["__rate_interval", "__range"]].concat();
    let text = dashboard.to_string();
    for (at, _) in text.match_indices('$') {
        let rest = text[at + 1..].trim_start_matches('{');
        let end = rest.find(|char: char| char != '_' && !char.is_ascii_alphanumeric());
        let name = &rest[..end.unwrap()];
        // The value that stands for all of a variable's is no variable.
        assert!(
            known.contains(&name) || name == "__all",
            "there is no ${name}"
        );
    }
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        let source = json!({ "type": "prometheus", "uid": "${datasource}" });
        let mut letters = BTreeSet::new();
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(panel["datasource"], source, "{title}");
            assert_eq!(target["datasource"], source, "{title}");
            assert!(letters.insert(target["refId"].as_str()), "{title}");
            let expr = target["expr"].as_str().unwrap();
            let metrics = expr.matches("smart_cache_").count();
            let chosen = expr.matches("{namespace=~\"$namespace\"").count();
            assert_eq!(metrics, chosen, "{title} heeds the choice of namespaces");
            // What a legend names is what the series are told apart by.
            let legend = target["legendFormat"].as_str().unwrap();
            for label in legend.split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                let groups = expr.split(" by (").skip(1);
                let kept = groups.map(|group| group.split(')').next().unwrap());
                let mut kept = kept.flat_map(|group| group.split(", "));
                assert!(kept.any(|kept| kept == label), "{title}: {label} of {expr}");
            }
        }
    }
}

#[test]
fn every_expression_of_the_dashboard_is_promql() {
    let rule = |(at, (_, expr)): (usize, (String, String))| {
        let expr = expr
            .replace("$__rate_interval", "5m")
            .replace("$__range", "1h")
            .replace("$namespace", ".*");
        json!({ "record": format!("shown:{at}"), "expr": expr })
    };
    let rules: Vec<_> = expressions().into_iter().enumerate().map(rule).collect();
    let file = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
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
