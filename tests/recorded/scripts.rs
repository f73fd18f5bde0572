//! The scripts that libraries send.

/// Name and body; `sha:NAME` and `<NAME>` stand for them in the tables.
pub const SCRIPTS: &[(&str, &str)] = &[
    (
        "phpredis",
        r#"if redis.call("get",KEYS[1]) == ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end"#,
    ),
    (
        "laravel",
        r#"
if redis.call("get",KEYS[1]) == ARGV[1] then
    return redis.call("del",KEYS[1])
else
    return 0
end
"#,
    ),
    (
        "redis-py",
        "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        redis.call('del', KEYS[1])
        return 1
    ",
    ),
    (
        "incr",
        "
            local exists = redis.call('EXISTS', KEYS[1])
            if (exists == 1) then
                return redis.call('INCRBY', KEYS[1], ARGV[1])
            else return false end
            ",
    ),
    (
        "renew",
        "
        local data = redis.call('GET', KEYS[1])
        local ttl = redis.call('TTL', KEYS[1])
        if ttl > 0 then
            redis.call('EXPIRE', KEYS[1], tonumber(ARGV[1]))
        end
        return data
        ",
    ),
    (
        "delete-all",
        "
        local cursor = 0
        repeat
            local result = redis.call('SCAN', cursor, 'MATCH', ARGV[1])
            for _, key in ipairs(result[2]) do
                redis.call('UNLINK', key)
            end
            cursor = tonumber(result[1])
        until cursor == 0
        ",
    ),
];

/// The body of the script of that name.
pub fn body(name: &str) -> &'static str {
    let found = SCRIPTS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no script {name}")).1
}
