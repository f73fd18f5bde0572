"""What a process cost, from the kernel's own books.

CPU comes from the process's CPU-time clock: the scheduler's `sum_exec_runtime` in nanoseconds over all threads, the
same counter as `/proc/PID/task/*/schedstat`, but threads that have ended stay in it. `utime + stime` of `/proc/PID/stat`
is that number cut down to clock ticks of 10 ms. Work that the kernel does in a process's name counts as its own, which
for loopback TCP includes delivery to the receiver: what a process *sends* is dear, and few big writes are cheap.
"""

import dataclasses
import os
import time

# CPUCLOCK_SCHED in the kernel's encoding of a per-process clock id (include/linux/posix-timers_types.h).
CPU_CLOCK_OF_PROCESS = 2


def cpu_seconds(pid):
    """CPU time that all threads of `pid` have used, the ended ones included."""
    return time.clock_gettime((~pid << 3) | CPU_CLOCK_OF_PROCESS)


def resident_bytes(pid):
    """Resident memory, counted page by page (VmRSS of `status` lags by some pages a CPU)."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"no Rss for process {pid}")


@dataclasses.dataclass
class Machine:
    """Busy and stolen CPU time of the whole machine so far, in seconds."""

    busy: float
    stolen: float
    at: float

    @classmethod
    def now(cls):
        with open("/proc/stat", encoding="ascii") as stat:
            ticks = [int(word) for word in stat.readline().split()[1:9]]
        user, nice, system, _idle, _iowait, irq, softirq, steal = ticks
        tick = os.sysconf("SC_CLK_TCK")
        return cls((user + nice + system + irq + softirq) / tick, steal / tick, time.monotonic())

    def others_share(self, after, ours):
        """Share of the machine taken between `self` and `after` by anyone but us (`ours`: our CPU seconds)."""
        taken = (after.busy - self.busy) + (after.stolen - self.stolen) - ours
        return max(0.0, taken / ((after.at - self.at) * os.cpu_count()))
