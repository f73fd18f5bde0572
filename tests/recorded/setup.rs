//! One set-up of a session library, as data.

/// How an app process holds its connections; each set-up runs as two processes.
#[derive(Clone, Copy, Debug)]
pub enum Connections {
    /// So many, each for all users: what two users' requests send at the same time is one packet.
    Shared(usize),
    /// A pool of so many: each turn is taken by the next one.
    Pool(usize),
    /// A new one for each web request.
    PerRequest,
}

/// What the values hold.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// JSON in UTF-8.
    Text,
    /// Pickle, MessagePack, Marshal, gob: any bytes, CR LF and NUL among them.
    Binary,
}

/// What is sent after `-NOSCRIPT`.
#[derive(Clone, Copy, Debug)]
pub enum Unscripted {
    /// `EVAL body …`
    Eval,
    /// `SCRIPT LOAD body`, then EVALSHA again.
    Load,
}

/// What a library was recorded to send; the texts are in the notation of [`super::notation`].
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Library and client.
    pub name: &'static str,
    /// How its connections begin; where several forms were seen, connections take them in turn.
    pub opening: &'static [&'static str],
    /// How it holds connections.
    pub connections: Connections,
    /// `k`, with `<id>` in the place of the session's id.
    pub key: &'static str,
    /// What it stores.
    pub values: Values,
    /// Whether a value that is saved again differs by a time stamp.
    pub stamped: bool,
    /// Whether command names are sent in lower case.
    pub lower: bool,
    /// What it does when a script is unknown.
    pub unscripted: Unscripted,
    /// Steps with a name.
    pub short: &'static [(&'static str, &'static str)],
    /// What precedes each step on its connection.
    pub before: &'static str,
    /// A new session; the browser came with an id that is not known.
    pub log_in: &'static str,
    /// A page that only looks at the session.
    pub read: &'static str,
    /// A page that changes it.
    pub update: &'static str,
    /// The session gets another id; empty: the library has no such call.
    pub change_id: &'static str,
    /// The end of the session.
    pub log_out: &'static str,
    /// Lists, counts, dead cookies, locks.
    pub others: &'static str,
    /// The end of all sessions.
    pub clear: &'static str,
    /// Whether QUIT is sent at the end of the process.
    pub quits: bool,
}

/// The most usual of everything.
pub const USUAL: Setup = Setup {
    name: "",
    opening: &[],
    connections: Connections::Pool(3),
    key: "session:<id>",
    values: Values::Text,
    stamped: false,
    lower: false,
    unscripted: Unscripted::Load,
    short: &[],
    before: "",
    log_in: "DEL old; SET k v EX s",
    read: "GET k; SET k v EX s",
    update: "GET k; SET k v EX s",
    change_id: "GET old; DEL old; SET k v EX s",
    log_out: "GET k; DEL k",
    others: "",
    clear: "",
    quits: false,
};
