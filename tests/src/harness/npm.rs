//! What a script of the tests needs of npm, once for a checkout.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tokio::process::Command;

/// Installs what the folder's `package.json` names, unless it is there: exactly the versions of its
/// lock file, without running any script of theirs.
///
/// # Panics
///
/// When npm is not installed or cannot fetch it.
pub async fn npm_install(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("package.json")).expect("a package.json");
    let package: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let wanted = package["dependencies"].as_object().expect("dependencies");
    // Tests are processes of their own, and npm clears away what another one is installing. Goes with the guard.
    let lock = File::open(folder).expect("it was read from just now");
    let lock = tokio::task::spawn_blocking(move || {
        flock(&lock, FlockOperation::LockExclusive).map(|()| lock)
    });
    let _lock = lock
        .await
        .expect("it does not panic")
        .expect("a lock on our own folder");
    let is_there = |name: &String| {
        let path = folder.join("node_modules").join(name);
        let text = std::fs::read_to_string(path.join("package.json")).unwrap_or_default();
        let found: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        found["version"] == wanted[name]
    };
    if wanted.keys().all(is_there) {
        return;
    }
    let npm = Command::new("npm")
        .current_dir(folder)
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .output()
        .await
        .expect("npm is installed: run tests/run once");
    let complained = String::from_utf8_lossy(&npm.stderr);
    assert!(npm.status.success(), "npm ci failed: {complained}");
}
