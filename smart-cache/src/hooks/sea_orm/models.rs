//! What the hooks of a model do: the keys of its row, before and after the write.

use ::sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, Iterable,
    ModelTrait, PrimaryKeyToColumn, QueryFilter, QuerySelect,
};

use super::held::{LONGEST_STATEMENT, Row};
use crate::hooks::CacheKeys;
use crate::protocol::open;
use crate::protocol::scope::current_cache;

/// For `ActiveModelBehavior::before_save`: reads the row that an update is about to change, so
/// that moving it from one group to another clears both; also by `update_without_returning`, after
/// which no hook is called.
///
/// One query by primary key; inside a transaction it locks the row, where the database can.
/// Nothing happens for an insert.
///
/// # Errors
/// That of the query.
pub async fn before_save<A, C>(model: &A, db: &C, insert: bool) -> Result<(), DbErr>
where
    A: ActiveModelTrait,
    <A::Entity as EntityTrait>::Model: CacheKeys,
    C: ConnectionTrait,
{
    if insert {
        return Ok(());
    }
    gather(model, db, planned).await
}

/// For `ActiveModelBehavior::after_save`: clears the keys of the row as it was and as it is, after
/// the commit of the transaction that the running task has open, at once when it has none.
///
/// A clear that fails is logged and repeated: the row has been written all the same.
pub async fn after_save<M, C>(model: &M, _: &C)
where
    M: ModelTrait + CacheKeys,
    C: ConnectionTrait,
{
    let row = Row::new::<M::Entity>(&model.get_primary_key_value());
    clear::<C>(row, model.cache_keys()).await;
}

/// For `ActiveModelBehavior::before_delete`: reads the row that is about to go, since an active
/// model may hold no more than its primary key.
///
/// # Errors
/// That of the query.
pub async fn before_delete<A, C>(model: &A, db: &C) -> Result<(), DbErr>
where
    A: ActiveModelTrait,
    <A::Entity as EntityTrait>::Model: CacheKeys,
    C: ConnectionTrait,
{
    gather(model, db, |_, _| Vec::new()).await
}

/// For `ActiveModelBehavior::after_delete`: clears the keys of the row that is gone, as
/// [`after_save`] does.
pub async fn after_delete<A, C>(model: &A, _: &C)
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
{
    if let Some(primary_key) = model.get_primary_key_value() {
        clear::<C>(Row::new::<A::Entity>(&primary_key), Vec::new()).await;
    }
}

/// Whether statements on this are their own commit. SeaORM's hooks are generic over what they run
/// on, and its trait does not tell; the name of the type does. A wrapper of somebody else's counts
/// as a transaction, which is right as long as one is open.
pub(super) fn is_connection<C: ?Sized>() -> bool {
    std::any::type_name::<C>().ends_with("::DatabaseConnection")
}

/// The keys that the row will have when the update has set what it sets.
fn planned<A: ActiveModelTrait>(model: &A, old: &<A::Entity as EntityTrait>::Model) -> Vec<String>
where
    <A::Entity as EntityTrait>::Model: CacheKeys,
{
    let mut new = old.clone();
    for column in <A::Entity as EntityTrait>::Column::iter() {
        if let ActiveValue::Set(value) = model.get(column) {
            // A value of another type is refused by the statement itself.
            let _ = new.try_set(column, value);
        }
    }
    new.cache_keys()
}

/// Reads the row that is there, and gathers its keys and those that `more` makes of it.
async fn gather<A, C>(
    model: &A,
    db: &C,
    more: fn(&A, &<A::Entity as EntityTrait>::Model) -> Vec<String>,
) -> Result<(), DbErr>
where
    A: ActiveModelTrait,
    <A::Entity as EntityTrait>::Model: CacheKeys,
    C: ConnectionTrait,
{
    // Without a primary key the statement itself is refused.
    let Some(primary_key) = model.get_primary_key_value() else {
        return Ok(());
    };
    let mut query = A::Entity::find();
    for key in <A::Entity as EntityTrait>::PrimaryKey::iter() {
        let column = key.into_column();
        if let Some(value) = model.get(column).into_value() {
            query = query.filter(column.eq(value));
        }
    }
    let alone = is_connection::<C>();
    if !alone {
        // Between this and the write nobody may move the row once more.
        query = query.lock_exclusive();
    }
    let Some(old) = query.one(db).await? else {
        return Ok(());
    };
    let mut keys = old.cache_keys();
    keys.extend(more(model, &old));
    let keys = if alone { Err(keys) } else { open::add(keys) };
    if let Err(keys) = keys {
        Row::new::<A::Entity>(&primary_key).hold(current_cache(), keys, LONGEST_STATEMENT);
    }
    Ok(())
}

async fn clear<C: ConnectionTrait>(row: Row, new: Vec<String>) {
    let mut keys = row.take();
    keys.extend(new);
    keys.retain(|key| !key.is_empty());
    if keys.is_empty() {
        return;
    }
    if !is_connection::<C>() {
        match open::add(keys) {
            Ok(()) => return,
            Err(back) => keys = back,
        }
        tracing::warn!(
            ?keys,
            "a model was written in a transaction that clears nothing, so its clear comes before the commit. Begin it by smart_cache::hooks::sea_orm::begin"
        );
    }
    let cache = crate::start::or_default(current_cache()).await;
    // A failure is logged where it is remembered; the row has been written all the same.
    let _ = cache.clear_now(keys).await;
}
