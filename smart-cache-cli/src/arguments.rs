//! What can be asked for.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// See and steer a smart-cache: its keys, entries, numbers and health.
#[derive(Debug, Parser)]
#[command(
    name = "smart-cache",
    version,
    after_help = "The SMART_REDIS_* variables of the programs that cache are read here too.\n\
                  Exit codes: 0 done, 1 not found or needs attention, 2 usage, 3 settings, 4 the backend or database, 5 output."
)]
pub(crate) struct Arguments {
    /// Print JSON, one document for each line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cache is meant.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The server, instead of SMART_REDIS_URL or SMART_REDIS_HOST
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The namespace, instead of SMART_REDIS_NAMESPACE
    #[arg(long, global = true)]
    pub(crate) namespace: Option<String>,
    /// The named cache whose `SMART_REDIS_<NAME>_*` variables are read
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) cache: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the keys that have entries
    Ls(Ls),
    /// Show the entries under a key
    Show(Show),
    /// Clear keys and tags, or everything
    Clear(Clear),
    /// Show the numbers of every process and of the server
    Stats(Stats),
    /// Look for trouble, and say what would help
    Doctor(Doctor),
    /// Remove now what clears have left behind
    Sweep,
    /// Look at the outbox of a database
    Outbox {
        /// What to look at
        #[command(subcommand)]
        command: OutboxCommand,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// How many clears wait to be relayed, and for how long
    Status(OutboxStatus),
}

#[derive(Debug, Args)]
pub(crate) struct OutboxStatus {
    /// sqlite: or postgres: URL of the database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database: String,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Which keys: `*`, `?`, `[a-z]`; a backslash before a character that stands for itself
    #[arg(default_value = "*")]
    pub(crate) glob: String,
    /// Stop after this many keys
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The key, exactly
    pub(crate) key: String,
    /// Only the entry whose id begins with this, with its tokens and headers
    #[arg(long, value_name = "ID")]
    pub(crate) entry: Option<String>,
    /// Write the stored body of that entry, and nothing else
    #[arg(long, requires = "entry", conflicts_with = "json")]
    pub(crate) body: bool,
    /// Stop after this many entries
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Clear {
    /// Keys and tags, exactly: no globs, no prefixes
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) keys: Vec<String>,
    /// Everything in the namespace
    #[arg(long)]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Go on showing them; `q` ends it
    #[arg(long)]
    pub(crate) watch: bool,
    /// Time between two looks
    #[arg(long, default_value = "1s", value_parser = interval)]
    pub(crate) every: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// How many keys to look at for the largest ones
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) sample: u64,
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(every) if every >= Duration::from_millis(100) => Ok(every),
        _ => Err("a time such as 500ms or 2s, at least 100ms".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
