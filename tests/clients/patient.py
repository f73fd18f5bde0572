"""redis-py with a socket time-out of 0.5 s: python patient.py PORT HOW, HOW: parser, hiredis, asyncio.

Prints "ready" once it has written, writes until its input ends and once more, and prints what it saw: the writes, the
errors, the longest wait in milliseconds, and the time-out that its connection has in the end.
"""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio
from redis.backoff import NoBackoff

PORT, HOW = int(sys.argv[1]), sys.argv[2]
ended = threading.Event()


class Seen:
    writes = 0
    slowest = 0.0
    errors = []


def settings(retry):
    # One attempt: what is tried again by the library hides its time-outs.
    return {"host": "127.0.0.1", "port": PORT, "socket_timeout": 0.5, "retry": retry(NoBackoff(), 0)}


def note(began):
    Seen.writes += 1
    Seen.slowest = max(Seen.slowest, time.monotonic() - began)
    if Seen.writes == 10:
        print("ready", flush=True)


def blocking():
    parser = {"parser": redis._parsers._RESP3Parser, "hiredis": redis._parsers._HiredisParser}[HOW]
    pool = redis.ConnectionPool(parser_class=parser, **settings(redis.retry.Retry))
    client = redis.Redis(connection_pool=pool)
    last = False
    while not last:
        last = ended.is_set()
        began = time.monotonic()
        try:
            client.set("key", Seen.writes)
            note(began)
        except redis.RedisError as error:
            Seen.errors.append(error)
        time.sleep(0.01)
    connection = pool.get_connection()
    return connection.socket_timeout


async def asynchronous():
    client = redis.asyncio.Redis(**settings(redis.asyncio.retry.Retry))
    last = False
    while not last:
        last = ended.is_set()
        began = time.monotonic()
        try:
            await client.set("key", Seen.writes)
            note(began)
        except redis.RedisError as error:
            Seen.errors.append(error)
        await asyncio.sleep(0.01)
    connection = await client.connection_pool.get_connection()
    return connection.socket_timeout


def wait_for_the_end():
    sys.stdin.read()
    ended.set()


threading.Thread(target=wait_for_the_end, daemon=True).start()
time_out = asyncio.run(asynchronous()) if HOW == "asyncio" else blocking()
for error in Seen.errors[:5]:
    print(f"error {type(error).__name__}: {error}", file=sys.stderr)
print(Seen.writes, len(Seen.errors), int(Seen.slowest * 1000), int(time_out * 1000), flush=True)
