//! A cache made in code instead of by the environment.
//!
//! Over 400 lines, since every setting has a documented method.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::memory::MemoryBackend;
use crate::backend::off::OffBackend;
use crate::backend::redis::{PartitionedBackend, RedisBackend, RedisOptions};
use crate::backend::stores;
use crate::backend::{Backend, ValueStore};
use crate::cache::SmartCache;
use crate::config::{self, BackendKind, Config, StartFlush};
use crate::error::ConfigError;
use crate::kv::{OnError, Timeout};

/// Builds a [`SmartCache`]; each method sets what the environment variable of the same name sets.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), smart_cache::ConfigError> {
/// use std::time::Duration;
/// use smart_cache::{BackendKind, SmartCache};
///
/// let cache = SmartCache::builder()
///     .backend(BackendKind::Memory)
///     .namespace("pages")
///     .settle(Duration::ZERO)
///     .build()
///     .await?;
/// # drop(cache);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until build()"]
pub struct Builder {
    config: Config,
    custom: Option<Arc<dyn Backend>>,
    store: Option<Arc<dyn ValueStore>>,
    /// The first value that cannot be used; told by `build`.
    refused: Option<ConfigError>,
}

impl Builder {
    /// Starts from `SMART_REDIS_*` instead of the defaults.
    pub fn env(mut self) -> Self {
        match Config::from_env(None) {
            Ok(config) => self.config = config,
            Err(why) => self.refuse(why),
        }
        self
    }

    /// Starts from `SMART_REDIS_<NAME>_*`, with the plain variables as defaults: the settings of
    /// the cache that `cache = "name"` in an attribute means.
    pub fn named_env(mut self, name: &str) -> Self {
        match Config::from_env(Some(name)) {
            Ok(config) => self.config = config,
            Err(why) => self.refuse(why),
        }
        self
    }

    /// Where entries live.
    pub fn backend(mut self, kind: BackendKind) -> Self {
        self.config.backend = kind;
        self
    }

    /// A backend of your own, or one that is shared between caches.
    pub fn custom_backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.custom = Some(backend);
        self
    }

    /// A store of your own, for responses and for the values of the low-level API: anything that
    /// keeps names and bytes, see [`ValueStore`]. There is no local tier in front of it.
    ///
    /// # Example
    /// ```
    /// # async fn example(store: std::sync::Arc<dyn smart_cache::backend::ValueStore>) -> Result<(), smart_cache::ConfigError> {
    /// let cache = smart_cache::SmartCache::builder().value_store(store).build().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn value_store(mut self, store: Arc<dyn ValueStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// The server: `redis://`, `rediss://` (feature `tls`) or `unix://`; nodes of a cluster:
    /// `redis+cluster://host:port,host:port`; sentinels: `redis+sentinel://host:port,host:port/master`; with
    /// their features also
    /// `sqlite:`, `postgres:`, `mysql:`, `file:/folder[?capacity=1GiB]` and `memcached:`.
    pub fn url(mut self, url: &str) -> Self {
        if config::store_kind(url).is_some() {
            self.config.store_url = Some(url.to_owned());
            "url".clone_into(&mut self.config.url_name);
            self.config.address_given = true;
            return self;
        }
        self.config.store_url = None;
        match config::address("url", url) {
            Ok(address) => {
                self.config.address = Some(address);
                self.config.address_given = true;
            }
            Err(why) => self.refuse(why),
        }
        self
    }

    /// The authorities that are trusted over TLS (feature `tls`) instead of those of the system: a file in
    /// PEM.
    pub fn tls_ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.config.tls.ca = Some(file.into());
        self
    }

    /// The certificate that is shown to a server which asks for one, and its private key: files in PEM
    /// (feature `tls`). They are read at every connection, so new ones are taken without a restart.
    pub fn tls_client(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.config.tls.cert = Some(cert.into());
        self.config.tls.key = Some(key.into());
        self
    }

    /// Over how many slots of a cluster the entries are spread; default 1, at most 256. Each has
    /// connections of its own, and a clear goes to all at once. Redis alone has partitions.
    pub fn partitions(mut self, partitions: u32) -> Self {
        if config::PARTITIONS.contains(&partitions) {
            self.config.partitions = partitions;
        } else {
            self.refuse(invalid(
                "partitions",
                partitions.to_string(),
                "from 1 to 256",
            ));
        }
        self
    }

    /// Replicas that must have a clear, in time, for it to be acknowledged; default 0. What is lost with
    /// a master that was cut off is then an `Err` and repeated. At most 100.
    pub fn min_replicas(mut self, replicas: u32) -> Self {
        if replicas <= config::MOST_REPLICAS {
            self.config.min_replicas = replicas;
        } else {
            self.refuse(invalid(
                "min_replicas",
                replicas.to_string(),
                "from 0 to 100",
            ));
        }
        self
    }

    /// Prefix of every name in Redis; default `cache`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        match config::check_namespace(&namespace) {
            Ok(()) => self.config.namespace = namespace,
            Err(allowed) => self.refuse(invalid("namespace", namespace, allowed)),
        }
        self
    }

    /// Whether building the cache makes its namespace cold; default [`StartFlush::Always`].
    pub fn flush(mut self, flush: StartFlush) -> Self {
        self.config.flush = flush;
        self
    }

    /// Longest wait for the backend on the way of a request; default 250 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// An answer whose newest token is younger than this is stored for this long only; default
    /// 2 s, zero switches it off.
    pub fn settle(mut self, settle: Duration) -> Self {
        self.config.settle = settle;
        self
    }

    /// How long a process that fills an entry may be silent; default 10 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.config.lease = lease;
        self
    }

    /// Longest wait for another request that fills the same entry; default 2 s.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.config.wait = wait;
        self
    }

    /// Bytes of entries that this process keeps in its own memory in front of the backend; default
    /// 64 MiB, zero: every hit asks the backend. The memory backend keeps as many behind it.
    pub fn local_capacity(mut self, bytes: u64) -> Self {
        self.config.local_capacity = bytes;
        self
    }

    /// Bound of the staleness of a node that is cut off; also four times the heartbeat. From 20 ms
    /// to a year; default 1 s.
    pub fn local_staleness(mut self, staleness: Duration) -> Self {
        if config::STALENESS.contains(&staleness) {
            self.config.local_staleness = staleness;
        } else {
            let allowed = "from 20ms to a year";
            self.refuse(invalid(
                "local_staleness",
                format!("{staleness:?}"),
                allowed,
            ));
        }
        self
    }

    /// Longest body that is stored; default 2 MiB.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.config.max_body = bytes;
        self
    }

    /// Most entries under one key; default 10 000.
    pub fn max_variants(mut self, most: u32) -> Self {
        self.config.max_variants = most.max(1);
        self
    }

    /// Query parameters that never count, joined by commas; a trailing `*` stands for any ending.
    pub fn ignored_query(mut self, names: &str) -> Self {
        self.config.ignored_query = crate::key::IgnoredQuery::parse(names);
        self
    }

    /// The encodings in which bodies are kept ready beside the plain one, in the order of the
    /// server's preference, joined by commas: `zstd`, `br`, `gzip`, each with its cargo feature
    /// (`br` needs `brotli`). Default: none. A handler's `encodings(..)` goes before it.
    pub fn encodings(mut self, names: &str) -> Self {
        match crate::encode::parse(names) {
            Ok(encodings) => self.config.encodings = encodings,
            Err(allowed) => self.refuse(invalid("encodings", names.to_owned(), &allowed)),
        }
        self
    }

    /// Bytes that a body must have to be encoded; default 1024.
    pub fn encode_from(mut self, bytes: u64) -> Self {
        self.config.encode_from = bytes;
        self
    }

    /// Whether answers carry `Cache-Status`; default true.
    pub fn status_header(mut self, shown: bool) -> Self {
        self.config.status_header = shown;
        self
    }

    /// Whether `Cache-Status` names the key of the answer, for debugging: a key may tell more than
    /// the world should know. Default false.
    pub fn status_key(mut self, shown: bool) -> Self {
        self.config.status_key = shown;
        self
    }

    /// The application's version: entries of two versions never mix. Default: a fingerprint of
    /// the running executable.
    pub fn app_version(mut self, version: impl Into<String>) -> Self {
        let version = version.into();
        match config::check_version(&version) {
            Ok(()) => self.config.app_version = Some(version),
            Err(allowed) => self.refuse(invalid("app_version", version, allowed)),
        }
        self
    }

    /// Replaces the server's identity where INFO is forbidden. It must change whenever the
    /// server restarts from a snapshot or fails over.
    pub fn server_id(mut self, id: impl Into<String>) -> Self {
        let id = id.into();
        match config::check_server_id(&id) {
            Ok(()) => self.config.server_id = Some(id),
            Err(allowed) => self.refuse(invalid("server_id", id, allowed)),
        }
        self
    }

    /// Seals every response and value that is stored, by authenticated encryption: keys of 32 bytes
    /// in hex or base64, joined by commas. The first one seals, all of them open; what does not
    /// open is a miss. Keys, tags and the names of values stay readable, and values cannot be
    /// counted with. Needs the feature `encryption`.
    pub fn encryption_key(mut self, keys: &str) -> Self {
        match config::keyring("encryption_key", keys) {
            Ok(keyring) => self.config.keyring = Some(keyring),
            Err(why) => self.refuse(why),
        }
        self
    }

    /// How long values of the low-level API stay that are stored with
    /// [`Timeout::Default`](crate::Timeout); default 300 s.
    pub fn default_timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.config.values.default_timeout = match timeout.into() {
            Timeout::Default => config::ValueSettings::default().default_timeout,
            own => own,
        };
        self
    }

    /// What reads of the low-level API do while the backend does not answer; default
    /// [`OnError::Miss`].
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.config.values.on_error = on_error;
        self
    }

    /// The version under which values are stored by handles that name none; default 1.
    pub fn values_version(mut self, version: u32) -> Self {
        self.config.values.version = version;
        self
    }

    /// Makes the name of a value from its key and version, instead of `<version>:<key>`. Two keys
    /// or versions that are given one name are one value. [`Cache::keys`](crate::Cache::keys) is an
    /// error then.
    pub fn key_function(
        mut self,
        make: impl Fn(&str, u32) -> String + Send + Sync + 'static,
    ) -> Self {
        self.config.values.key_function = Some(config::KeyFunction(Arc::new(make)));
        self
    }

    /// The share of hits, from 0 to 1, whose handler is run once more in the background to compare
    /// what it says with what was served; default 0. A difference although nothing was cleared is
    /// an error in the log and counted, and the key is cleared. Handlers with side effects or
    /// random output opt out with `audit = false`.
    pub fn audit(mut self, share: f64) -> Self {
        if config::SHARE.contains(&share) {
            self.config.audit = share;
        } else {
            self.refuse(invalid("audit", share.to_string(), "from 0 to 1"));
        }
        self
    }

    /// Whether the process counts among those that use the namespace; default true. `false` is for
    /// tools that look in: they announce no build, sweep only when told to, and leave no numbers.
    pub fn announce(mut self, announced: bool) -> Self {
        self.config.announce = announced;
        self
    }

    /// Builds the cache: connects, gives advice in the log, flushes if so configured. A backend
    /// that does not answer is no error: handlers run until it does.
    ///
    /// # Errors
    /// When a value cannot be used; the message names it.
    pub async fn build(self) -> Result<SmartCache, ConfigError> {
        let cache = self.assemble().await?;
        cache.open().await;
        Ok(cache)
    }

    /// Builds the cache for a request that found none: it waits for the backend no longer than any
    /// other request.
    pub(crate) async fn build_lazily(self) -> Result<SmartCache, ConfigError> {
        let cache = self.assemble().await?;
        cache.open_in_background().await;
        Ok(cache)
    }

    async fn assemble(self) -> Result<SmartCache, ConfigError> {
        if let Some(why) = self.refused {
            return Err(why);
        }
        let backend = match (self.custom, self.store) {
            (Some(backend), _) => backend,
            (None, Some(store)) => {
                stores::on_one(store, &self.config, version(&self.config).await)?
            }
            (None, None) => choose(&self.config).await?,
        };
        Ok(SmartCache::assemble(self.config, backend))
    }

    fn refuse(&mut self, why: ConfigError) {
        self.refused.get_or_insert(why);
    }
}

fn invalid(name: &str, value: String, allowed: &str) -> ConfigError {
    ConfigError::Invalid {
        name: name.to_owned(),
        value,
        allowed: allowed.to_owned(),
    }
}

/// The backend that the settings name.
async fn choose(config: &Config) -> Result<Arc<dyn Backend>, ConfigError> {
    // Zero switches off the tier in front of a backend; memory has none in front of it to lose.
    let capacity = match config.local_capacity {
        0 => Config::default().local_capacity,
        bytes => bytes,
    };
    let memory = || {
        Arc::new(MemoryBackend::new(
            capacity,
            config.lease,
            config.settle,
            config.max_variants,
        ))
    };
    if let Some(kind) = stores::kind(config)? {
        return stores::open(kind, config, version(config).await);
    }
    let address = config.address_or_default()?;
    match config.backend {
        BackendKind::Off => return Ok(Arc::new(OffBackend)),
        BackendKind::Memory => return Ok(memory()),
        BackendKind::Auto if !config.address_given && !somebody_listens().await => {
            tracing::warn!(
                "NO REDIS: nothing listens on 127.0.0.1:6379 and no address is set, so this process caches in its own memory. \
                 Other processes do not share it and do not hear its clears; set SMART_REDIS_URL or SMART_REDIS_HOST for Redis, \
                 or SMART_REDIS_BACKEND=memory to keep it so"
            );
            return Ok(memory());
        }
        // The others have been opened above.
        _ => {}
    }
    let version = version(config).await;
    let options = RedisOptions {
        namespace: config.namespace.clone(),
        version,
        timeout: config.timeout,
        lease: config.lease,
        settle: config.settle,
        max_variants: config.max_variants,
        heartbeat: config.local_staleness / 4,
        server_id: config.server_id.clone(),
        tracking: config.local_capacity > 0,
        staleness: config.local_staleness,
        announce: config.announce,
        tls: config.tls.clone(),
        min_replicas: config.min_replicas,
    };
    if config.partitions > 1 {
        let backend = PartitionedBackend::connect_to(&address, config.partitions, &options)?;
        return Ok(Arc::new(backend));
    }
    Ok(Arc::new(RedisBackend::connect_to(address, options)?))
}

/// The application's version.
async fn version(config: &Config) -> String {
    match &config.app_version {
        Some(version) => version.clone(),
        None => fingerprint().await,
    }
}

/// Whether anything accepts connections on the default address.
async fn somebody_listens() -> bool {
    let attempt = tokio::net::TcpStream::connect(("127.0.0.1", 6379));
    // A server that is there and slow is there.
    !matches!(
        tokio::time::timeout(Duration::from_millis(500), attempt).await,
        Ok(Err(_))
    )
}

/// Tells builds apart: the hash of the running executable, read once.
async fn fingerprint() -> String {
    static FINGERPRINT: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
    let read = || {
        let mut hasher = blake3::Hasher::new();
        let copied = std::env::current_exe()
            .and_then(std::fs::File::open)
            .and_then(|mut file| std::io::copy(&mut file, &mut hasher));
        match copied {
            Ok(_) => hasher.finalize().to_hex()[..12].to_owned(),
            Err(why) => {
                // A start of its own, then: cold, but never another build's entries.
                tracing::warn!(cause = %why, "the executable cannot be read; this start shares no entries. Set SMART_REDIS_APP_VERSION");
                crate::protocol::Nonce::fresh().map_or_else(
                    |_| std::process::id().to_string(),
                    |nonce| String::from_utf8_lossy(&nonce.as_bytes()[..12]).into_owned(),
                )
            }
        }
    };
    FINGERPRINT
        .get_or_init(|| async {
            tokio::task::spawn_blocking(read)
                .await
                .unwrap_or_else(|_| "unknown".to_owned())
        })
        .await
        .clone()
}
