//! Ways to get it wrong, each of which the checker has to find.

/// One mistake, made by the server's scripts, by a process, or by the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// The namespace's token does not tell the server's incarnation, and nobody looks.
    NoIdentity,
    /// A token is a function of the request that mints it, so a replay brings it back.
    PureTokens,
    /// TICKET's `H` compares the first digest alone.
    OneDigest,
    /// STORE does not ask whether a tag that was found is younger than the ticket.
    UncheckedTags,
    /// A clock that is lost or far ahead of TIME is taken as it is.
    NoClockRule,
    /// SET after a miss, DEL after a write.
    SetDel,
    /// Tokens carry the build, as entries do.
    TokensOfBuilds,
    /// Tokens that one script mints together look alike.
    AlikeTokens,
    /// An expired token remembers the nonce of its last clear, but not the stamp.
    OriginIsNonce,
    /// What was expired is shown without a look at the third digest.
    NoOrigins,
    /// A request joins the flight of its entry before it has made a lookup of its own.
    EarlyJoin,
    /// A flight whose answer depends on found tags can be joined while it is being stored.
    OpenWhileStoring,
    /// The clear that was not acknowledged is forgotten.
    ForgottenClear,
    /// The tracking connection does not hear of what this process itself has changed.
    Noloop,
    /// The local tier takes its sample when the answer is there.
    LateSample,
    /// The local tier takes the sample of tags that were found when their answer is there.
    LateTagSample,
    /// A tracking connection that is back goes on with the samples of the one before.
    NoGeneration,
    /// The local tier is served for as long as its connection seems to live.
    NoHeartbeat,
    /// An UNHOLD looks at its own hold only, and TICKET at none.
    UnholdForgets,
    /// TICKET mints the key's token without a look at who holds the key.
    BlindToHolds,
    /// An entry that was made under a young token stays for ever.
    NoSettle,
    /// STORE does not ask for the lease, so it lands as often as it is delivered.
    NoLease,
}
