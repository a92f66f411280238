//! A certificate authority for one test, with one server and one client under it.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Where the files of a private authority lie, all in PEM.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority that signed the two others; what a client has to trust.
    pub authority: PathBuf,
    /// The server's certificate, for `localhost` and `127.0.0.1`.
    pub server: PathBuf,
    /// The server's private key.
    pub server_key: PathBuf,
    /// A certificate as the server's, that was only ever valid long ago.
    pub expired: PathBuf,
    /// Its private key.
    pub expired_key: PathBuf,
    /// A client's certificate, for servers that ask for one.
    pub client: PathBuf,
    /// The client's private key.
    pub client_key: PathBuf,
    /// A client's certificate that was only ever valid long ago.
    pub expired_client: PathBuf,
    /// Its private key.
    pub expired_client_key: PathBuf,
}

impl Certificates {
    /// Makes them all and writes them into `folder`.
    ///
    /// # Panics
    ///
    /// When a file cannot be written.
    #[must_use]
    pub fn make(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Without a name of its own the issuer could not be told from the certificates it signs.
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "smart-cache test authority");
        let key = KeyPair::generate().expect("a key for the authority");
        let authority = params
            .self_signed(&key)
            .expect("a certificate for the authority");
        let issuer = Issuer::new(params, key);

        let (lasting, past) = (2000..4000, 2000..2001);
        let client_auth = [ExtendedKeyUsagePurpose::ClientAuth];
        // The nodes of a cluster are each other's clients.
        let server_auth = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let (server, server_key) = signed(&issuer, &server_auth, lasting.clone());
        let (expired, expired_key) = signed(&issuer, &server_auth, past.clone());
        let (client, client_key) = signed(&issuer, &client_auth, lasting);
        let (expired_client, expired_client_key) = signed(&issuer, &client_auth, past);
        Self {
            authority: write(folder, "authority.pem", &authority.pem()),
            server: write(folder, "server.pem", &server),
            server_key: write(folder, "server.key", &server_key),
            expired: write(folder, "expired.pem", &expired),
            expired_key: write(folder, "expired.key", &expired_key),
            client: write(folder, "client.pem", &client),
            client_key: write(folder, "client.key", &client_key),
            expired_client: write(folder, "expired-client.pem", &expired_client),
            expired_client_key: write(folder, "expired-client.key", &expired_client_key),
        }
    }
}

/// One certificate under the authority, and its key.
fn signed(
    issuer: &Issuer<'_, KeyPair>,
    purposes: &[ExtendedKeyUsagePurpose],
    years: std::ops::Range<i32>,
) -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("both are legal names");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = purposes.to_vec();
    params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params
        .signed_by(&key, issuer)
        .expect("a signed certificate");
    (certificate.pem(), key.serialize_pem())
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    path
}
