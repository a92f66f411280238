//! A list that an attribute wrote into the program, or that a layer made and shares.

use std::ops::Deref;
use std::sync::Arc;

/// A list that costs nothing to hand on: requests of an attribute count no references.
#[derive(Debug, Clone)]
pub(crate) enum Listed<T: 'static> {
    /// Written in the program.
    Static(&'static [T]),
    /// Made while it runs.
    Shared(Arc<[T]>),
}

impl<T> Deref for Listed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Static(list) => list,
            Self::Shared(list) => list,
        }
    }
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self::Static(&[])
    }
}

impl<T: Clone> Listed<T> {
    /// Adds to the list; copies it when it is shared.
    pub(crate) fn add(&mut self, more: impl IntoIterator<Item = T>) {
        *self = Self::Shared(self.iter().cloned().chain(more).collect());
    }
}
