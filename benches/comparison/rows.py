"""What is compared with what, and what must hold (the speed table of the design)."""

import dataclasses
import statistics

KEYS = 10_000
CLIENTS = 50
# How many requests of a pipelined row stand for one of an unpipelined row: about the same seconds of CPU.
PIPELINED_REQUESTS = 5
# And how many requests of an unpipelined row stand for one connection, or for one answer from afar.
REQUESTS_A_CONNECTION = 20
REQUESTS_FROM_AFAR = 10
# Keys of which most are new each time: the cache's default of 64 MiB holds a twenty-fifth of them.
MANY_KEYS = 1_000_000
# Keys that do not exist, so many that none is asked for twice.
ABSENT_KEYS = 100_000_000
FEW_CLIENTS = 4


@dataclasses.dataclass(frozen=True)
class Setting:
    """Who takes part in some rows, and on which cores."""

    title: str
    targets: tuple
    # Each other target's ratios that the tables show, as (figure, target).
    columns: tuple
    # What the names of its rows begin with.
    prefix: str = ""
    placement: str = "deployed"
    # Values that are stored before.
    keys: int = KEYS
    # Redis wants a password.
    password: bool = False
    # Redis is half a millisecond away.
    away: bool = False


CPU_OF_ALL = (("cpu", "redis"), ("cpu", "nutcracker"))
ON_AND_OFF = (("cpu", "redis"), ("cpu", "sidecar"))
PASS_THROUGH = Setting("Pass-through, cache off", ("redis", "nutcracker", "sidecar", "floor"), CPU_OF_ALL)
# A pass-through has no AUTH of its own: it stays out where each client brings a password and a database.
CONNECTIONS = Setting("A connection for each request, cache off", ("redis", "nutcracker", "sidecar"), CPU_OF_ALL,
                      password=True)
CACHED = Setting("Reads from a warm cache", ("redis", "cached"), (("throughput", "redis"), ("cpu", "redis")),
                 prefix="cached/", placement="beside-redis")
MISSED = Setting("Reads that miss, cache on and off", ("redis", "sidecar", "cached"), ON_AND_OFF,
                 prefix="missed/", keys=MANY_KEYS)
WRITTEN = Setting("Writes, cache on and off", ("redis", "sidecar", "cached"), ON_AND_OFF, prefix="written/")
JOURNALLED = Setting("Writes, cache and journal on and off", ("redis", "sidecar", "cached", "journalled"), ON_AND_OFF,
                     prefix="journalled/")
AWAY = Setting("Redis half a millisecond away", ("redis", "sidecar", "cached"), (("p50", "redis"), ("p99", "redis")),
               prefix="away/", away=True)
SETTINGS = (PASS_THROUGH, CONNECTIONS, CACHED, MISSED, WRITTEN, JOURNALLED, AWAY)


@dataclasses.dataclass(frozen=True)
class Must:
    """One target's figure over another's: at most (or at least) `bound`; without a bound it is only shown."""

    figure: str
    against: str
    bound: float | None = None
    at_least: bool = False
    aim: float | None = None
    of: str = "sidecar"

    def verdict(self, ratio):
        """What the bound and the aim say of this ratio, as the tables write it."""
        if self.bound is None:
            return ""
        than = ">=" if self.at_least else "<="
        aim = "" if self.aim is None else f" (aim {self.aim:g}: {'met' if self.holds(ratio, self.aim) else 'not met'})"
        return f", must {than} {self.bound:g}: {'met' if self.holds(ratio, self.bound) else 'NOT MET'}{aim}"

    def holds(self, ratio, limit):
        return ratio >= limit if self.at_least else ratio <= limit


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of questions, asked of every target in turn."""

    setting: Setting
    transport: str
    command: str
    pipeline: int = 1
    musts: tuple = ()
    # A command that redis-benchmark has no test for.
    words: tuple = ()
    # How many different keys are asked for.
    keys: int = KEYS
    clients: int = CLIENTS
    # Each key is read once before, through the target.
    warm: bool = False
    # What is asked otherwise than by its own name over the row's transport: (name in the table, target, transport).
    otherwise: tuple = ()

    @property
    def name(self):
        return f"{self.setting.prefix}{self.transport}/{self.command}" + ("" if self.connects else f"/P{self.pipeline}")

    @property
    def connects(self):
        return self.setting is CONNECTIONS

    def operations(self, requests):
        if self.connects:
            return max(1, requests // REQUESTS_A_CONNECTION)
        if self.setting.away:
            return max(1, requests // REQUESTS_FROM_AFAR)
        return requests * (PIPELINED_REQUESTS if self.pipeline > 1 else 1)

    def asked(self, targets):
        """Who is asked over which transport, by the name in the table: (target, transport)."""
        plain = tuple((name, name, self.transport) for name in self.setting.targets)
        named = {label: (target, transport) for label, target, transport in plain + self.otherwise}
        return {label: way for label, way in named.items() if way[0] in targets}

    def target(self, label):
        """Which target it is that the table calls so."""
        return next((target for name, target, _ in self.otherwise if name == label), label)


def pass_through(transport, command, pipeline):
    faster = Must("throughput", "nutcracker", 1.0, at_least=True)
    if pipeline > 1:
        musts = (Must("cpu", "redis", 0.8), Must("cpu", "nutcracker", 0.4), faster)
    else:
        musts = (Must("cpu", "redis", 0.95), Must("cpu", "nutcracker", 1.0), faster, Must("redis_cpu", "redis", 0.5))
    return Row(PASS_THROUGH, transport, command, pipeline, musts)


def cached(transport, command, pipeline, *musts, **more):
    return Row(CACHED, transport, command, pipeline, musts, warm=True, **more)


def on_and_off(setting, command, pipeline, **more):
    """What the cache costs where it wins nothing: no bounds, the ratios are shown."""
    musts = tuple(Must(figure, "sidecar", of="cached") for figure in ("cpu", "redis_cpu", "throughput"))
    return Row(setting, "tcp", command, pipeline, musts, **more)


def journalled(command, pipeline, **more):
    """What the journal costs on top of the cache: at most a tenth of the writes that go without both."""
    musts = (Must("throughput", "sidecar", 0.9, at_least=True, of="journalled"),
             Must("throughput", "cached", of="journalled"), Must("cpu", "cached", of="journalled"))
    return Row(JOURNALLED, "tcp", command, pipeline, musts, **more)


AS_FAST = Must("throughput", "redis", 1.0, at_least=True, of="cached")
MUCH_FASTER = dataclasses.replace(AS_FAST, aim=1.5)
FASTER_THAN_TCP = dataclasses.replace(AS_FAST, bound=1.2, aim=1.4)
AS_PROMPT = Must("p99", "redis", 1.0, of="cached")
# Over the Unix socket the direct Redis to beat is the one that an app without a sidecar has: over TCP.
REDIS_OVER_TCP = (("redis", "redis", "tcp"), ("redis over unix", "redis", "unix"))
# `redis` is the one from afar; without the way it tells what the way costs.
FROM_AFAR = (("redis", "redis", "away"), ("redis near", "redis", "tcp"))
HASH = ("HGETALL", "hash:__rand_int__")
ABSENT = ("GET", "absent:__rand_int__")

ROWS = (
    *(pass_through(transport, command, pipeline)
      for transport in ("tcp", "unix") for pipeline in (1, 16) for command in ("SET", "GET")),
    *(Row(CONNECTIONS, transport, "connect", musts=(Must("cpu", "redis", 1.0),)) for transport in ("tcp", "unix")),
    cached("tcp", "GET", 1, AS_FAST, AS_PROMPT),
    cached("tcp", "GET", 16, MUCH_FASTER),
    cached("unix", "GET", 1, FASTER_THAN_TCP, otherwise=REDIS_OVER_TCP),
    cached("unix", "GET", 16, otherwise=REDIS_OVER_TCP),
    cached("tcp", "HGETALL", 1, words=HASH),
    cached("tcp", "HGETALL", 16, words=HASH),
    *(on_and_off(MISSED, "GET", pipeline, keys=MANY_KEYS) for pipeline in (1, 16)),
    *(on_and_off(MISSED, "GET-absent", pipeline, words=ABSENT, keys=ABSENT_KEYS) for pipeline in (1, 16)),
    *(on_and_off(WRITTEN, "SET", pipeline) for pipeline in (1, 16)),
    *(journalled("SET", pipeline) for pipeline in (1, 16)),
    Row(AWAY, "tcp", "GET", clients=FEW_CLIENTS, warm=True, otherwise=FROM_AFAR,
        musts=tuple(Must(figure, "redis", of=name) for name in ("cached", "sidecar") for figure in ("p50", "p99"))),
)


def chosen(filters):
    """Rows whose name holds one of the comma-separated `filters`; all without any."""
    words = [word.lower() for word in filters.split(",")] if filters else [""]
    return [row for row in ROWS if any(word in row.name.lower() for word in words)]


def ratios(samples, name, other, figure):
    """`name`'s figure over `other`'s, round by round: neighbours in time share the machine's mood.

    In a direct row `redis_cpu` is Redis's own cost, so behind a proxy it compares with the direct one.
    """
    return [getattr(mine, figure) / getattr(theirs, figure)
            for mine, theirs in zip(samples[name], samples[other]) if getattr(theirs, figure) > 0]


def median(samples, figure):
    return statistics.median(getattr(sample, figure) for sample in samples)


def verdicts(row, samples):
    """(must, median ratio, lowest, highest) for each must that both targets were measured for."""
    found = []
    for must in row.musts:
        if must.of in samples and must.against in samples:
            of_rounds = ratios(samples, must.of, must.against, must.figure)
            found.append((must, statistics.median(of_rounds), min(of_rounds), max(of_rounds)))
    return found
