//! A private Redis Cluster on loopback: masters, each with replicas, gone with its guard.

use std::collections::HashMap;
use std::time::Duration;

use super::bus::Bus;
use super::redis_options::RedisOptions;
use super::redis_server::RedisServer;
use super::wait::eventually;

/// The password of a node that is cut off.
const STRANGE: &str = "nobody-knows-it";

/// How many slots every cluster has.
const SLOTS: u32 = 16_384;

/// What a cluster should be like.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Masters, which share the slots evenly.
    pub masters: usize,
    /// Replicas of each.
    pub replicas: usize,
    /// How long a node may be silent before it is taken for dead. Long where none is to be: a loaded
    /// machine must not start a failover.
    pub node_timeout: Duration,
    /// Whether the network between the nodes can be cut: [`Cluster::cut_off`].
    pub can_be_cut: bool,
    /// Of every node.
    pub node: RedisOptions,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            masters: 3,
            replicas: 0,
            node_timeout: Duration::from_secs(15),
            can_be_cut: false,
            node: RedisOptions::default(),
        }
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The masters, then their replicas in the same order.
    nodes: Vec<RedisServer>,
    masters: usize,
    bus: Option<Bus>,
    /// Where each node says that the others reach it.
    announced: Vec<u16>,
}

impl Cluster {
    /// Three masters without replicas.
    pub async fn start() -> Self {
        Self::with(ClusterOptions::default()).await
    }

    /// Three masters with a replica each, that take over when a master has been silent for this long.
    pub async fn with_replicas(node_timeout: Duration) -> Self {
        Self::with(ClusterOptions {
            replicas: 1,
            node_timeout,
            ..ClusterOptions::default()
        })
        .await
    }

    /// Any other.
    ///
    /// # Panics
    ///
    /// When the nodes do not come together.
    pub async fn with(options: ClusterOptions) -> Self {
        let count = options.masters * (1 + options.replicas);
        let bus = options.can_be_cut.then(Bus::default);
        let (mut nodes, mut announced) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            let mut node = options
                .node
                .clone()
                .cluster()
                .option(
                    "cluster-node-timeout",
                    &options.node_timeout.as_millis().to_string(),
                )
                // A replica is asked to take over however old its data is: what is at stake is ours
                // to prove.
                .option("cluster-replica-validity-factor", "0");
            let proxy = bus.as_ref().map(Bus::port);
            if let Some(port) = proxy {
                node = node.option("cluster-announce-bus-port", &port.to_string());
            }
            let node = node.start().await;
            if let (Some(bus), Some(port)) = (&bus, proxy) {
                bus.is_of(port, node.bus(), node.cli(&["CLUSTER", "MYID"]));
            }
            announced.push(proxy.unwrap_or_else(|| node.bus()));
            nodes.push(node);
        }
        let cluster = Self {
            nodes,
            masters: options.masters,
            bus,
            announced,
        };
        cluster.introduce().await;
        cluster
    }

    async fn introduce(&self) {
        let share = SLOTS as usize / self.masters;
        for (at, node) in self.nodes.iter().enumerate() {
            // Different from the start, so that the nodes need not agree on it first.
            said(
                node,
                &["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()],
            );
            if at < self.masters {
                let last = if at + 1 == self.masters {
                    SLOTS as usize - 1
                } else {
                    (at + 1) * share - 1
                };
                let (first, last) = ((at * share).to_string(), last.to_string());
                said(node, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            }
            if at > 0 {
                let (port, bus) = (node.port().to_string(), self.announced[at].to_string());
                said(
                    &self.nodes[0],
                    &["CLUSTER", "MEET", "127.0.0.1", &port, &bus],
                );
            }
        }
        self.agreed().await;
        for (at, replica) in self.nodes.iter().enumerate().skip(self.masters) {
            let master = self.id(at % self.masters);
            eventually("a replica to know its master", async || {
                (replica.cli(&["CLUSTER", "REPLICATE", &master]) == "OK").then_some(())
            })
            .await;
        }
        self.replicated().await;
        self.agreed().await;
    }

    /// Waits until every living node knows all others and takes the cluster for whole.
    pub async fn agreed(&self) {
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            eventually("the nodes to agree", async || {
                let info = node.cli(&["CLUSTER", "INFO"]);
                let nodes = node.cli(&["CLUSTER", "NODES"]);
                let all = info.contains("cluster_state:ok") && info.contains(&known);
                (all && !nodes.contains("handshake")).then_some(())
            })
            .await;
        }
    }

    /// Waits until every replica has caught up with its master for the first time.
    async fn replicated(&self) {
        for replica in self.nodes.iter().skip(self.masters) {
            eventually("a replica to be in step", async || {
                let info = replica.cli(&["INFO", "replication"]);
                info.contains("master_link_status:up").then_some(())
            })
            .await;
        }
    }

    /// What a client is configured with: some of its nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let nodes = self.nodes.iter();
        let places: Vec<_> = nodes.map(|node| node.address().to_string()).collect();
        let scheme = match self.nodes[0].certificates() {
            Some(_) => "rediss",
            None => "redis",
        };
        format!("{scheme}+cluster://{}", places.join(","))
    }

    /// A node: the masters of the start first, then their replicas in the same order.
    #[must_use]
    pub fn node(&self, at: usize) -> &RedisServer {
        &self.nodes[at]
    }

    /// The same, to kill and start again.
    pub fn node_mut(&mut self, at: usize) -> &mut RedisServer {
        &mut self.nodes[at]
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The name of a node in the cluster.
    #[must_use]
    pub fn id(&self, at: usize) -> String {
        self.nodes[at].cli(&["CLUSTER", "MYID"])
    }

    /// The slot of a namespace, or of anything in braces.
    #[must_use]
    pub fn slot_of(&self, namespace: &str) -> String {
        let name = format!("{{{namespace}}}:t:");
        self.living().cli(&["CLUSTER", "KEYSLOT", &name])
    }

    fn living(&self) -> &RedisServer {
        let mut nodes = self.nodes.iter();
        nodes
            .find(|node| node.is_running())
            .expect("a node that lives")
    }

    /// The node that serves a slot, as most nodes see it; `None` while they do not agree.
    #[must_use]
    pub fn owner_of(&self, slot: &str) -> Option<usize> {
        let mut votes: HashMap<usize, usize> = HashMap::new();
        let living = self.nodes.iter().filter(|node| node.is_running());
        let mut asked = 0;
        for node in living {
            asked += 1;
            if let Some(owner) = self.owner_as_seen_by(node, slot) {
                *votes.entry(owner).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes)?;
        (most.1 * 2 > asked).then_some(most.0)
    }

    fn owner_as_seen_by(&self, node: &RedisServer, slot: &str) -> Option<usize> {
        let slot: u32 = slot.parse().ok()?;
        let nodes = node.cli(&["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|line| {
            let mut fields = line.split(' ').skip(8);
            fields.any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let number = |text: &str| text.parse::<u32>().ok();
                number(first)
                    .zip(number(last))
                    .is_some_and(|(first, last)| (first..=last).contains(&slot))
            })
        })?;
        let place = line.split(' ').nth(1)?.split('@').next()?;
        let port: u16 = place.rsplit(':').next()?.parse().ok()?;
        self.nodes.iter().position(|node| node.port() == port)
    }

    /// Cuts a node off from all others, and from its replicas; whoever else has a connection to it keeps that. It
    /// needs `can_be_cut`.
    ///
    /// # Panics
    ///
    /// When the network cannot be cut.
    pub fn cut_off(&self, at: usize) {
        let bus = self.bus.as_ref().expect("the option `can_be_cut`");
        bus.cut_off(&self.id(at));
        // A replica that is turned away asks again every second: nobody has the password from now on.
        let node = &self.nodes[at];
        said(node, &["CONFIG", "SET", "requirepass", STRANGE]);
        let _ = node.cli(&[
            "-a",
            STRANGE,
            "--no-auth-warning",
            "CLIENT",
            "KILL",
            "TYPE",
            "replica",
        ]);
    }

    /// Ends what [`cut_off`](Self::cut_off) began.
    pub fn let_in(&self, at: usize) {
        let node = &self.nodes[at];
        let _ = node.cli(&[
            "-a",
            STRANGE,
            "--no-auth-warning",
            "CONFIG",
            "SET",
            "requirepass",
            "",
        ]);
        if let Some(bus) = &self.bus {
            bus.heal();
        }
    }

    /// What a node that is cut off says, to whoever knows the password that it has then.
    #[must_use]
    pub fn cut_off_says(&self, at: usize, words: &[&str]) -> String {
        let all = [&["-a", STRANGE, "--no-auth-warning"], words].concat();
        self.nodes[at].cli(&all)
    }

    /// Begins to move a slot: from now on its names may be on either node.
    pub fn begin_move(&self, slot: &str, from: usize, to: usize) {
        let (source, target) = (self.id(from), self.id(to));
        said(
            &self.nodes[to],
            &["CLUSTER", "SETSLOT", slot, "IMPORTING", &source],
        );
        said(
            &self.nodes[from],
            &["CLUSTER", "SETSLOT", slot, "MIGRATING", &target],
        );
    }

    /// Moves up to this many names of a slot; how many there were.
    ///
    /// # Panics
    ///
    /// When the node refuses.
    #[must_use]
    pub fn move_names(&self, slot: &str, from: usize, to: usize, most: usize) -> usize {
        let source = &self.nodes[from];
        let names = source.cli(&["CLUSTER", "GETKEYSINSLOT", slot, &most.to_string()]);
        let names: Vec<&str> = names.lines().filter(|name| !name.is_empty()).collect();
        if !names.is_empty() {
            self.move_these(from, to, &names);
        }
        names.len()
    }

    /// Moves these names; those that are not there are passed over.
    ///
    /// # Panics
    ///
    /// When the node refuses.
    pub fn move_these(&self, from: usize, to: usize, names: &[&str]) {
        let port = self.nodes[to].port().to_string();
        let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        migrate.extend(names);
        let moved = self.nodes[from].cli(&migrate);
        assert!(matches!(moved.as_str(), "OK" | "NOKEY"), "{moved}");
    }

    /// Says to all masters that a slot has a new owner.
    pub fn end_move(&self, slot: &str, to: usize) {
        let target = self.id(to);
        let settle = ["CLUSTER", "SETSLOT", slot, "NODE", &target];
        // The new owner first, so that there is one at every moment.
        said(&self.nodes[to], &settle);
        for (at, node) in self.nodes.iter().enumerate() {
            let is_master =
                node.is_running() && node.cli(&["ROLE"]).lines().next() == Some("master");
            if at != to && is_master {
                said(node, &settle);
            }
        }
    }

    /// A whole move of a slot, name by name.
    pub fn move_slot(&self, slot: &str, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        while self.move_names(slot, from, to, 10) > 0 {}
        self.end_move(slot, to);
    }
}

/// What must be taken.
fn said(node: &RedisServer, words: &[&str]) {
    let answer = node.cli(words);
    assert_eq!(answer, "OK", "{words:?}");
}
