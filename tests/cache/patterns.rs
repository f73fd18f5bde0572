//! What session libraries send for a web request that only looks at its session, as it was recorded of them.

use crate::harness::{Client, Value, encode, escape, parse};

/// Seconds.
const TTL: &str = "1800";
/// How phpredis releases its lock.
pub const RELEASE: &str = "if redis.call(\"get\",KEYS[1]) == ARGV[1] then return redis.call(\"del\",KEYS[1]) else return 0 end";

/// What a library sends for a web request that only looks at its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// connect-redis, pyramid, Symfony, actix-session.
    GetExpire,
    /// The same in one packet.
    GetExpirePiped,
    /// Laravel, predis, Flask-Session, redis-rack: the same bytes again.
    GetSetexSame,
    /// @fastify/session, koa-session, Rails: a time stamp inside.
    GetSetChanged,
    /// phpredis with `locking_enabled`.
    Locked,
    /// axum_session.
    Transaction,
    /// Spring Session.
    Hash,
}

impl Pattern {
    pub const ALL: [Self; 7] = [
        Self::GetExpire,
        Self::GetExpirePiped,
        Self::GetSetexSame,
        Self::GetSetChanged,
        Self::Locked,
        Self::Transaction,
        Self::Hash,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::GetExpire => "GET; EXPIRE",
            Self::GetExpirePiped => "[GET . EXPIRE]",
            Self::GetSetexSame => "GET; SETEX same bytes",
            Self::GetSetChanged => "GET; SET EX changed bytes",
            Self::Locked => "EXISTS; lock; GET; EXPIRE; unlock",
            Self::Transaction => "GET; [MULTI . SET same . EXPIREAT . EXEC]",
            Self::Hash => "HGETALL; HSET; EXPIRE",
        }
    }

    /// Reads in each web request.
    pub fn reads(self) -> u64 {
        match self {
            Self::Locked => 2,
            _ => 1,
        }
    }

    /// Commands in each web request.
    pub fn commands(self) -> u64 {
        match self {
            Self::Locked => 5,
            Self::Transaction => 9,
            Self::Hash => 3,
            _ => 2,
        }
    }
}

/// One user's session on one connection.
pub struct Session {
    key: String,
    value: String,
    requests: u64,
}

impl Session {
    pub fn new(connection: usize, number: usize) -> Self {
        let key = format!("sess:{connection:02}{number:02}{}", "k".repeat(20));
        let value = format!("{{\"user\":{number},\"data\":\"{}\"}}", "d".repeat(400));
        Self {
            key,
            value,
            requests: 0,
        }
    }

    pub fn create(&self, client: &mut Client, pattern: Pattern) {
        if pattern == Pattern::Hash {
            let words = ["HSET", &self.key, "data", &self.value, "last", "0"];
            assert_eq!(client.call(&words), b":2\r\n");
            assert_eq!(client.call(&["EXPIRE", &self.key, TTL]), b":1\r\n");
        } else {
            assert_eq!(
                client.call(&["SETEX", &self.key, TTL, &self.value]),
                b"+OK\r\n"
            );
        }
    }

    /// Makes one web request, and insists on right answers.
    pub fn request(&mut self, client: &mut Client, pattern: Pattern, sha: &str) {
        self.requests += 1;
        match pattern {
            Pattern::GetExpire => {
                self.get(client);
                self.expire(client);
            }
            Pattern::GetExpirePiped => {
                let mut packet = encode(&["GET", &self.key]);
                packet.extend(encode(&["EXPIRE", &self.key, TTL]));
                client.send(&packet);
                self.expect_value(&client.frame());
                assert_eq!(client.frame(), b":1\r\n");
            }
            Pattern::GetSetexSame => {
                self.get(client);
                assert_eq!(
                    client.call(&["SETEX", &self.key, TTL, &self.value]),
                    b"+OK\r\n"
                );
            }
            Pattern::GetSetChanged => {
                self.get(client);
                self.value = format!(
                    "{{\"seen\":{},\"data\":\"{}\"}}",
                    self.requests,
                    "d".repeat(400)
                );
                assert_eq!(
                    client.call(&["SET", &self.key, &self.value, "EX", TTL]),
                    b"+OK\r\n"
                );
            }
            Pattern::Locked => {
                let (lock, token) = (
                    format!("{}_LOCK", self.key),
                    format!("host|{}", self.requests),
                );
                assert_eq!(client.call(&["EXISTS", &self.key]), b":1\r\n");
                let taken = client.call(&["SET", &lock, &token, "NX", "PX", "10000"]);
                assert_eq!(taken, b"+OK\r\n");
                self.get(client);
                self.expire(client);
                assert_eq!(
                    client.call(&["EVALSHA", sha, "1", &lock, &token]),
                    b":1\r\n"
                );
            }
            Pattern::Transaction => {
                self.check_connection(client);
                self.get(client);
                self.check_connection(client);
                self.save(client);
            }
            Pattern::Hash => {
                self.expect_hash(&client.call(&["HGETALL", &self.key]));
                let now = self.requests.to_string();
                assert_eq!(client.call(&["HSET", &self.key, "last", &now]), b":0\r\n");
                self.expire(client);
            }
        }
    }

    fn get(&self, client: &mut Client) {
        self.expect_value(&client.call(&["GET", &self.key]));
    }

    fn expect_value(&self, reply: &[u8]) {
        let expected = format!("${}\r\n{}\r\n", self.value.len(), self.value);
        assert_eq!(escape(reply), escape(expected.as_bytes()));
    }

    /// In any order: a large hash has none.
    fn expect_hash(&self, reply: &[u8]) {
        let last = (self.requests - 1).to_string();
        let Value::Many(b'*', parts) = parse(reply) else {
            panic!("HGETALL gives an array: {}", escape(reply));
        };
        let blob = |text: &str| Value::Blob(b'$', text.into());
        let mut pairs: Vec<_> = parts.chunks(2).collect();
        pairs.sort();
        assert_eq!(
            pairs,
            [
                [blob("data"), blob(&self.value)],
                [blob("last"), blob(&last)]
            ]
        );
    }

    fn expire(&self, client: &mut Client) {
        assert_eq!(client.call(&["EXPIRE", &self.key, TTL]), b":1\r\n");
    }

    /// As a pool does at each borrow.
    fn check_connection(&self, client: &mut Client) {
        let number = self.requests.to_string();
        let mut packet = encode(&["UNWATCH"]);
        packet.extend(encode(&["PING", &number]));
        client.send(&packet);
        assert_eq!(client.frame(), b"+OK\r\n");
        assert_eq!(client.text(), format!("${}\\r\\n{number}", number.len()));
    }

    fn save(&self, client: &mut Client) {
        let at = (unix_seconds() + 1800).to_string();
        let mut packet = encode(&["MULTI"]);
        packet.extend(encode(&["SET", &self.key, &self.value]));
        packet.extend(encode(&["EXPIREAT", &self.key, &at]));
        packet.extend(encode(&["EXEC"]));
        client.send(&packet);
        let replies = [(); 4].map(|()| client.text());
        assert_eq!(
            replies,
            ["+OK", "+QUEUED", "+QUEUED", "*2\\r\\n+OK\\r\\n:1"]
        );
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "an application asks its own clock for a deadline"
)]
fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("it is later than 1970").as_secs()
}
