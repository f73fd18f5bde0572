"""What redis-py is asked to do, family by family: (method, arguments, keywords)."""


def step(method, *arguments, **keywords):
    return method, arguments, keywords


STRINGS = [
    step("set", "s", "value"), step("get", "s"), step("set", "s", "v2", nx=True), step("set", "s", "v2", xx=True, get=True),
    step("set", "s", "v3", ex=1000), step("set", "s", "v4", keepttl=True), step("getex", "s", persist=True), step("ttl", "s"),
    step("setex", "e", 1000, "v"), step("psetex", "p", 1000000, "v"), step("setnx", "n", "v"), step("mset", {"a": 1, "b": 2}),
    step("mget", "a", "b", "none"), step("msetnx", {"a": 1, "zz": 2}), step("append", "s", "more"), step("strlen", "s"),
    step("incr", "a"), step("decr", "a", 5), step("incrbyfloat", "a", 1.5), step("getrange", "s", 0, 3), step("setrange", "s", 2, "XX"),
    step("getdel", "s"), step("getset", "s", "x"), step("get", "none"), step("exists", "s", "a", "none"), step("type", "s"),
    step("set", "binary", bytes(range(256))), step("get", "binary"), step("set", "large", "x" * 300000), step("strlen", "large"), step("lcs", "s", "a"),
    step("setbit", "bits", 7, 1), step("getbit", "bits", 7), step("bitcount", "bits"), step("bitpos", "bits", 1), step("bitop", "NOT", "bits2", "bits"), step("bitfield_ro", "bits", "u8", 0),
    step("incr", "binary"),
]
HASHES = [
    step("hset", "h", mapping={"f": "v", "g": "w", "n": 1}), step("hget", "h", "f"), step("hmget", "h", ["f", "none"]), step("hgetall", "h"), step("hgetall", "none"),
    step("hincrby", "h", "n", 4), step("hincrbyfloat", "h", "n", 0.5), step("hdel", "h", "g"), step("hexists", "h", "f"), step("hlen", "h"), step("hkeys", "h"), step("hvals", "h"),
    step("hsetnx", "h", "f", "x"), step("hstrlen", "h", "f"), step("hscan", "h"), step("hrandfield", "none"), step("hexpire", "h", 1000, "f"), step("hpersist", "h", "f"), step("hget", "s", "f"),
]
LISTS = [
    step("rpush", "l", "a", "b", "c", "d"), step("lpush", "l", "z"), step("lrange", "l", 0, -1), step("llen", "l"), step("lindex", "l", 1), step("lset", "l", 0, "y"), step("linsert", "l", "BEFORE", "b", "x"),
    step("lrem", "l", 1, "x"), step("ltrim", "l", 0, 3), step("lpop", "l"), step("rpop", "l", 2), step("lmove", "l", "m", "LEFT", "RIGHT"), step("rpoplpush", "m", "l"), step("lpos", "l", "b"), step("lmpop", 1, "l", direction="LEFT"),
    step("rpush", "q", "1"), step("blpop", ["q", "none"], 1), step("blpop", ["none"], 0.05), step("brpop", ["none"], 0.05), step("blmove", "none", "m", 0.05), step("brpoplpush", "none", "m", 0.05), step("lset", "none", 0, "x"),
]
SETS = [
    step("sadd", "t", "a", "b", "c"), step("sadd", "u", "b", "c", "d"), step("smembers", "t"), step("sismember", "t", "a"), step("smismember", "t", ["a", "x"]), step("scard", "t"), step("srem", "t", "a"), step("sinter", "t", "u"), step("sunion", "t", "u"),
    step("sdiff", "u", "t"), step("sinterstore", "w", "t", "u"), step("smove", "u", "t", "d"), step("sintercard", 2, ["t", "u"]), step("sscan", "t"), step("spop", "w", 10), step("srandmember", "none"),
    step("zadd", "z", {"a": 1, "b": 2.5, "c": 3}), step("zadd", "z", {"a": 10}, gt=True, ch=True), step("zincrby", "z", 2, "b"), step("zscore", "z", "a"), step("zmscore", "z", ["a", "none"]), step("zcard", "z"), step("zcount", "z", 2, "+inf"),
    step("zrange", "z", 0, -1, withscores=True), step("zrange", "z", 0, -1, desc=True), step("zrangebyscore", "z", "-inf", 5, withscores=True), step("zrevrange", "z", 0, 1), step("zrank", "z", "b"), step("zrevrank", "z", "none"), step("zrangestore", "z2", "z", 0, 1),
    step("zunion", ["z", "z2"], withscores=True), step("zinter", ["z", "z2"]), step("zdiff", ["z", "z2"]), step("zpopmin", "z"), step("zpopmax", "z", 2), step("bzpopmin", ["none"], 0.05), step("zmpop", 1, ["z2"], min=True), step("zrem", "z2", "c"), step("zlexcount", "z2", "-", "+"), step("zremrangebyscore", "z2", 0, 100), step("zscan", "z2"),
]
STREAMS = [
    step("xadd", "x", {"f": "v"}, id="1-1"), step("xadd", "x", {"f": "w"}, id="2-1", maxlen=100), step("xadd", "x", {"f": "w"}, id="1-1"), step("xlen", "x"), step("xrange", "x"), step("xrevrange", "x", count=1), step("xread", {"x": 0}), step("xread", {"x": "$"}, block=20),
    step("xgroup_create", "x", "g", id=0), step("xgroup_create", "x", "g", id=0), step("xreadgroup", "g", "c", {"x": ">"}), step("xpending", "x", "g"), step("xack", "x", "g", "1-1"), step("xclaim", "x", "g", "d", 0, ["2-1"], justid=True), step("xautoclaim", "x", "g", "d", 0), step("xinfo_groups", "x"), step("xdel", "x", "1-1"), step("xtrim", "x", maxlen=0), step("xgroup_destroy", "x", "g"),
    step("geoadd", "geo", [13.361389, 38.115556, "palermo", 15.087269, 37.502669, "catania"]), step("geodist", "geo", "palermo", "catania", unit="km"), step("geohash", "geo", "palermo"), step("geopos", "geo", "palermo", "none"), step("geosearch", "geo", longitude=15, latitude=37, radius=200, unit="km", sort="ASC", withdist=True),
    step("pfadd", "pf", "a", "b", "c"), step("pfcount", "pf"), step("pfmerge", "pf2", "pf"),
]
KEYS = [
    step("expire", "a", 1000), step("persist", "a"), step("expireat", "a", 4102444800), step("pexpire", "a", 1000000), step("ttl", "none"), step("rename", "b", "bb"), step("rename", "none", "x"), step("renamenx", "bb", "a"), step("copy", "bb", "cc"), step("unlink", "cc"), step("touch", "bb", "none"), step("object", "ENCODING", "bb"),
    step("dump", "none"), step("sort", "l", alpha=True), step("keys", "b*"), step("dbsize"), step("delete", "bb", "none"), step("move", "a", 5), step("scan", 0, match="nothing*", count=10000), step("eval", "return {KEYS[1], ARGV[1], 3}", 1, "k", "v"), step("eval", "return redis.call('nope')", 0), step("evalsha", "f" * 40, 0), step("script_load", "return 1"), step("script_exists", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
    step("function_load", "#!lua name=lib\nredis.register_function('f', function(k, a) return a end)"), step("fcall", "f", 0, "x", "y"), step("function_delete", "lib"), step("ping"), step("echo", "hello"), step("client_setname", "me"), step("client_getname"), step("config_get", "maxmemory"), step("config_set", "nope", 1), step("publish", "nobody", "x"), step("pubsub_numsub", "nobody"), step("wait", 0, 10),
    step("acl_whoami"), step("acl_cat", "nope"), step("command_count"), step("memory_usage", "none"), step("execute_command", "NO SUCH", "x"), step("role"), step("slowlog_reset"), step("flushdb"),
]
FAMILIES = {"strings": STRINGS, "hashes": HASHES, "lists": LISTS, "sets": SETS, "streams": STREAMS, "keys": KEYS}

UNORDERED = {"keys", "smembers", "sinter", "sunion", "sdiff", "hkeys", "hvals", "sscan", "hscan", "spop", "srandmember"}


def arranged(method, value):
    """The elements of a reply without order, in an order."""
    if method in UNORDERED and isinstance(value, (list, tuple)):
        return sorted((arranged(method, item) for item in value), key=shown)
    return value


def shown(value):
    """A form that does not depend on the order of sets and dictionaries."""
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(shown, value))) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{shown(k)}: {shown(v)}" for k, v in value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    return repr(value)


def tell(what, value):
    text = shown(value)
    print(what, "->", text if len(text) < 500 else f"{text[:500]} ({len(text)})")
