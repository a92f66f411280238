//! Valkey's server, where there is one.

use std::path::PathBuf;

/// The program `valkey-server`: on the path, or where `tests/run` has put it; `None` when there is none.
#[must_use]
pub fn valkey_server() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&paths).map(|folder| folder.join("valkey-server"));
    let put = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/valkey/valkey-server"
    );
    on_path
        .chain([PathBuf::from(put)])
        .find(|program| program.is_file())
}
