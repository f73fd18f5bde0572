"""A way to Redis that takes its time: `python3 relay.py HOST:PORT UPSTREAM_HOST:PORT SECONDS`, each way.

It is a program of its own, for a few clients without pipelines: what comes in waits for its time and goes out in order.
"""

import collections
import ctypes
import select
import socket
import sys
import time

# From <linux/prctl.h>; the default lets a sleep be 50 microseconds longer than asked for.
PR_SET_TIMERSLACK = 29
CHUNK = 65536


def main(listen, upstream, pause):
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)
    host, port = listen.rsplit(":", 1)
    listener = socket.create_server((host, int(port)))
    host, port = upstream.rsplit(":", 1)
    peers = {}
    waiting = collections.deque()
    while True:
        timeout = max(0.0, waiting[0][0] - time.perf_counter()) if waiting else None
        readable, _, _ = select.select([listener, *peers], [], [], timeout)
        now = time.perf_counter()
        while waiting and waiting[0][0] <= now:
            _, to, data = waiting.popleft()
            if to in peers:
                send(peers, to, data)
        for ready in readable:
            if ready is listener:
                client = listener.accept()[0]
                link = socket.create_connection((host, int(port)))
                for one, other in ((client, link), (link, client)):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    peers[one] = other
            elif ready in peers:
                data = receive(ready)
                if data:
                    waiting.append((time.perf_counter() + pause, peers[ready], data))
                else:
                    close(peers, ready)


def receive(connection):
    try:
        return connection.recv(CHUNK)
    except OSError:
        return b""


def send(peers, connection, data):
    try:
        connection.sendall(data)
    except OSError:
        close(peers, connection)


def close(peers, connection):
    """Both ends at once: what was under way is lost, as with a way that breaks."""
    other = peers.pop(connection)
    peers.pop(other, None)
    connection.close()
    other.close()


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
    except KeyboardInterrupt:
        pass
