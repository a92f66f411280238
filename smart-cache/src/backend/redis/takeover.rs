//! What is said to a server before anything is looked up there.

use std::sync::Arc;

use redis::Value;

use super::lately::Owed;
use super::reply::{belongs_to, nonce};
use super::up::Up;
use super::{Shared, asking, scripts};
use crate::config::Address;
use crate::error::BackendError;

/// Tells a server that has taken over what was cleared just before, and in a cluster ends the life of the
/// namespace that another node has left there.
pub(super) async fn greet(shared: Arc<Shared>, up: Arc<Up>) -> Result<(), BackendError> {
    let id = up.id();
    let owed = match shared.lately.owed_to(&id) {
        Owed::Nothing => Vec::new(),
        Owed::Keys(keys) => keys.iter().map(|key| shared.names.token(key)).collect(),
        Owed::Everything => vec![shared.names.namespace_token()],
    };
    if !owed.is_empty() {
        tracing::info!(server = %up.info().addr(), clears = owed.len(), "another server: what was cleared lately is cleared there too");
        let mut del = redis::cmd("DEL");
        del.arg(&owed);
        asking::each(&shared, &up, &del, up.deadline()).await?;
    }
    shared.lately.paid_to(&id);
    if matches!(shared.address, Address::Cluster(_)) {
        end_former_life(&shared, &up, &id).await?;
    }
    Ok(())
}

/// A slot that comes back to a node must find its life ended, also when nobody has asked for anything in
/// between: a token that a migration has left on two nodes would count again.
async fn end_former_life(shared: &Shared, up: &Up, id: &str) -> Result<(), BackendError> {
    let mut get = redis::cmd("GET");
    get.arg(shared.names.namespace_token());
    let token = match up.call(&get, up.deadline()).await {
        Ok(Value::BulkString(token)) if !belongs_to(&token, id) => token,
        // Nothing, or our own; or on its way to another node, where it will be somebody else's.
        Ok(_) | Err(BackendError::Refused(_)) => return Ok(()),
        Err(why) => return Err(why),
    };
    let mut call = scripts::ADOPT.prepare_invoke();
    call.key(shared.names.namespace_token())
        .key(shared.names.clock())
        .arg(&token[..])
        .arg(id)
        .arg(nonce()?.as_bytes());
    match up.script(&call, up.deadline()).await {
        // A full server does not mint; whoever asks for an entry finds the foreign token as it is.
        Ok(_) | Err(BackendError::Refused(_)) => Ok(()),
        Err(why) => Err(why),
    }
}
