"""redis-py, blocking: python sync.py PORT PROTOCOL PASSWORD."""

import sys
import threading

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from steps import FAMILIES, arranged, tell

PORT, PROTOCOL, PASSWORD = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def connect(**more):
    return redis.Redis(port=PORT, protocol=PROTOCOL, password=PASSWORD, socket_timeout=20, **more)


def attempt(what, call):
    try:
        tell(what, call())
    except Exception as error:  # the error is the result
        tell(what, error)


def families(client):
    for family, steps in FAMILIES.items():
        for method, arguments, keywords in steps:
            attempt(f"{family} {method} {str(arguments)[:80]}", lambda: arranged(method, getattr(client, method)(*arguments, **keywords)))


def pipelines(client):
    with client.pipeline(transaction=False) as pipe:
        for number in range(600):
            pipe.set(f"p:{number}", number).get(f"p:{number}").incr("count")
        results = pipe.execute()
        tell("pipeline", (len(results), results[-3:]))
    with client.pipeline() as pipe:
        pipe.set("m", 1).incr("m").lpush("m", "x").get("m")
        tell("transaction", pipe.execute(raise_on_error=False))

    def add_one(pipe):
        value = int(pipe.get("watched") or 0)
        pipe.multi()
        pipe.set("watched", value + 1)

    for _ in range(5):
        client.transaction(add_one, "watched")
    tell("watched", client.get("watched"))
    with client.pipeline() as pipe:
        pipe.watch("watched")
        client.set("watched", "changed")
        pipe.multi()
        pipe.set("watched", "lost")
        attempt("watch broken", pipe.execute)
    tell("after", client.get("watched"))


def pubsub(client):
    subscriber = client.pubsub()
    subscriber.subscribe("news")
    subscriber.psubscribe("n*")
    for _ in range(2):
        tell("subscribed", subscriber.get_message(timeout=10))
    tell("published", client.publish("news", "hello"))
    for _ in range(2):
        tell("message", subscriber.get_message(timeout=10))
    subscriber.unsubscribe("news")
    tell("unsubscribed", subscriber.get_message(timeout=10))
    subscriber.ping()
    tell("pong", subscriber.get_message(timeout=10))
    subscriber.close()


def others(client):
    with client.lock("lock", timeout=10):
        attempt("lock", lambda: client.lock("lock", timeout=10, blocking=False).acquire())
    tell("released", client.exists("lock"))
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    tell("script", (script(keys=["n"], args=[3]), script(keys=["n"], args=[4])))
    tell("scan_iter", sorted(client.scan_iter("p:*", count=50))[:3])
    tell("scan_iter", len(list(client.scan_iter("p:*", count=50))))
    client.hset("big", mapping={f"f{n}": n for n in range(1000)})
    tell("hscan_iter", len(dict(client.hscan_iter("big"))))
    client.sadd("bigset", *range(1000))
    tell("sscan_iter", len(set(client.sscan_iter("bigset"))))
    result = []
    thread = threading.Thread(target=lambda: result.append(client.blpop("queue", 10)))
    thread.start()
    client.rpush("queue", "job")
    thread.join()
    tell("blpop", result)
    other = connect(db=5, client_name="named", decode_responses=True)
    tell("db 5", (other.set("k", "five"), other.get("k"), other.client_getname(), client.get("k")))
    with client.monitor() as monitor:
        client.set("monitored", 1)
        for command in monitor.listen():
            if "monitored" in command["command"]:
                break
    tell("monitor", "seen")
    tell("info", client.info("server")["redis_version"])
    once = Retry(NoBackoff(), 0)
    attempt("wrong password", redis.Redis(port=PORT, protocol=PROTOCOL, password="wrong", retry=once).ping)
    attempt("no password", redis.Redis(port=PORT, protocol=PROTOCOL, retry=once).ping)
    version = tuple(map(int, client.info("server")["redis_version"].split(".")[:2]))
    if PROTOCOL == 3 and version >= (7, 4):  # redis-py wants 7.4 for its cache
        cached = redis.Redis(port=PORT, protocol=3, password=PASSWORD, cache_config=redis.cache.CacheConfig())
        cached.set("c", 1)
        tell("cached", (cached.get("c"), cached.get("c")))
        client.set("c", 2)
        value = cached.get("c")
        for _ in range(1000):
            if value == b"2":
                break
            value = cached.get("c")
        tell("invalidated", value)


main = connect()
for part in (families, pipelines, pubsub, others):
    part(main)
