"""What is compared with what, and what must hold (the speed table of the design)."""

import dataclasses
import statistics

# How many requests of a pipelined row stand for one of an unpipelined row: about the same seconds of CPU.
PIPELINED_REQUESTS = 5
# And how many requests of an unpipelined row stand for one connection.
REQUESTS_A_CONNECTION = 20


@dataclasses.dataclass(frozen=True)
class Must:
    """The sidecar's figure over another target's: at most (or at least) `bound`."""

    figure: str
    against: str
    bound: float
    at_least: bool = False

    def met(self, ratio):
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    def __str__(self):
        return f"must {'>=' if self.at_least else '<='} {self.bound:g}"


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of questions, asked of every target in turn."""

    transport: str
    command: str
    pipeline: int = 1

    @property
    def name(self):
        return f"{self.transport}/{self.command}" + ("" if self.connects else f"/P{self.pipeline}")

    @property
    def connects(self):
        return self.command == "connect"

    def operations(self, requests):
        if self.connects:
            return max(1, requests // REQUESTS_A_CONNECTION)
        return requests * (PIPELINED_REQUESTS if self.pipeline > 1 else 1)

    @property
    def musts(self):
        if self.connects:
            return (Must("cpu", "redis", 1.0),)
        faster = Must("throughput", "nutcracker", 1.0, at_least=True)
        if self.pipeline > 1:
            return (Must("cpu", "redis", 0.8), Must("cpu", "nutcracker", 0.4), faster)
        return (Must("cpu", "redis", 0.95), Must("cpu", "nutcracker", 1.0), faster, Must("redis_cpu", "redis", 0.5))


ROWS = tuple(Row(transport, command, pipeline)
             for transport in ("tcp", "unix") for pipeline in (1, 16) for command in ("SET", "GET")
             ) + tuple(Row(transport, "connect") for transport in ("tcp", "unix"))


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
    """(must, median ratio, lowest, highest, met) for each must that both targets were measured for."""
    found = []
    for must in row.musts:
        if "sidecar" in samples and must.against in samples:
            of_rounds = ratios(samples, "sidecar", must.against, must.figure)
            middle = statistics.median(of_rounds)
            found.append((must, middle, min(of_rounds), max(of_rounds), must.met(middle)))
    return found
