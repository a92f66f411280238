//! What happens to the keys of a namespace that no client of the protocol does.

use redis::{Cmd, cmd};

use super::Client;

impl Client {
    /// Turns the clock that the scripts of a client [`with_test_time`](Self::with_test_time) read.
    pub(in crate::protocol) async fn set_time(&mut self, micros: u64) {
        let mut set = cmd("MSET");
        set.arg("seconds")
            .arg(micros / 1_000_000)
            .arg("micros")
            .arg(micros % 1_000_000);
        self.run::<()>(set).await.unwrap();
    }

    /// What Redis does when the time of every open hold is up.
    pub(in crate::protocol) async fn expire_holds(&mut self, key: &str) {
        let token: Option<String> = self.mget(&[self.token(key)]).await.remove(0);
        let mut del = cmd("DEL");
        del.arg(self.holds(key));
        // A plain clear and a ticket may have put a lasting token there, which has no end to come.
        if token.as_deref() == Some("!") {
            del.arg(self.token(key));
        }
        self.run::<()>(del).await.unwrap();
    }

    /// What an eviction or an expiry does to one key.
    pub(in crate::protocol) async fn lose(&mut self, key: &str) {
        self.run::<()>(Cmd::del(key)).await.unwrap();
    }

    /// What one key holds.
    pub(in crate::protocol) async fn value(&mut self, key: &str) -> Option<String> {
        self.run(Cmd::get(key)).await.unwrap()
    }

    /// PTTL: milliseconds, -1 for ever, -2 missing.
    pub(in crate::protocol) async fn ttl(&mut self, key: &str) -> i64 {
        self.run(Cmd::pttl(key)).await.unwrap()
    }
}
