//! TLS: which cryptography, which authorities, which certificate.

use std::path::{Path, PathBuf};

use redis::{ClientTlsConfig, ConnectionInfo, ErrorKind, RedisError, TlsCertificates};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::options::TlsFiles;
use crate::error::ConfigError;

const CA: &str = "SMART_REDIS_TLS_CA";
const CERT: &str = "SMART_REDIS_TLS_CERT";
const KEY: &str = "SMART_REDIS_TLS_KEY";

/// The TLS library must be told which cryptography to use, or it panics at the first handshake; a
/// program that has told it already keeps its choice.
pub(super) fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that somebody else was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// What the client needs for a connection, with the files as they are now.
pub(super) fn equipped(
    info: ConnectionInfo,
    files: &TlsFiles,
) -> Result<ConnectionInfo, RedisError> {
    install_provider();
    if files.is_empty() {
        return Ok(info);
    }
    let unusable = |why: ConfigError| {
        let kind = ErrorKind::InvalidClientConfig;
        RedisError::from((kind, "no TLS with these files", why.to_string()))
    };
    let client = redis::Client::build_with_tls(info, read(files).map_err(unusable)?)?;
    Ok(client.get_connection_info().clone())
}

/// Says at the start what would fail at the first connection.
pub(super) fn check(files: &TlsFiles) -> Result<(), ConfigError> {
    let certificates = read(files)?;
    for (name, path, text) in [
        (CA, &files.ca, certificates.root_cert.as_ref()),
        (
            CERT,
            &files.cert,
            certificates.client_tls.as_ref().map(|own| &own.client_cert),
        ),
    ] {
        if let (Some(path), Some(text)) = (path, text) {
            let mut found = CertificateDer::pem_slice_iter(text).peekable();
            let is_empty = found.peek().is_none();
            if is_empty || found.any(|certificate| certificate.is_err()) {
                return Err(refused(
                    name,
                    path,
                    "a file with certificates in PEM (-----BEGIN CERTIFICATE-----)",
                ));
            }
        }
    }
    if let (Some(path), Some(own)) = (&files.key, &certificates.client_tls)
        && PrivateKeyDer::from_pem_slice(&own.client_key).is_err()
    {
        return Err(refused(
            KEY,
            path,
            "a file with a private key in PEM, not encrypted",
        ));
    }
    Ok(())
}

fn read(files: &TlsFiles) -> Result<TlsCertificates, ConfigError> {
    let file = |name, path: &PathBuf| {
        std::fs::read(path)
            .map_err(|why| refused(name, path, &format!("a file that can be read ({why})")))
    };
    let client_tls = match (&files.cert, &files.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some(ClientTlsConfig {
            client_cert: file(CERT, cert)?,
            client_key: file(KEY, key)?,
        }),
        (Some(cert), None) => {
            return Err(refused(
                CERT,
                cert,
                "a certificate with its private key in SMART_REDIS_TLS_KEY",
            ));
        }
        (None, Some(key)) => {
            return Err(refused(
                KEY,
                key,
                "a private key with its certificate in SMART_REDIS_TLS_CERT",
            ));
        }
    };
    let root_cert = files.ca.as_ref().map(|ca| file(CA, ca)).transpose()?;
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}

fn refused(name: &str, path: &Path, allowed: &str) -> ConfigError {
    ConfigError::Invalid {
        name: name.to_owned(),
        value: path.display().to_string(),
        allowed: allowed.to_owned(),
    }
}
