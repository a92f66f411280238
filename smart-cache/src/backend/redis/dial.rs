//! Opens connections: those of one backend are all made alike.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, RedisError};

use super::options::TlsFiles;

/// Makes the connections of one backend.
#[derive(Debug, Clone, Default)]
pub(super) struct Dialer {
    #[cfg_attr(
        not(feature = "tls"),
        expect(dead_code, reason = "without TLS nobody shows a certificate")
    )]
    tls: TlsFiles,
}

impl Dialer {
    pub(super) fn new(tls: TlsFiles) -> Self {
        Self { tls }
    }

    /// Connects. The client's own timeouts are those of `config`.
    pub(super) async fn connect(
        &self,
        info: &ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let info = self.equipped(info.clone())?;
        redis::Client::open(info)?
            .get_multiplexed_async_connection_with_config(config)
            .await
    }

    /// With the certificates, which are read anew each time: they are replaced while we run.
    #[cfg(feature = "tls")]
    fn equipped(&self, info: ConnectionInfo) -> Result<ConnectionInfo, RedisError> {
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return super::tls::equipped(info, &self.tls);
        }
        Ok(info)
    }

    #[cfg(not(feature = "tls"))]
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "with TLS it reads files"
    )]
    fn equipped(&self, info: ConnectionInfo) -> Result<ConnectionInfo, RedisError> {
        Ok(info)
    }
}

/// The same way of speaking to another server.
pub(super) fn at(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = host.to_owned();
    let place = match info.addr() {
        ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(place)
}

/// The host of a server, where it has one.
pub(super) fn host_of(info: &ConnectionInfo) -> &str {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
        _ => "",
    }
}
