//! Which cryptography TLS uses.

/// The TLS library must be told which cryptography to use, or it panics at the first handshake; a
/// program that has told it already keeps its choice.
pub(super) fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that somebody else was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
