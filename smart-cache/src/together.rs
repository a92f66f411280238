//! One question for all who ask the same at the same moment.
//!
//! A caller joins the question that is open, and the first of them has it sent as soon as the
//! others that are ready have had their turn. It is sent after all of them had arrived, so none is
//! told anything from before its arrival: a promise that holds for a question asked alone holds
//! for one that is shared.
//!
//! The question outlives its callers: one that is cancelled takes nothing from the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

type Open<K, T> = HashMap<(Id, K), Arc<Question<T>>>;

/// The questions that callers can join.
#[derive(Debug)]
pub(crate) struct Together<K, T> {
    /// By runtime too: another one may stand still.
    open: Mutex<Open<K, T>>,
}

#[derive(Debug)]
struct Question<T> {
    /// `None`: nobody will answer any more.
    answer: OnceLock<Option<T>>,
    landed: Notify,
}

impl<K, T> Default for Together<K, T> {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
        }
    }
}

impl<K, T> Together<K, T> {
    fn open(&self) -> MutexGuard<'_, Open<K, T>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T> Together<K, T>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// The answer to one question; `None` when the runtime ended before there was one. Only the
    /// first caller's `send` is called.
    pub(crate) async fn ask<F>(
        self: &Arc<Self>,
        key: K,
        send: impl FnOnce() -> F + Send + 'static,
    ) -> Option<T>
    where
        F: Future<Output = T> + Send,
    {
        let key = (Handle::current().id(), key);
        let (question, is_first) = {
            let mut open = self.open();
            match open.get(&key) {
                Some(question) => (Arc::clone(question), false),
                None => {
                    let question = Arc::new(Question {
                        answer: OnceLock::new(),
                        landed: Notify::new(),
                    });
                    open.insert(key.clone(), Arc::clone(&question));
                    (question, true)
                }
            }
        };
        if is_first {
            let sending = Sending {
                together: Arc::clone(self),
                key,
                question: Arc::clone(&question),
            };
            tokio::spawn(async move {
                // The other callers that are ready join first.
                tokio::task::yield_now().await;
                sending.close();
                sending.land(Some(send().await));
            });
        }
        // Made before the look, so that a landing in between is not missed.
        let landed = question.landed.notified();
        if question.answer.get().is_none() {
            landed.await;
        }
        question.answer.get().cloned().flatten()
    }
}

/// Lands its question, whatever becomes of the task that sends it.
struct Sending<K: Eq + Hash, T> {
    together: Arc<Together<K, T>>,
    key: (Id, K),
    question: Arc<Question<T>>,
}

impl<K: Eq + Hash, T> Sending<K, T> {
    /// Lets nobody join any more.
    fn close(&self) {
        let mut open = self.together.open();
        if open
            .get(&self.key)
            .is_some_and(|question| Arc::ptr_eq(question, &self.question))
        {
            open.remove(&self.key);
        }
    }

    fn land(&self, answer: Option<T>) {
        // Only the first landing counts; the guard's own is for a runtime that ended.
        let _ = self.question.answer.set(answer);
        self.question.landed.notify_waiters();
    }
}

impl<K: Eq + Hash, T> Drop for Sending<K, T> {
    fn drop(&mut self) {
        self.close();
        self.land(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    async fn ask(together: &Arc<Together<u8, usize>>, key: u8, sent: &Arc<AtomicUsize>) -> usize {
        let sent = Arc::clone(sent);
        let answer = together.ask(
            key,
            || async move { sent.fetch_add(1, Ordering::SeqCst) + 1 },
        );
        answer.await.unwrap()
    }

    #[tokio::test]
    async fn those_who_ask_the_same_at_one_moment_ask_once() {
        let (together, sent) = (Arc::default(), Arc::default());
        let answers = tokio::join!(
            ask(&together, 1, &sent),
            ask(&together, 1, &sent),
            ask(&together, 2, &sent),
        );
        assert_eq!(answers.0, answers.1);
        assert_ne!(answers.0, answers.2);
        assert_eq!(sent.load(Ordering::SeqCst), 2);
        assert!(together.open().is_empty());
    }

    #[tokio::test]
    async fn nobody_joins_a_question_that_is_sent() {
        let together = Arc::<Together<(), u8>>::default();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let first = tokio::spawn({
            let together = Arc::clone(&together);
            async move {
                let send = || async move {
                    begun.send(()).unwrap();
                    gone.await.unwrap();
                    1
                };
                together.ask((), send).await
            }
        });
        has_begun.await.unwrap();
        assert_eq!(together.ask((), || async { 2 }).await, Some(2));
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn a_cancelled_caller_takes_nothing_from_the_others() {
        let (together, sent) = (Arc::default(), Arc::default());
        let mut first = Box::pin(ask(&together, 1, &sent));
        let mut second = Box::pin(ask(&together, 1, &sent));
        std::future::poll_fn(|context| {
            assert!(first.as_mut().poll(context).is_pending());
            assert!(second.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(first);
        assert_eq!(second.await, 1);
        assert_eq!(sent.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_runtime_that_ends_leaves_nobody_waiting() {
        let together = Arc::<Together<(), u8>>::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let asking = Arc::clone(&together);
        runtime.spawn(async move { asking.ask((), std::future::pending::<u8>).await });
        runtime.block_on(tokio::task::yield_now());
        drop(runtime);
        assert!(together.open().is_empty());
    }
}
