"""Who runs, where it listens, and whether it is ready.

A [`Stack`] is one Redis and the proxies in front of it, on free loopback ports and Unix sockets in a directory of its
own. Everything is awaited by a condition (an answered request through the listener), never by a pause alone.
"""

import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

READY_SECONDS = 15
STOP_SECONDS = 5
# A sidecar publishes its counts more often than that.
COUNTS_SECONDS = 0.25
TRANSPORTS = ("tcp", "unix")
# What the relay adds each way, in seconds.
AWAY_SECONDS = 0.00025
# Defaults, but what was read before a run must still be served at its end.
CACHE_ON = "{ttl_s: 600}"
CACHE_OFF = "{bytes: 0}"

INSTALL = {
    "redis-server": "apt install redis-server",
    "redis-benchmark": "apt install redis-tools",
    "nutcracker": "apt install nutcracker",
}


class Failed(Exception):
    """Something did not run; the text says what and shows the end of its log."""


def check_programs(targets):
    """Refuses to start without the programs that `targets` need, and says how to install them."""
    needed = ["redis-server", "redis-benchmark"] + (["nutcracker"] if "nutcracker" in targets else [])
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        raise Failed("\n".join(f"{name} is missing: {INSTALL[name]}" for name in missing))


def encode(*words):
    """One request in RESP."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def reply_length(buffer, start=0):
    """Length of the reply at `start` of `buffer` (RESP2), 0 while it is incomplete."""
    end = buffer.find(b"\r\n", start)
    if end < 0:
        return 0
    kind, length = buffer[start:start + 1], end + 2 - start
    if kind == b"$":
        size = int(buffer[start + 1:end])
        length += size + 2 if size >= 0 else 0
    if kind == b"*":
        for _ in range(int(buffer[start + 1:end])):
            element = reply_length(buffer, start + length)
            if not element:
                return 0
            length += element
    return length if len(buffer) >= start + length else 0


def connect(address):
    """A blocking connection to `(host, port)` or to the path of a Unix socket."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(READY_SECONDS)
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def ask(connection, *words):
    """Sends one request and returns its reply; an error reply is a failure."""
    connection.sendall(encode(*words))
    buffer = b""
    while not reply_length(buffer):
        chunk = connection.recv(65536)
        if not chunk:
            raise Failed(f"connection closed at {words[0]}")
        buffer += chunk
    if buffer[:1] == b"-":
        raise Failed(f"{words[0]}: {buffer.decode(errors='replace').strip()}")
    return buffer


@dataclasses.dataclass(frozen=True)
class Placement:
    """Which cores the load generator, Redis and the proxies have.

    Left to the scheduler, two cores and three busy processes fall into one of three arrangements and stay in it for
    seconds; which one decides more than what is measured does (README.md, placement).
    """

    generator: frozenset
    redis: frozenset
    proxies: frozenset

    @classmethod
    def named(cls, name):
        """One of `PLACEMENTS`; a single core is shared by all."""
        cores = CORES
        first, others, last, everywhere = map(frozenset, (cores[:1], cores[1:] or cores, cores[-1:], cores))
        return {
            "deployed": cls(others, first, others),
            "beside-redis": cls(last, frozenset(cores[:-1] or cores), frozenset(cores[:-1] or cores)),
            "free": cls(everywhere, everywhere, everywhere),
        }[name]

    def take_generator(self):
        """Puts this process, and the load generators that it starts, in their place."""
        os.sched_setaffinity(0, self.generator)

    def take_server(self, name):
        """The same for a server, between fork and exec."""
        os.sched_setaffinity(0, self.redis if name in ("redis", "relay") else self.proxies)

    def __str__(self):
        places = {"load generator": self.generator, "proxies": self.proxies, "Redis": self.redis}
        return ", ".join(f"{name} on core {'+'.join(map(str, sorted(cores)))}" for name, cores in places.items())


PLACEMENTS = ("deployed", "beside-redis", "free")
# As it was at the start: afterwards this process has its own place.
CORES = sorted(os.sched_getaffinity(0))


@dataclasses.dataclass
class Target:
    """One process under measurement, and where it listens."""

    name: str
    process: subprocess.Popen
    addresses: dict
    log: str
    admin: str | None = None

    @property
    def pid(self):
        return self.process.pid


class Stack:
    """A Redis and what stands in front of it; `with` stops them all."""

    def __init__(self, directory, targets, binary, placement, floor=None, password=None, clients_max=None, away=False):
        self.directory, self.binary, self.floor, self.placement = directory, binary, floor, placement
        self.password, self.clients_max = password, clients_max
        self.targets = {}
        self.wanted = ["redis"] + ["relay"] * away + [name for name in targets if name != "redis"]

    def __enter__(self):
        self.placement.take_generator()
        try:
            for name in self.wanted:
                getattr(self, f"start_{name}")()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def redis(self):
        return self.targets["redis"]

    @property
    def helpers(self):
        """Processes that belong to the arrangement and are no target."""
        return [self.targets["relay"]] if "relay" in self.targets else []

    @property
    def upstream(self):
        """Where a proxy finds Redis."""
        return self.redis.addresses.get("away", self.redis.addresses["tcp"])

    def session_reads(self, target):
        """How many reads of sessions `target` has counted, by outcome, once it has nothing more to tell."""
        before = None
        while target.admin:
            with urllib.request.urlopen(f"http://{target.admin}/metrics", timeout=READY_SECONDS) as page:
                text = page.read().decode()
            # The series of a metric stand in no order.
            found = sorted(re.findall(r'^gripfast_session_reads_total\{outcome="(\w+)"\} (\d+)', text, re.MULTILINE))
            if found == before:
                return {outcome: int(count) for outcome, count in found}
            before = found
            time.sleep(COUNTS_SECONDS)
        return {}

    def hits_since(self, target, before):
        """Share of the reads since `before` that were hits; none where there were no reads."""
        after = self.session_reads(target)
        counted = sum(after.values()) - sum(before.values())
        return (after["hit"] - before["hit"]) / counted if counted else None

    def start_redis(self):
        addresses = self.fresh_addresses("redis")
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(addresses["tcp"][1]),
                   "--unixsocket", addresses["unix"], "--save", "", "--appendonly", "no",
                   "--dir", self.directory, "--maxclients", str(self.clients_max or 10000)]
        if self.password:
            command += ["--requirepass", self.password]
        self.start("redis", command, addresses)

    def start_relay(self):
        """Makes Redis further away, for those who ask at its address `away`."""
        listen = ("127.0.0.1", free_port())
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "relay.py")
        self.start("relay", [sys.executable, program, spell(listen), spell(self.upstream), str(AWAY_SECONDS)],
                   {"tcp": listen})
        self.redis.addresses["away"] = listen

    def start_nutcracker(self):
        addresses = self.fresh_addresses("nutcracker")
        host, port = self.upstream
        pools = ""
        for transport in TRANSPORTS:
            pools += (f"{transport}:\n  listen: {spell(addresses[transport])}\n  redis: true\n  preconnect: true\n"
                      "  hash: fnv1a_64\n  distribution: ketama\n  auto_eject_hosts: false\n")
            pools += f"  redis_auth: {self.password}\n" if self.password else ""
            pools += f"  servers:\n   - {host}:{port}:1\n"
        file = self.write("nutcracker.yml", pools)
        self.start("nutcracker", ["nutcracker", "-c", file, "-a", "127.0.0.1", "-s", str(free_port())], addresses)

    def start_sidecar(self):
        """The sidecar as a pass-through."""
        self.start_gripfast("sidecar", CACHE_OFF, counts=False)

    def start_cached(self):
        """The sidecar with its cache."""
        self.start_gripfast("cached", CACHE_ON, counts=True)

    def start_journalled(self):
        """The sidecar with its cache, remembering what it acknowledges."""
        self.start_gripfast("journalled", CACHE_ON, counts=False, more=["journal: {enabled: true}"])

    def start_gripfast(self, name, cache, counts, more=()):
        addresses, admin = self.fresh_addresses(name), f"127.0.0.1:{free_port()}"
        lines = ["listen:", f'  tcp: "{spell(addresses["tcp"])}"', f'  unix: "{addresses["unix"]}"']
        lines += [f"  clients_max: {self.clients_max}"] if self.clients_max else []
        lines += ["upstream:", "  mode: standalone", f'  address: "{spell(self.upstream)}"']
        lines += [f'  password: "{self.password}"'] if self.password else []
        lines += [f"cache: {cache}", *more, "admin:", f'  listen: "{admin}"', ""]
        file = self.write(f"{name}.yaml", "\n".join(lines))
        self.start(name, [self.binary, "run", "-c", file], addresses, admin if counts else None)

    def start_floor(self):
        """A bare pass-through that the user brings: `FLOOR TCP_ADDRESS UNIX_PATH UPSTREAM_ADDRESS`."""
        addresses = self.fresh_addresses("floor")
        upstream = spell(self.upstream)
        self.start("floor", [self.floor, spell(addresses["tcp"]), addresses["unix"], upstream], addresses)

    def fresh_addresses(self, name):
        return {"tcp": ("127.0.0.1", free_port()), "unix": os.path.join(self.directory, f"{name}.sock")}

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self, name, command, addresses, admin=None):
        log = os.path.join(self.directory, f"{name}.log")
        with open(log, "wb") as output:
            # A session of its own, as a service has: the scheduler shares cores out among sessions before processes.
            process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                       start_new_session=True,
                                       preexec_fn=lambda: self.placement.take_server(name))
        self.targets[name] = target = Target(name, process, addresses, log, admin)
        for address in list(addresses.values()):
            self.await_ready(target, address)

    def await_ready(self, target, address):
        """Waits until a GET through `address` is answered, so the way to Redis and back is open."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            if target.process.poll() is not None:
                raise Failed(self.condition())
            try:
                with connect(address) as connection:
                    if self.password:
                        ask(connection, "AUTH", self.password)
                    ask(connection, "GET", "ready")
                    return
            except (OSError, Failed) as trouble:
                if time.monotonic() > deadline:
                    raise Failed(f"{target.name} not ready: {trouble}\n{self.condition()}") from trouble
            time.sleep(0.02)

    def condition(self):
        """Whether each process still lives, and the end of its log: what a failure has to show."""
        shown = []
        for target in self.targets.values():
            code = target.process.poll()
            state = "running" if code is None else f"ended with {code}"
            listens = " and ".join(spell(address) for address in target.addresses.values())
            shown.append(f"{target.name} ({listens}): {state}\n{tail(target.log)}")
        return "\n".join(shown)

    def stop(self):
        for target in reversed(self.targets.values()):
            target.process.send_signal(signal.SIGTERM)
            try:
                target.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                target.process.kill()
                target.process.wait()
        self.targets.clear()


def spell(address):
    """An address as configuration files write it."""
    return address if isinstance(address, str) else f"{address[0]}:{address[1]}"


def free_port():
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tail(path, lines=15):
    with open(path, encoding="utf-8", errors="replace") as log:
        return "".join(log.readlines()[-lines:])
