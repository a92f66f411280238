//! Looks for trouble: one round of the whole protocol with a key of its own, and what the server
//! says of itself. Each finding comes with what would help.
//!
//! Over 400 lines with its tests, which have a case for every remedy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{Facts, TokenState};
use crate::backend::{Filling, Lookup, Stored, Ticket};
use crate::cache::SmartCache;
use crate::codec::{self, Head};
use crate::entry::Answer;
use crate::error::BackendError;
use crate::protocol::{Nonce, Target};

/// How long the tracking connection may take to begin.
const TRACKING_BEGINS: Duration = Duration::from_secs(2);
/// Clocks that differ by less make no difference that anybody sees.
const USUAL_SKEW: Duration = Duration::from_secs(2);
/// A slower answer is felt in every page that is not in the local tier.
const SLOW: Duration = Duration::from_millis(5);
/// How often a slow connection is looked at before it is called so.
const MOST_LOOKS: usize = 10;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// It works, and not as well as it could.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What: `connection`, `rights`, `version`, `memory`, `tracking`, `clock`, `namespace`,
    /// `partitions`.
    pub check: &'static str,
    /// How it is.
    pub level: Level,
    /// In words.
    pub says: String,
    /// What would help; `None` where nothing is wrong.
    pub remedy: Option<String>,
}

fn finding(check: &'static str, level: Level, says: String, remedy: &str) -> Finding {
    Finding {
        check,
        level,
        says,
        remedy: (!remedy.is_empty()).then(|| remedy.to_owned()),
    }
}

fn good(check: &'static str, says: String) -> Finding {
    finding(check, Level::Good, says, "")
}

impl SmartCache {
    /// Looks for trouble with the backend, in at most a few seconds; the answers are for people.
    ///
    /// It takes a ticket, stores, reads and clears an entry of its own, under a key that nobody
    /// else can have, so what it says of rights and memory is what a request would meet.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use smart_cache::{SmartCache, inspect::Level};
    ///
    /// let findings = SmartCache::in_memory().checkup().await;
    /// assert!(findings.iter().all(|finding| finding.level < Level::Problem));
    /// # }
    /// ```
    pub async fn checkup(&self) -> Vec<Finding> {
        let facts = match self.facts_at_best().await {
            Ok(facts) => facts,
            Err(why) => return vec![failed("connection", &self.describe(), &why)],
        };
        let mut findings = vec![connection(self, &facts), self.round().await];
        findings.extend(version(&facts));
        findings.extend(memory(&facts));
        findings.extend(self.tracking().await);
        findings.extend(clocks(&facts));
        findings.push(namespace(&facts));
        findings.extend(partitions(&facts, self.inner.config.partitions));
        findings
    }

    /// What is true now. An answer that came late once is a hiccup of a busy machine: one that comes
    /// late each time is worth telling, so the fastest of some is taken.
    async fn facts_at_best(&self) -> Result<Facts, BackendError> {
        let inspect = self.inspect()?;
        let mut best = inspect.facts().await?;
        for _ in 1..MOST_LOOKS {
            if best.round_trip <= SLOW {
                break;
            }
            let again = inspect.facts().await?;
            if again.round_trip < best.round_trip {
                best = again;
            }
        }
        Ok(best)
    }

    /// Everything that a request does, once.
    async fn round(&self) -> Finding {
        match self.try_round().await {
            Ok(()) => good(
                "rights",
                "ticket, store, lookup and clear all work".to_owned(),
            ),
            Err((step, why)) => failed("rights", step, &why),
        }
    }

    async fn try_round(&self) -> Result<(), (&'static str, BackendError)> {
        let backend = &self.inner.backend;
        let deadline = || Instant::now() + self.inner.config.timeout;
        let unexpected = |step| {
            (
                step,
                BackendError::Protocol("another answer than expected".into()),
            )
        };
        let nonce = Nonce::fresh().map_err(|why| {
            let why = BackendError::Protocol(format!("no randomness: {why}").into());
            ("a ticket", why)
        })?;
        let nonce = String::from_utf8_lossy(nonce.as_bytes()).into_owned();
        let key = format!("smart-cache:checkup:{nonce}");
        let target = Target::new(&key, &[], nonce.as_bytes());
        let ticket = backend.ticket(&target, &[], deadline()).await;
        let Ticket::Lead(lease) = ticket.map_err(|why| ("a ticket", why))? else {
            return Err(unexpected("a ticket"));
        };
        let payload = payload(&target);
        let filling = Filling {
            payload: &payload,
            ttl: Some(Duration::from_secs(60)),
            dynamic: &[],
        };
        let stored = backend.store(&target, &lease, filling).await;
        let Stored::Landed(_) = stored.map_err(|why| ("a store", why))? else {
            return Err(unexpected("a store"));
        };
        let found = backend.lookup(&target, deadline()).await;
        let Lookup::Hit(_) = found.map_err(|why| ("a lookup", why))? else {
            return Err(unexpected("a lookup"));
        };
        let keys = [key];
        backend.clear(&keys).await.map_err(|why| ("a clear", why))?;
        let gone = backend.lookup(&target, deadline()).await;
        let Lookup::Miss { .. } = gone.map_err(|why| ("a lookup", why))? else {
            return Err(unexpected("a clear"));
        };
        let [key] = keys;
        backend.reclaim(vec![key]).await;
        backend
            .discard(&target)
            .await
            .map_err(|why| ("a removal", why))
    }

    /// Whether clears of others are heard.
    async fn tracking(&self) -> Option<Finding> {
        self.inner.local.as_ref()?;
        let until = Instant::now() + TRACKING_BEGINS;
        loop {
            let local = self.stats().local?;
            if local.live {
                let lag = local.lag.unwrap_or_default();
                return Some(good(
                    "tracking",
                    format!("clears of others are heard; proved {lag:.0?} ago"),
                ));
            }
            if Instant::now() > until {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(finding(
            "tracking",
            Level::Warning,
            "clears of others cannot be heard, so the local tier is off and every hit is a round trip"
                .to_owned(),
            "Redis 6 or newer, and the rights for HELLO 3 and CLIENT TRACKING: ACL SETUSER <user> +hello +client|tracking; a proxy in between must pass RESP3 pushes. SMART_REDIS_LOCAL_CAPACITY=0 says that it is meant so",
        ))
    }
}

/// An entry that no request asks for.
fn payload(target: &Target) -> Vec<u8> {
    let head = Head {
        key: Arc::clone(&target.key),
        tags: Vec::new(),
        dynamic: Vec::new(),
    };
    let answer = Answer {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"checkup"),
        encoded: Vec::new(),
        created: std::time::SystemTime::now(),
        took: Duration::ZERO,
    };
    codec::encode(target.id, &head, &answer, "a checkup")
}

/// What a failure means, and what helps.
fn failed(check: &'static str, step: &str, why: &BackendError) -> Finding {
    let text = why.to_string();
    let remedy = match why {
        BackendError::Refused(_)
            if text.contains("NOPERM") || text.contains("can't run this command") =>
        {
            "docs/redis.md has the ACL SETUSER line with every right that is needed; inside scripts the same rights count"
        }
        BackendError::Refused(_) if text.contains("NOAUTH") || text.contains("WRONGPASS") => {
            "set SMART_REDIS_USERNAME and SMART_REDIS_PASSWORD to the server's"
        }
        BackendError::Refused(_) if text.contains("OOM") => {
            "Redis is full: raise maxmemory, or set maxmemory-policy allkeys-lru so that old entries go instead"
        }
        BackendError::Refused(_) if text.contains("NOREPLICAS") => {
            "fewer replicas than SMART_REDIS_MIN_REPLICAS answer in time: INFO replication on the master lists them"
        }
        BackendError::Refused(_) if text.contains("MOVED") => {
            "this server is a node of a cluster: SMART_REDIS_URL=redis+cluster://host:port,host:port"
        }
        BackendError::Refused(_) if text.contains("CLUSTERDOWN") => {
            "the cluster does not serve the namespace's slot: redis-cli --cluster check tells what is missing"
        }
        BackendError::Refused(_) if text.contains("READONLY") => {
            "this is a replica: point SMART_REDIS_HOST or SMART_REDIS_URL to the primary"
        }
        BackendError::Refused(_) if text.contains("MISCONF") => {
            "Redis cannot write its snapshot and refuses writes: look at its disk, or set stop-writes-on-bgsave-error no"
        }
        BackendError::Unsupported(_) => {
            "SMART_REDIS_BACKEND=redis keeps entries where tools can see them"
        }
        BackendError::Timeout(_) | BackendError::Disconnected(_) => {
            "is the server running, and reachable at this address? See SMART_REDIS_URL, SMART_REDIS_HOST, SMART_REDIS_PORT; wrong credentials also end a connection"
        }
        _ => "the server's own log may say more",
    };
    finding(check, Level::Problem, format!("{step}: {text}"), remedy)
}

fn connection(cache: &SmartCache, facts: &Facts) -> Finding {
    let says = format!("{}, {:.0?} away", cache.describe(), facts.round_trip);
    if facts.round_trip > SLOW {
        let remedy = "every hit that is not in the local tier waits this long: put Redis nearer, or look for commands that keep it busy (SLOWLOG GET)";
        return finding("connection", Level::Warning, says, remedy);
    }
    good("connection", says)
}

fn version(facts: &Facts) -> Option<Finding> {
    let name = facts.server_version.as_ref()?;
    let major: u32 = name.split([' ', '.']).nth(1)?.parse().ok()?;
    if name.starts_with("Redis") && major < 6 {
        let remedy = "Redis 6 or newer, or Valkey: older ones cannot push invalidations, so there is no local tier";
        return Some(finding("version", Level::Warning, name.clone(), remedy));
    }
    Some(good("version", name.clone()))
}

fn memory(facts: &Facts) -> Option<Finding> {
    let used = facts.used_memory?;
    let shown = |count| bytesize::ByteSize::b(count).display().iec().to_string();
    let Some(limit) = facts.max_memory.filter(|limit| *limit > 0) else {
        let says = format!("{} used, no limit", shown(used));
        let remedy = "entries live until they are cleared: set maxmemory, and maxmemory-policy allkeys-lru or allkeys-lfu";
        return Some(finding("memory", Level::Note, says, remedy));
    };
    let policy = facts.eviction.as_deref().unwrap_or("unknown");
    let says = format!("{} of {} used, {policy}", shown(used), shown(limit));
    let remedy = if policy == "noeviction" {
        "when Redis is full nothing more is stored (clears still work): maxmemory-policy allkeys-lru lets old entries go instead"
    } else if policy.starts_with("volatile") {
        "entries have no expiry, so this policy cannot evict them: maxmemory-policy allkeys-lru or allkeys-lfu"
    } else if let Some(evicted) = facts.evicted.filter(|evicted| *evicted > 0) {
        let says = format!("{says}; {evicted} names evicted since its start");
        let remedy = "what is evicted is computed again: raise maxmemory if that is often";
        return Some(finding("memory", Level::Note, says, remedy));
    } else {
        return Some(good("memory", says));
    };
    Some(finding("memory", Level::Warning, says, remedy))
}

fn clocks(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(skew) = facts.server_ahead_us {
        let skew = Duration::from_micros(skew.unsigned_abs());
        findings.push(if skew > USUAL_SKEW {
            finding(
                "clock",
                Level::Warning,
                format!("the server's clock and this machine's differ by {skew:.1?}"),
                "run NTP on both: the Age of answers is wrong by as much (what is served never is)",
            )
        } else {
            good("clock", "the server and this machine agree".to_owned())
        });
    }
    let ahead = facts.clock_ahead_us.unwrap_or(0).max(0);
    let ahead = Duration::from_micros(ahead.unsigned_abs());
    if ahead > USUAL_SKEW {
        findings.push(finding(
            "clock",
            Level::Warning,
            format!("the namespace's clock is {ahead:.1?} ahead of the server's: that one was set back"),
            "nothing, if it was once: past a minute the namespace begins a new life by itself. If it happens again, run NTP on the server",
        ));
    }
    findings
}

/// Whether all who use the namespace spread it alike.
fn partitions(facts: &Facts, own: u32) -> Option<Finding> {
    let noted = &facts.partitions;
    if noted.is_empty() && own == 1 {
        return None;
    }
    if noted[..] == [own] {
        return Some(good(
            "partitions",
            format!("the namespace is in {own} partitions"),
        ));
    }
    let says =
        format!("the namespace is in {own} partitions here, and in {noted:?} by others or once");
    let remedy = "clears reach all of them, but entries are not shared: give every process the same SMART_REDIS_PARTITIONS; when none with another number is left, DEL {<namespace>}:partitions";
    Some(finding("partitions", Level::Warning, says, remedy))
}

fn namespace(facts: &Facts) -> Finding {
    let mut programs: Vec<&str> = facts
        .builds
        .iter()
        .filter(|build| build.recent)
        .map(|build| build.application.as_str())
        .collect();
    programs.sort_unstable();
    programs.dedup();
    let name = &facts.namespace;
    match &programs[..] {
        [] | [_] => {
            let by = programs.first().map_or_else(
                || "nobody has announced itself within a day".to_owned(),
                |program| format!("used by {program}"),
            );
            let cold = if facts.namespace_token == Some(TokenState::Missing) {
                "; cold: everything was cleared, and nothing asked for since"
            } else {
                ""
            };
            good("namespace", format!("{name:?}, {by}{cold}"))
        }
        many => finding(
            "namespace",
            Level::Warning,
            format!("{name:?} is shared by {}", many.join(", ")),
            "a clear of one is a clear of all: give each application its own SMART_REDIS_NAMESPACE",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong, and what helps.
    #[track_caller]
    fn wrong(finding: &Finding, check: &str, level: Level, says: &str, remedy: &str) {
        assert_eq!(
            (finding.check, finding.level),
            (check, level),
            "{finding:?}"
        );
        assert!(finding.says.contains(says), "{finding:?}");
        let found = finding.remedy.as_deref().unwrap_or_default();
        assert!(found.contains(remedy), "{finding:?}");
    }

    fn facts(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = Facts {
            namespace: "shop".to_owned(),
            server_version: Some("Redis 7.4.1".to_owned()),
            used_memory: Some(1 << 20),
            max_memory: Some(1 << 30),
            eviction: Some("allkeys-lru".to_owned()),
            evicted: Some(0),
            server_ahead_us: Some(0),
            clock_ahead_us: Some(0),
            round_trip: Duration::from_micros(200),
            ..Facts::default()
        };
        change(&mut facts);
        facts
    }

    #[test]
    fn what_is_as_it_should_be_needs_no_remedy() {
        let (facts, cache) = (facts(|_| {}), SmartCache::in_memory());
        let all = [
            vec![connection(&cache, &facts), namespace(&facts)],
            version(&facts).into_iter().collect(),
            memory(&facts).into_iter().collect(),
            clocks(&facts),
            partitions(&facts, 1).into_iter().collect(),
        ]
        .concat();
        assert_eq!(all.len(), 5, "{all:#?}");
        for finding in all {
            assert_eq!((finding.level, &finding.remedy), (Level::Good, &None));
        }
    }

    #[test]
    fn a_slow_connection_is_told_what_makes_it_slow() {
        let facts = facts(|facts| facts.round_trip = Duration::from_millis(80));
        let finding = connection(&SmartCache::in_memory(), &facts);
        wrong(
            &finding,
            "connection",
            Level::Warning,
            "80ms away",
            "SLOWLOG GET",
        );
    }

    #[test]
    fn an_old_server_is_told_to_be_replaced() {
        let facts = facts(|facts| facts.server_version = Some("Redis 5.0.14".to_owned()));
        let finding = version(&facts).unwrap();
        wrong(
            &finding,
            "version",
            Level::Warning,
            "5.0.14",
            "Redis 6 or newer",
        );
        for name in ["Redis 6.0.16", "Redis 10.0.0", "Valkey 8.1.1"] {
            let facts = self::facts(|facts| facts.server_version = Some(name.to_owned()));
            assert_eq!(version(&facts).unwrap().level, Level::Good, "{name}");
        }
    }

    #[test]
    fn memory_without_a_limit_without_eviction_and_with_too_much_of_it() {
        let unlimited = facts(|facts| facts.max_memory = Some(0));
        let finding = memory(&unlimited).unwrap();
        wrong(&finding, "memory", Level::Note, "no limit", "set maxmemory");
        for (policy, remedy) in [
            ("noeviction", "nothing more is stored"),
            ("volatile-lru", "entries have no expiry"),
            ("volatile-ttl", "entries have no expiry"),
        ] {
            let facts = facts(|facts| facts.eviction = Some(policy.to_owned()));
            let finding = memory(&facts).unwrap();
            wrong(&finding, "memory", Level::Warning, policy, remedy);
        }
        let evicting = facts(|facts| facts.evicted = Some(12));
        let finding = memory(&evicting).unwrap();
        wrong(
            &finding,
            "memory",
            Level::Note,
            "12 names evicted",
            "raise maxmemory",
        );
    }

    #[test]
    fn clocks_that_differ_and_one_that_was_set_back() {
        for skew in [-30_000_000, 30_000_000] {
            let facts = facts(|facts| facts.server_ahead_us = Some(skew));
            let finding = clocks(&facts).remove(0);
            wrong(
                &finding,
                "clock",
                Level::Warning,
                "differ by 30.0s",
                "NTP on both",
            );
        }
        let facts = facts(|facts| facts.clock_ahead_us = Some(20_000_000));
        let finding = clocks(&facts).remove(1);
        wrong(
            &finding,
            "clock",
            Level::Warning,
            "20.0s ahead",
            "NTP on the server",
        );
    }

    #[test]
    fn partitions_that_others_count_differently() {
        let facts = facts(|facts| facts.partitions = vec![3, 8]);
        let finding = partitions(&facts, 3).unwrap();
        let remedy = "the same SMART_REDIS_PARTITIONS";
        wrong(&finding, "partitions", Level::Warning, "[3, 8]", remedy);
        let finding = partitions(&facts, 1).unwrap();
        wrong(
            &finding,
            "partitions",
            Level::Warning,
            "in 1 partitions here",
            remedy,
        );
    }

    /// In the server's own words, and the remedy for each.
    #[test]
    fn every_refusal_has_a_remedy_of_its_own() {
        let refused = |text: &str| BackendError::Refused(text.to_owned().into());
        for (text, remedy) in [
            ("NOPERM User reader has no permissions", "ACL SETUSER"),
            ("NOAUTH Authentication required.", "SMART_REDIS_PASSWORD"),
            (
                "WRONGPASS invalid username-password pair",
                "SMART_REDIS_PASSWORD",
            ),
            ("OOM command not allowed", "raise maxmemory"),
            (
                "NOREPLICAS not enough good replicas",
                "SMART_REDIS_MIN_REPLICAS",
            ),
            ("MOVED 3999 127.0.0.1:6381", "redis+cluster://"),
            ("CLUSTERDOWN Hash slot not served", "--cluster check"),
            (
                "READONLY You can't write against a replica",
                "to the primary",
            ),
            (
                "MISCONF Redis is configured to save",
                "stop-writes-on-bgsave-error",
            ),
            ("ERR something else", "the server's own log"),
        ] {
            let finding = failed("rights", "a store", &refused(text));
            wrong(&finding, "rights", Level::Problem, text, remedy);
        }
        for (why, remedy) in [
            (
                BackendError::Disconnected("gone".into()),
                "is the server running",
            ),
            (
                BackendError::Unsupported("no list".into()),
                "SMART_REDIS_BACKEND=redis",
            ),
        ] {
            let finding = failed("connection", "redis", &why);
            wrong(&finding, "connection", Level::Problem, "redis: ", remedy);
        }
    }
}
