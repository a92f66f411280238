#![doc = include_str!("../../../docs/sea_orm.md")]

mod held;
mod models;

use std::ops::Deref;

use ::sea_orm::{DatabaseTransaction, DbErr, TransactionError, TransactionTrait};

use super::Committed;
use super::level::Level;
use crate::cache::SmartCache;
use crate::key::IntoKeys;

pub use models::{after_delete, after_save, before_delete, before_save};

/// A connection, or a transaction, on which one can be begun.
///
/// It is implemented for all of SeaORM's that begin a [`DatabaseTransaction`].
pub trait Begin: TransactionTrait<Transaction = DatabaseTransaction> {}

impl<D: TransactionTrait<Transaction = DatabaseTransaction> + ?Sized> Begin for D {}

/// Begins a transaction whose clears go to the cache of the annotated handler that is running,
/// else to the default one. On a transaction it opens a savepoint.
///
/// # Errors
/// As SeaORM's `begin`.
pub async fn begin<D: Begin>(db: &D) -> Result<Transaction, DbErr> {
    begin_in(db, None).await
}

/// Begins a transaction whose clears go to this cache.
///
/// # Errors
/// As SeaORM's `begin`.
pub async fn begin_for<D: Begin>(cache: &SmartCache, db: &D) -> Result<Transaction, DbErr> {
    begin_in(db, Some(cache)).await
}

async fn begin_in<D: Begin>(db: &D, cache: Option<&SmartCache>) -> Result<Transaction, DbErr> {
    let inner = db.begin().await?;
    let level = if models::is_connection::<D>() {
        Level::begin(cache)
    } else {
        Level::inside(cache)
    };
    Ok(Transaction { inner, level })
}

/// Runs a function in a transaction: commits and then clears when it returns `Ok`, rolls back and
/// clears nothing when it returns `Err`.
///
/// # Errors
/// `TransactionError::Transaction` is what the function returned, `Connection` what SeaORM's
/// `begin`, `commit` and `rollback` return.
///
/// # Example
/// ```
/// use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, TransactionError};
/// use smart_cache::hooks::sea_orm::transaction;
///
/// # async fn example(db: DatabaseConnection) -> Result<(), TransactionError<DbErr>> {
/// transaction(&db, async |tx| {
///     tx.execute_unprepared("UPDATE products SET price = 1 WHERE id = 7").await?;
///     tx.clear("product:7"); // what the hooks of models do by themselves
///     Ok(())
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
pub async fn transaction<D, T, E, F>(db: &D, work: F) -> Result<Committed<T>, TransactionError<E>>
where
    D: Begin,
    F: AsyncFnOnce(&Transaction) -> Result<T, E>,
{
    let tx = begin(db).await.map_err(TransactionError::Connection)?;
    match work(&tx).await {
        Ok(value) => {
            let Committed { cleared, .. } =
                tx.commit().await.map_err(TransactionError::Connection)?;
            Ok(Committed { value, cleared })
        }
        Err(why) => {
            tx.rollback().await.map_err(TransactionError::Connection)?;
            Err(TransactionError::Transaction(why))
        }
    }
}

/// A transaction of SeaORM, or a savepoint in one, that clears after its commit. It derefs to
/// SeaORM's own: `product.update(&*tx)`.
///
/// Dropping it rolls back, and clears nothing.
#[derive(Debug)]
#[must_use = "dropping it rolls back"]
pub struct Transaction {
    inner: DatabaseTransaction,
    level: Level,
}

impl Transaction {
    /// Adds keys and tags that are to be cleared after the commit. Costs nothing until then.
    pub fn clear(&self, keys: impl IntoKeys) {
        self.level.add(keys);
    }

    /// Opens a savepoint: its commit clears nothing yet, its rollback forgets its own keys alone.
    ///
    /// # Errors
    /// As SeaORM's `begin`.
    pub async fn begin(&self) -> Result<Self, DbErr> {
        let inner = self.inner.begin().await?;
        let level = self.level.savepoint();
        Ok(Self { inner, level })
    }

    /// Commits, then clears what was gathered: one clear, however many keys. It clears also when
    /// the commit's outcome is unknown: it failed, or this future was dropped.
    ///
    /// # Errors
    /// As SeaORM's `commit`. A clear that was not acknowledged is no error of the commit: see
    /// [`Committed::cleared`].
    pub async fn commit(self) -> Result<Committed, DbErr> {
        self.level.commit(self.inner.commit()).await
    }

    /// Rolls back; what was gathered since this level began is forgotten.
    ///
    /// # Errors
    /// As SeaORM's `rollback`.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.inner.rollback().await
    }
}

impl Deref for Transaction {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.inner
    }
}

/// Implements `ActiveModelBehavior`: saving and deleting such a model clears the keys of its row,
/// as it was and as it has become, after the commit. The model derives
/// [`CacheKeys`](trait@crate::hooks::CacheKeys).
///
/// An entity with hooks of its own calls [`before_save`](crate::hooks::sea_orm::before_save),
/// [`after_save`](crate::hooks::sea_orm::after_save),
/// [`before_delete`](crate::hooks::sea_orm::before_delete) and
/// [`after_delete`](crate::hooks::sea_orm::after_delete) in them instead.
///
/// # Example
/// See [`hooks::sea_orm`](crate::hooks::sea_orm).
#[macro_export]
macro_rules! sea_orm_hooks {
    ($model:ty) => {
        #[$crate::hooks::sea_orm::sea_orm::entity::prelude::async_trait::async_trait]
        impl $crate::hooks::sea_orm::sea_orm::ActiveModelBehavior for $model {
            async fn before_save<C>(
                self,
                db: &C,
                insert: bool,
            ) -> ::std::result::Result<Self, $crate::hooks::sea_orm::sea_orm::DbErr>
            where
                C: $crate::hooks::sea_orm::sea_orm::ConnectionTrait,
            {
                $crate::hooks::sea_orm::before_save(&self, db, insert).await?;
                ::std::result::Result::Ok(self)
            }

            async fn after_save<C>(
                model: <Self::Entity as $crate::hooks::sea_orm::sea_orm::EntityTrait>::Model,
                db: &C,
                _insert: bool,
            ) -> ::std::result::Result<
                <Self::Entity as $crate::hooks::sea_orm::sea_orm::EntityTrait>::Model,
                $crate::hooks::sea_orm::sea_orm::DbErr,
            >
            where
                C: $crate::hooks::sea_orm::sea_orm::ConnectionTrait,
            {
                $crate::hooks::sea_orm::after_save(&model, db).await;
                ::std::result::Result::Ok(model)
            }

            async fn before_delete<C>(
                self,
                db: &C,
            ) -> ::std::result::Result<Self, $crate::hooks::sea_orm::sea_orm::DbErr>
            where
                C: $crate::hooks::sea_orm::sea_orm::ConnectionTrait,
            {
                $crate::hooks::sea_orm::before_delete(&self, db).await?;
                ::std::result::Result::Ok(self)
            }

            async fn after_delete<C>(
                self,
                db: &C,
            ) -> ::std::result::Result<Self, $crate::hooks::sea_orm::sea_orm::DbErr>
            where
                C: $crate::hooks::sea_orm::sea_orm::ConnectionTrait,
            {
                $crate::hooks::sea_orm::after_delete(&self, db).await;
                ::std::result::Result::Ok(self)
            }
        }
    };
}

#[doc(hidden)]
pub use ::sea_orm;
