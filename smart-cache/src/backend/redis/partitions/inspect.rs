//! What operators see of a namespace in partitions: pages that go from one to the next, and sums.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::PartitionedBackend;
use crate::backend::{BoxFuture, is_glob};
use crate::entry::EntryId;
use crate::error::BackendError;
use crate::inspect::{EntryPage, EntryView, Facts, Inspect, KeyLine, KeyPage, TokenState};

/// A place in a walk over partitions: a number, and the place there.
pub(super) fn place_of(from: &str, count: usize) -> Result<(usize, Option<&str>), BackendError> {
    let (number, rest) = from.split_once('/').unwrap_or((from, ""));
    match number.parse() {
        Ok(number) if number < count => Ok((number, (!rest.is_empty()).then_some(rest))),
        _ => Err(BackendError::Protocol(
            format!("{from:?} is no place in this walk: begin it anew").into(),
        )),
    }
}

/// Where a walk goes on: there, or at the beginning of the next partition.
pub(super) fn next_place(number: usize, next: Option<String>, count: usize) -> Option<String> {
    match next {
        Some(next) => Some(format!("{number}/{next}")),
        None if number + 1 < count => Some(format!("{}/", number + 1)),
        None => None,
    }
}

impl PartitionedBackend {
    /// The same keys as all partitions see them. A key is listed by the first partition that has entries
    /// of it.
    async fn summed(
        &self,
        lines: Vec<KeyLine>,
        found_in: Option<usize>,
    ) -> Result<Vec<KeyLine>, BackendError> {
        let names: Vec<(String, String)> = lines
            .iter()
            .map(|line| {
                let name = crate::protocol::token_name(&line.key).into_owned();
                (line.version.clone(), name)
            })
            .collect();
        let asked = self.parts.backends().map(|part| async {
            let (up, _) = part.up().await?;
            part.key_lines(&up, names.clone()).await
        });
        let mut sums: HashMap<(String, String), (usize, KeyLine)> = HashMap::new();
        for (number, lines) in try_join_all(asked).await?.into_iter().enumerate() {
            for line in lines {
                let id = (line.version.clone(), line.key.clone());
                let (_, sum) = sums.entry(id).or_insert_with(|| {
                    let nothing = KeyLine {
                        entries: 0,
                        token: TokenState::Missing,
                        ..line.clone()
                    };
                    (number, nothing)
                });
                sum.entries += line.entries;
                // Held in one is held in all; valid in one has something that is served.
                sum.token = match (sum.token, line.token) {
                    (TokenState::Held, _) | (_, TokenState::Held) => TokenState::Held,
                    (TokenState::Valid, _) | (_, TokenState::Valid) => TokenState::Valid,
                    _ => TokenState::Missing,
                };
            }
        }
        let sums = sums.into_values();
        Ok(sums
            .filter(|(first, _)| found_in.is_none_or(|number| *first == number))
            .map(|(_, line)| line)
            .collect())
    }
}

impl Inspect for PartitionedBackend {
    fn keys<'a>(
        &'a self,
        glob: &'a str,
        from: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<KeyPage, BackendError>> {
        Box::pin(async move {
            let count = self.parts.all.len();
            if from.is_none() && !is_glob(glob) {
                let asked = self
                    .parts
                    .backends()
                    .map(|part| part.keys(glob, None, most));
                let pages = try_join_all(asked).await?;
                let mut lines: Vec<KeyLine> = Vec::new();
                for line in pages.into_iter().flat_map(|page| page.keys) {
                    let is_known = |known: &KeyLine| known.version == line.version;
                    if !lines.iter().any(is_known) {
                        lines.push(line);
                    }
                }
                let keys = self.summed(lines, None).await?;
                return Ok(KeyPage {
                    looked_at: keys.len() as u64,
                    keys,
                    ..KeyPage::default()
                });
            }
            let (number, inner) = match from {
                None => (0, None),
                Some(from) => place_of(from, count)?,
            };
            let page = self.parts.all[number]
                .backend
                .keys(glob, inner, most)
                .await?;
            Ok(KeyPage {
                keys: self.summed(page.keys, Some(number)).await?,
                next: next_place(number, page.next, count),
                looked_at: page.looked_at,
                names: page.names.map(|names| names.saturating_mul(count as u64)),
            })
        })
    }

    fn entries<'a>(
        &'a self,
        key: &'a str,
        from: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<EntryPage, BackendError>> {
        Box::pin(async move {
            let count = self.parts.all.len();
            let (mut number, mut inner) = match from {
                None => (0, None),
                Some(from) => place_of(from, count)?,
            };
            loop {
                let page = self.parts.all[number]
                    .backend
                    .entries(key, inner, most)
                    .await?;
                let next = next_place(number, page.next, count);
                // A partition without any is passed over.
                match &next {
                    Some(next) if page.entries.is_empty() => {
                        let (at, _) = place_of(next, count)?;
                        if at > number {
                            (number, inner) = (at, None);
                            continue;
                        }
                    }
                    _ => {}
                }
                return Ok(EntryPage {
                    entries: page.entries,
                    next,
                });
            }
        })
    }

    fn entry<'a>(
        &'a self,
        version: &'a str,
        id: EntryId,
    ) -> BoxFuture<'a, Result<Option<EntryView>, BackendError>> {
        Box::pin(async move {
            // Where most are; what was computed for a value goes by another hash.
            let likely = self.parts.number(id.as_bytes());
            if let Some(view) = self.parts.all[likely].backend.entry(version, id).await? {
                return Ok(Some(view));
            }
            let asked = self.parts.backends().map(|part| part.entry(version, id));
            Ok(try_join_all(asked).await?.into_iter().flatten().next())
        })
    }

    fn version(&self) -> &str {
        self.parts.first().version()
    }

    /// Of the first partition's server, with what is true of all of them.
    fn facts(&self) -> BoxFuture<'_, Result<Facts, BackendError>> {
        self.parts.first().facts()
    }

    fn report<'a>(
        &'a self,
        process: &'a str,
        report: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        self.parts.first().report(process, report)
    }

    fn reports(&self) -> BoxFuture<'_, Result<Vec<Bytes>, BackendError>> {
        self.parts.first().reports()
    }

    fn note(&self, notes: Vec<Vec<u8>>) -> BoxFuture<'_, Result<(), BackendError>> {
        self.parts.first().note(notes)
    }

    fn notes(&self) -> BoxFuture<'_, Result<Vec<Bytes>, BackendError>> {
        self.parts.first().notes()
    }
}
