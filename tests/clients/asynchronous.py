"""redis-py, asyncio: python asynchronous.py PORT PROTOCOL PASSWORD."""

import asyncio
import sys

import redis.asyncio as redis
from steps import FAMILIES, arranged, tell

PORT, PROTOCOL, PASSWORD = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def connect(**more):
    return redis.Redis(port=PORT, protocol=PROTOCOL, password=PASSWORD, socket_timeout=20, **more)


async def families(client):
    for family, steps in FAMILIES.items():
        for method, arguments, keywords in steps:
            what = f"{family} {method} {str(arguments)[:80]}"
            try:
                tell(what, arranged(method, await getattr(client, method)(*arguments, **keywords)))
            except Exception as error:  # the error is the result
                tell(what, error)


async def pipelines(client):
    async with client.pipeline(transaction=False) as pipe:
        for number in range(600):
            pipe.set(f"p:{number}", number).get(f"p:{number}")
        results = await pipe.execute()
        tell("pipeline", (len(results), results[-2:]))
    async with client.pipeline(transaction=True) as pipe:
        tell("transaction", await pipe.set("m", 1).incr("m").lpush("m", "x").execute(raise_on_error=False))
    async with client.pipeline() as pipe:
        await pipe.watch("watched")
        await client.set("watched", "changed")
        pipe.multi()
        pipe.set("watched", "lost")
        try:
            tell("watch broken", await pipe.execute())
        except Exception as error:
            tell("watch broken", error)


async def concurrent(client):
    async def own(number):
        for round_ in range(20):
            await client.set(f"own:{number}", f"{number}-{round_}")
            assert await client.get(f"own:{number}") == f"{number}-{round_}".encode()

    await asyncio.gather(*(own(number) for number in range(30)))
    waiter = asyncio.create_task(client.blpop("queue", 10))
    await client.rpush("queue", "job")
    tell("blpop", await waiter)
    async with client.lock("lock", timeout=10):
        tell("locked", await client.exists("lock"))
    tell("scan_iter", len({key async for key in client.scan_iter("p:*", count=50)}))
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    tell("script", [await script(keys=["n"], args=[3]), await script(keys=["n"], args=[4])])


async def pubsub(client):
    async with client.pubsub() as subscriber:
        await subscriber.subscribe("news")
        await subscriber.psubscribe("n*")
        for _ in range(2):
            tell("subscribed", await subscriber.get_message(timeout=10))
        await client.publish("news", "hello")
        for _ in range(2):
            tell("message", await subscriber.get_message(timeout=10))


async def main():
    client = connect()
    for part in (families, pipelines, concurrent, pubsub):
        await part(client)
    named = connect(db=5, client_name="named", health_check_interval=1, decode_responses=True)
    tell("db 5", [await named.set("k", "five"), await named.get("k"), await named.client_getname()])
    await named.aclose()
    await client.aclose()


asyncio.run(main())
