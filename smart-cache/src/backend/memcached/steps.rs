//! The commands of each step, on a connection and under a generation.

use async_memcached::{Client, Error, MetaProtocol as _, Status};
use bytes::Bytes;

use super::item::{self, Item};
use super::{ATTEMPTS, MemcachedStore, whole_number};
use crate::backend::{Counted, Expiry};

impl MemcachedStore {
    /// The items under these names, with the generation that they are of.
    pub(super) async fn items(
        &self,
        client: &mut Client,
        names: &[String],
    ) -> Result<Vec<Option<Item>>, Error> {
        let mut generation = match self.known() {
            Some(known) => known,
            None => self.generation(client).await?,
        };
        loop {
            let mut keys = vec![self.names.generation().to_owned()];
            keys.extend(names.iter().map(|name| self.names.item(&generation, name)));
            let mut wanted = keys.clone();
            wanted.sort_unstable();
            wanted.dedup();
            let found = client
                .meta_get_multi(&wanted, Some(&["v", "f", "c"]))
                .await?;
            let of_key = |key: &String| {
                found
                    .iter()
                    .find(|item| item.key.as_deref() == Some(key.as_bytes()))
            };
            let now = of_key(&keys[0]).and_then(|item| item.data.as_deref());
            if now == Some(generation.as_bytes()) {
                return Ok(keys[1..]
                    .iter()
                    .map(|key| Item::read(of_key(key)?))
                    .collect());
            }
            generation = self.generation(client).await?;
        }
    }

    async fn item(&self, client: &mut Client, key: &str) -> Result<Option<Item>, Error> {
        let found = client
            .meta_get(key, false, None, Some(&["v", "f", "c"]))
            .await?;
        Ok(found.as_ref().and_then(Item::read))
    }

    /// Replaces an item that nobody has changed since it was read; whether it did.
    async fn replace(
        &self,
        client: &mut Client,
        key: &str,
        cas: u64,
        value: &[u8],
        end: Option<u64>,
    ) -> Result<bool, Error> {
        let (bytes, mut flags) = item::written(value, end);
        flags.push(format!("C{cas}"));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        match client
            .meta_set(key, &bytes[..], false, None, Some(&flags))
            .await
        {
            Ok(_) => Ok(true),
            Err(Error::Protocol(Status::Exists | Status::NotFound | Status::NotStored)) => {
                Ok(false)
            }
            Err(why) => Err(why),
        }
    }

    pub(super) async fn set(
        &self,
        client: &mut Client,
        generation: &str,
        values: &[&(String, Bytes)],
        end: Option<u64>,
    ) -> Result<(), Error> {
        let mut items = Vec::with_capacity(values.len());
        for (name, value) in values {
            items.push((self.names.item(generation, name), item::written(value, end)));
        }
        let Some((_, (_, flags))) = items.first() else {
            return Ok(());
        };
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let pairs: Vec<(&str, &[u8])> = items
            .iter()
            .map(|(key, (bytes, _))| (key.as_str(), &bytes[..]))
            .collect();
        client.meta_set_multi(&pairs, Some(&flags)).await.map(drop)
    }

    pub(super) async fn insert(
        &self,
        client: &mut Client,
        generation: &str,
        name: &str,
        value: &[u8],
        end: Option<u64>,
    ) -> Result<bool, Error> {
        let key = self.names.item(generation, name);
        let (bytes, mut flags) = item::written(value, end);
        flags.push("ME".to_owned());
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        match client
            .meta_set(&key, &bytes[..], false, None, Some(&flags))
            .await
        {
            Ok(_) => return Ok(true),
            Err(Error::Protocol(Status::NotStored)) => {}
            Err(why) => return Err(why),
        }
        // Memcached keeps what has expired for a second or two.
        match self.item(client, &key).await? {
            Some(there) if !there.lives() => {
                self.replace(client, &key, there.cas, value, end).await
            }
            _ => Ok(false),
        }
    }

    pub(super) async fn prolong(
        &self,
        client: &mut Client,
        generation: &str,
        name: &str,
        expiry: Expiry,
    ) -> Result<bool, Error> {
        let key = self.names.item(generation, name);
        for _ in 0..ATTEMPTS {
            let found = self.item(client, &key).await?;
            let Some(there) = found.filter(Item::lives) else {
                return Ok(false);
            };
            let end = expiry.map(item::end_of);
            if self
                .replace(client, &key, there.cas, &there.value, end)
                .await?
            {
                return Ok(true);
            }
        }
        Err(Error::Protocol(Status::Exists))
    }

    pub(super) async fn count(
        &self,
        client: &mut Client,
        generation: &str,
        name: &str,
        delta: i64,
    ) -> Result<Counted, Error> {
        let key = self.names.item(generation, name);
        for _ in 0..ATTEMPTS {
            let found = self.item(client, &key).await?;
            let Some(there) = found.filter(Item::lives) else {
                return Ok(Counted::Missing);
            };
            let Some(number) = whole_number(&there.value) else {
                return Ok(Counted::NotAnInteger);
            };
            let Some(sum) = number.checked_add(delta) else {
                return Ok(Counted::Overflow);
            };
            let value = sum.to_string();
            if self
                .replace(client, &key, there.cas, value.as_bytes(), there.end)
                .await?
            {
                return Ok(Counted::Now(sum));
            }
        }
        Err(Error::Protocol(Status::Exists))
    }

    pub(super) async fn exchange_item(
        &self,
        client: &mut Client,
        generation: &str,
        name: &str,
        old: &[u8],
        new: Option<&[u8]>,
    ) -> Result<bool, Error> {
        let key = self.names.item(generation, name);
        let found = self.item(client, &key).await?;
        let Some(there) = found.filter(|there| there.lives() && there.value[..] == *old) else {
            return Ok(false);
        };
        // Whoever has changed it since was faster, and it is not the same any more.
        let Some(new) = new else {
            let unchanged = format!("C{}", there.cas);
            return match client
                .meta_delete(&key, false, None, Some(&[&unchanged]))
                .await
            {
                Ok(_) => Ok(true),
                Err(Error::Protocol(Status::Exists | Status::NotFound)) => Ok(false),
                Err(why) => Err(why),
            };
        };
        self.replace(client, &key, there.cas, new, there.end).await
    }

    pub(super) async fn remove(
        &self,
        client: &mut Client,
        generation: &str,
        names: &[String],
    ) -> Result<u64, Error> {
        let found = self.items(client, names).await?;
        let mut removed = 0;
        for (name, found) in names.iter().zip(found) {
            let key = self.names.item(generation, name);
            match client.meta_delete(&key, false, None, None).await {
                Ok(_) => removed += u64::from(found.is_some_and(|there| there.lives())),
                Err(Error::Protocol(Status::NotFound)) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(removed)
    }

    pub(super) async fn move_item(
        &self,
        client: &mut Client,
        generation: &str,
        from: &str,
        to: &str,
    ) -> Result<bool, Error> {
        let old = self.names.item(generation, from);
        let new = self.names.item(generation, to);
        for _ in 0..ATTEMPTS {
            let found = self.item(client, &old).await?;
            let Some(there) = found.filter(Item::lives) else {
                return Ok(false);
            };
            if from == to {
                return Ok(true);
            }
            let (bytes, flags) = item::written(&there.value, there.end);
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            client
                .meta_set(&new, &bytes[..], false, None, Some(&flags))
                .await?;
            let unchanged = format!("C{}", there.cas);
            match client
                .meta_delete(&old, false, None, Some(&[&unchanged]))
                .await
            {
                Ok(_) => return Ok(true),
                // It was changed meanwhile: what was moved is not the latest.
                Err(Error::Protocol(Status::Exists | Status::NotFound)) => {}
                Err(why) => return Err(why),
            }
        }
        Err(Error::Protocol(Status::Exists))
    }
}
