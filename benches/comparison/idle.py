"""What an idle client connection costs: resident memory a connection, with 10,000 of them held."""

import contextlib
import dataclasses
import resource

from .accounting import resident_bytes
from .load import fill, key
from .processes import Failed, ask, connect

CONNECTIONS = 10_000
# What a target needs besides: listeners, links, readiness probes, its runtime's descriptors.
SPARE = 200


@dataclasses.dataclass
class Idle:
    """One target's answer. Kernel memory of the sockets is not in it: it is the same for all."""

    name: str
    opened: int
    held: int
    bytes_each: float


def raise_descriptor_limit():
    """Lets this process, and what it starts from now on, open that many sockets."""
    needed = CONNECTIONS + 2 * SPARE
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Failed(f"the hard limit of open files is {hard}, needed are {needed}: raise it with ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def measure(stack, target):
    """Opens the connections, each used once (PING, GET of a full value), and asks all again after the weighing."""
    fill(stack.redis, None)
    address = target.addresses["tcp"]
    with contextlib.ExitStack() as open_now:
        def one(number):
            connection = open_now.enter_context(connect(address))
            ask(connection, "PING")
            ask(connection, "GET", key(number))
            return connection

        one(0)
        before = resident_bytes(target.pid)
        clients = [one(number) for number in range(CONNECTIONS - 1)]
        after = resident_bytes(target.pid)
        held = 1 + sum(answers(client) for client in clients)
    return Idle(target.name, CONNECTIONS, held, (after - before) / len(clients))


def answers(connection):
    try:
        ask(connection, "PING")
    except (OSError, Failed):
        return False
    return True
