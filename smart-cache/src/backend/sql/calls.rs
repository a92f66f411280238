//! What each call asks of the database.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::driver::{Arg, Cell, Column};
use super::{
    AT_ONCE, DEADLOCKS, DELETED_AT_ONCE, PAGE, SqlStore, id_of, is_taken, millis, too_large, unhex,
    whole_number,
};
use crate::backend::{Counted, Expiry, NamePage, Ttl, ValueStore as _, matches_glob};
use crate::error::BackendError;

impl SqlStore {
    /// Which rows the names are: their hashes, each once.
    fn ids(names: &[String]) -> Vec<Vec<u8>> {
        let mut ids: Vec<_> = names.iter().map(|name| id_of(name)).collect();
        // One order for all, so that two processes do not wait for each other's rows.
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn args(&self, ids: &[Vec<u8>]) -> Vec<Arg> {
        std::iter::once(self.namespace())
            .chain(ids.iter().cloned().map(Arg::Bytes))
            .collect()
    }

    /// The arguments of a statement about one name.
    pub(super) fn one(&self, name: &str) -> Vec<Arg> {
        vec![self.namespace(), Arg::Bytes(id_of(name))]
    }

    pub(super) async fn read(&self, names: &[String]) -> Result<Vec<Option<Bytes>>, BackendError> {
        const COLUMNS: [Column; 2] = [Column::Bytes, Column::Bytes];
        let mut found: BTreeMap<Vec<u8>, Bytes> = BTreeMap::new();
        for ids in Self::ids(names).chunks(AT_ONCE) {
            let sql = self.dialect().read(ids.len());
            let rows = self.call(0, |opened| {
                let (sql, args) = (sql.clone(), self.args(ids));
                async move { opened.driver.fetch(sql, args, &COLUMNS).await }
            });
            for row in rows.await? {
                if let [Cell::Bytes(id), Cell::Bytes(value)] = row.as_slice() {
                    found.insert(id.clone(), Bytes::copy_from_slice(value));
                }
            }
        }
        Ok(names
            .iter()
            .map(|name| found.get(&id_of(name)).cloned())
            .collect())
    }

    pub(super) async fn write(
        &self,
        values: &[(String, Bytes)],
        expiry: Expiry,
    ) -> Result<Vec<usize>, BackendError> {
        let longest = self.longest_value().unwrap_or(u64::MAX);
        let mut refused = Vec::new();
        // Of a name that comes twice the last value counts; sorted for the locks' sake.
        let mut rows: BTreeMap<Vec<u8>, (&str, &Bytes)> = BTreeMap::new();
        for (at, (name, value)) in values.iter().enumerate() {
            if value.len() as u64 > longest {
                refused.push(at);
            } else {
                rows.insert(id_of(name), (name, value));
            }
        }
        if let ([(_, only)], [_]) = (values, refused.as_slice()) {
            return Err(too_large(only.len(), longest));
        }
        let rows: Vec<_> = rows.into_iter().collect();
        for rows in rows.chunks(AT_ONCE) {
            let sql = self.dialect().upsert(rows.len(), expiry.is_some());
            let bytes = rows.iter().map(|(_, (_, value))| value.len()).sum();
            let done = self.call(bytes, |opened| {
                let args = rows
                    .iter()
                    .flat_map(|(id, (name, value))| self.row(id, name, value, expiry))
                    .collect();
                let sql = sql.clone();
                async move { opened.driver.execute(sql, args).await }
            });
            done.await?;
        }
        self.purge_at_times();
        Ok(refused)
    }

    /// The arguments of one new row.
    fn row(&self, id: &[u8], name: &str, value: &[u8], expiry: Expiry) -> Vec<Arg> {
        let mut args = vec![
            self.namespace(),
            Arg::Bytes(id.to_vec()),
            Arg::Bytes(name.as_bytes().to_vec()),
            Arg::Bytes(value.to_vec()),
        ];
        args.extend(expiry.map(|after| Arg::Int(millis(after))));
        args
    }

    pub(super) async fn insert(
        &self,
        name: &str,
        value: &Bytes,
        expiry: Expiry,
    ) -> Result<bool, BackendError> {
        if let Some(longest) = self.longest_value()
            && value.len() as u64 > longest
        {
            return Err(too_large(value.len(), longest));
        }
        let dialect = self.dialect();
        let added = self.call(value.len(), |opened| {
            let args = self.row(&id_of(name), name, value, expiry);
            let expired = self.one(name);
            async move {
                let insert = dialect.insert(expiry.is_some());
                let inserted = opened.driver.execute(insert.clone(), args.clone()).await;
                match inserted {
                    Ok(done) => Ok(done.rows > 0),
                    // Only where the statement itself cannot replace what has expired.
                    Err(why) if is_taken(&why) => {
                        let gone = opened.driver.execute(dialect.delete_expired(1), expired);
                        if gone.await?.rows == 0 {
                            return Ok(false);
                        }
                        match opened.driver.execute(insert, args).await {
                            Ok(done) => Ok(done.rows > 0),
                            Err(why) if is_taken(&why) => Ok(false),
                            Err(why) => Err(why),
                        }
                    }
                    Err(why) => Err(why),
                }
            }
        });
        let added = added.await?;
        self.purge_at_times();
        Ok(added)
    }

    pub(super) async fn remove(&self, names: &[String]) -> Result<u64, BackendError> {
        let dialect = self.dialect();
        let mut removed = 0;
        for ids in Self::ids(names).chunks(AT_ONCE) {
            let gone = self.call(0, |opened| {
                let args = self.args(ids);
                async move {
                    if dialect.tells_what_it_deletes() {
                        let sql = dialect.delete(ids.len());
                        let rows = opened.driver.fetch(sql, args, &[Column::Int]).await?;
                        let lived = |row: &&Vec<Cell>| matches!(row[..], [Cell::Int(Some(1))]);
                        return Ok(rows.iter().filter(lived).count() as u64);
                    }
                    let expired = dialect.delete_expired(ids.len());
                    opened.driver.execute(expired, args.clone()).await?;
                    let done = opened
                        .driver
                        .execute(dialect.delete(ids.len()), args)
                        .await?;
                    Ok(done.rows)
                }
            });
            removed += gone.await?;
        }
        Ok(removed)
    }

    pub(super) async fn count(&self, name: &str, delta: i64) -> Result<Counted, BackendError> {
        let dialect = self.dialect();
        for _ in 0..DEADLOCKS {
            let counted = self.call(0, |opened| {
                let (mut args, deltas) = (Vec::new(), dialect.deltas_of_increment());
                args.push(Arg::Int(delta));
                args.extend(self.one(name));
                args.extend((1..deltas).map(|_| Arg::Int(delta)));
                async move {
                    let sql = dialect.increment();
                    if dialect.returns_what_it_writes() {
                        let rows = opened.driver.fetch(sql, args, &[Column::Bytes]).await?;
                        return Ok(rows.first().and_then(|row| whole_number(row.first()?)));
                    }
                    let done = opened.driver.execute(sql, args).await?;
                    Ok((done.rows > 0).then_some(done.id.cast_signed()))
                }
            });
            if let Some(now) = counted.await? {
                return Ok(Counted::Now(now));
            }
            // Nothing was changed: look why.
            let value = self.read(&[name.to_owned()]).await?.pop().flatten();
            let Some(value) = value else {
                return Ok(Counted::Missing);
            };
            match whole_number(&Cell::Bytes(value.to_vec())) {
                None => return Ok(Counted::NotAnInteger),
                Some(number) if number.checked_add(delta).is_none() => {
                    return Ok(Counted::Overflow);
                }
                // It has changed between the two looks.
                Some(_) => {}
            }
        }
        Err(BackendError::Refused(
            "the counter changes all the time".into(),
        ))
    }

    pub(super) async fn compare_and_set(
        &self,
        name: &str,
        old: &Bytes,
        new: Option<&Bytes>,
    ) -> Result<bool, BackendError> {
        let sql = self.dialect().exchange(new.is_some());
        let bytes = old.len() + new.map_or(0, Bytes::len);
        let done = self.call(bytes, |opened| {
            let mut args: Vec<_> = new
                .map(|new| Arg::Bytes(new.to_vec()))
                .into_iter()
                .collect();
            args.extend(self.one(name));
            args.push(Arg::Bytes(old.to_vec()));
            let sql = sql.clone();
            async move { opened.driver.execute(sql, args).await }
        });
        Ok(done.await?.rows > 0)
    }

    pub(super) async fn time_left(&self, name: &str) -> Result<Ttl, BackendError> {
        let sql = self.dialect().time_left();
        let rows = self.call(0, |opened| {
            let (sql, args) = (sql.clone(), self.one(name));
            async move { opened.driver.fetch(sql, args, &[Column::Int]).await }
        });
        Ok(match rows.await?.first().map(Vec::as_slice) {
            Some([Cell::Int(None)]) => Ttl::Never,
            Some([Cell::Int(Some(left))]) => {
                Ttl::After(Duration::from_millis(left.unsigned_abs().max(1)))
            }
            _ => Ttl::Missing,
        })
    }

    pub(super) async fn page(
        &self,
        glob: &str,
        from: Option<String>,
    ) -> Result<NamePage, BackendError> {
        const COLUMNS: [Column; 2] = [Column::Bytes, Column::Bytes];
        let from = from.map(|from| unhex(&from)).unwrap_or_default();
        let sql = self.dialect().page(PAGE);
        let rows = self.call(0, |opened| {
            let (sql, args) = (
                sql.clone(),
                vec![self.namespace(), Arg::Bytes(from.clone())],
            );
            async move { opened.driver.fetch(sql, args, &COLUMNS).await }
        });
        let rows = rows.await?;
        let mut page = NamePage::default();
        for row in &rows {
            if let [Cell::Bytes(id), Cell::Bytes(name)] = row.as_slice() {
                let name = String::from_utf8_lossy(name).into_owned();
                page.names
                    .extend(Some(name).filter(|name| matches_glob(glob, name)));
                page.next = Some(crate::protocol::hex(id));
            }
        }
        if rows.len() < PAGE as usize {
            page.next = None;
        }
        Ok(page)
    }

    pub(super) async fn empty(&self) -> Result<(), BackendError> {
        let sql = self.dialect().delete_some_of_namespace(DELETED_AT_ONCE);
        loop {
            let done = self.call(0, |opened| {
                let (sql, args) = (sql.clone(), vec![self.namespace()]);
                async move { opened.driver.execute(sql, args).await }
            });
            if done.await?.rows < DELETED_AT_ONCE.unsigned_abs() {
                return Ok(());
            }
        }
    }
}
