"""What is asked of a target: `redis-benchmark` for streams, an own generator for a connection per request."""

import csv
import dataclasses
import io
import itertools
import os
import select
import socket
import subprocess
import time

from .accounting import Machine, cpu_seconds
from .processes import Failed, ask, connect, encode, reply_length
from .rows import CLIENTS, KEYS

VALUE_BYTES = 512
# A session as libraries make a hash of one: with the names of its fields about VALUE_BYTES.
HASH_FIELDS, HASH_VALUE_BYTES = 9, 48
CONNECT_DATABASE = 3
RUN_SECONDS_MAX = 600


@dataclasses.dataclass
class Sample:
    """One target in one row and round. CPU in microseconds an operation, latency in milliseconds."""

    throughput: float
    p50: float
    p99: float
    cpu: float
    redis_cpu: float
    others: float
    # Share of the operations that the session cache answered; none where there is no cache, or where nothing is read.
    hits: float | None = None


def key(number):
    """The key that redis-benchmark makes of a random number."""
    return b"key:%012d" % number


def hash_key(number):
    return b"hash:%012d" % number


def fill(redis, password, keys=KEYS):
    """Stores every key that will be asked for, so that each GET finds a value of the full size."""
    value = b"x" * VALUE_BYTES
    fields = [word for number in range(HASH_FIELDS) for word in (f"field:{number}", b"x" * HASH_VALUE_BYTES)]
    with connect(redis.addresses["tcp"]) as connection:
        if password:
            ask(connection, "AUTH", password)
            ask(connection, "SELECT", CONNECT_DATABASE)
        store(connection, (encode("SET", key(number), value) for number in range(keys)), b"+OK\r\n")
        store(connection, (encode("HSET", hash_key(number), *fields) for number in range(KEYS)), b":%d\r\n" % HASH_FIELDS)


def store(connection, requests, reply):
    while batch := list(itertools.islice(requests, 100)):
        connection.sendall(b"".join(batch))
        receive_exactly(connection, len(batch) * reply)


def receive_exactly(connection, expected):
    received = b""
    while len(received) < len(expected):
        chunk = connection.recv(65536)
        received += chunk
        if not chunk or not expected.startswith(received):
            raise Failed(f"filling Redis: got {received[-80:]!r}")


def warm(address, row):
    """Reads every key of a row once through `address`: what a cache there can keep, it has kept."""
    command, name = row.words or (row.command, "key:__rand_int__")
    with connect(address) as connection:
        for number in range(row.keys):
            ask(connection, command, name.replace("__rand_int__", f"{number:012d}"))


def measure(stack, target, operations, run):
    """Runs `run()` -> (throughput, p50, p99, CPU seconds of the generator) with the books of all processes open."""
    redis, machine = stack.redis, Machine.now()
    # Of one process only once: Redis asked directly is both.
    pids = [target.pid, redis.pid] + [helper.pid for helper in stack.helpers]
    reads = stack.session_reads(target)
    before = {pid: cpu_seconds(pid) for pid in pids}
    throughput, p50, p99, generator = run()
    spent = {pid: cpu_seconds(pid) - before[pid] for pid in pids}
    others = machine.others_share(Machine.now(), generator + sum(spent.values()))
    hits = stack.hits_since(target, reads)
    cpu, redis_cpu = (spent[pid] / operations * 1e6 for pid in pids[:2])
    return Sample(throughput, p50, p99, cpu, redis_cpu, others, hits)


def stream(address, row, requests):
    """`redis-benchmark` over connections that stay open."""
    where = ["-s", address] if isinstance(address, str) else ["-h", address[0], "-p", str(address[1])]
    arguments = ["redis-benchmark", *where, "-c", str(row.clients), "-d", str(VALUE_BYTES), "-r", str(row.keys),
                 "-n", str(requests), "-P", str(row.pipeline), "--csv", *(row.words or ("-t", row.command.lower()))]
    before = os.times()
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False)
    after = os.times()
    name = " ".join(row.words) or row.command
    rows = [row for row in csv.DictReader(io.StringIO(done.stdout)) if row.get("test") == name]
    if done.returncode != 0 or len(rows) != 1:
        raise Failed(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    row = rows[0]
    generator = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    return float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"]), generator


def connections(address, password, select_database, count):
    """One connection a request, as PHP does: connect, AUTH, SELECT, GET, close, each step after the last one's reply.

    `CLIENTS` of them are under way at any time, from one thread: the generator is simple rather than fast, so
    what it tells is the CPU time that a connection costs; it is often the slower side itself.
    """
    setup = [(encode("AUTH", password), b"+OK")]
    setup += [(encode("SELECT", CONNECT_DATABASE), b"+OK")] if select_database else []
    scripts = [setup + [(encode("GET", key(number % KEYS)), b"$" if select_database else b"")] for number in range(KEYS)]
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    poll, open_now, latencies, started = select.epoll(), {}, [], 0
    began, cpu_began = time.perf_counter(), time.process_time()
    while len(latencies) < count:
        while started < count and len(open_now) < CLIENTS:
            born = time.perf_counter()
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.connect(address)
            script = iter(scripts[started % KEYS])
            request, expected = next(script)
            connection.send(request)
            open_now[connection.fileno()] = [connection, script, expected, b"", born]
            poll.register(connection.fileno(), select.EPOLLIN)
            started += 1
        for number, _ in poll.poll(RUN_SECONDS_MAX):
            client = open_now[number]
            connection, script, expected, buffer, born = client
            chunk = connection.recv(65536)
            buffer += chunk
            if not chunk or (buffer and not buffer.startswith(expected)):
                raise Failed(f"connection to {address}: expected {expected!r}, got {buffer[:80]!r}")
            if not reply_length(buffer):
                client[3] = buffer
                continue
            request, client[2] = next(script, (None, None))
            client[3] = b""
            if request is not None:
                connection.send(request)
                continue
            connection.close()
            del open_now[number]
            latencies.append(time.perf_counter() - born)
    seconds, generator = time.perf_counter() - began, time.process_time() - cpu_began
    poll.close()
    latencies.sort()
    return count / seconds, latencies[count // 2] * 1e3, latencies[count * 99 // 100] * 1e3, generator
