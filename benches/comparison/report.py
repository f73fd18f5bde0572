"""How a comparison is shown: a table for the terminal, Markdown for RESULTS.md, JSON with every sample."""

import dataclasses
import datetime
import json
import os
import platform
import re
import statistics
import subprocess

from .load import CLIENTS, KEYS, VALUE_BYTES
from .rows import median, ratios, verdicts

HEADER = ("target", "ops/s", "p50 ms", "p99 ms", "CPU µs/op", "Redis behind µs/op", "CPU / redis", "CPU / nutcracker")
FIGURES = {"cpu": "CPU", "throughput": "throughput", "redis_cpu": "Redis's own CPU behind the sidecar"}


def version(command, pattern):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "unknown"


def surroundings(root, arguments, targets, placement):
    """Machine, date, commit, versions: what a number means nothing without."""
    model = version(["cat", "/proc/cpuinfo"], r"model name\s*:\s*(.+)")
    commit = version(["git", "-C", root, "rev-parse", "--short=12", "HEAD"], r"([0-9a-f]{7,})")
    dirty = subprocess.run(["git", "-C", root, "status", "--porcelain", "--untracked-files=no"],
                           capture_output=True, text=True, check=False).stdout.strip()
    # A binary that was handed in may come from any commit.
    built = " (the scripts; the sidecar was built elsewhere)" if arguments.binary else ""
    facts = {
        "machine": f"{os.cpu_count()} cores, {model}, Linux {platform.release()}",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit + (" with uncommitted changes" if dirty else "") + built,
        "placement": str(placement),
        "redis": version(["redis-server", "--version"], r"v=(\S+)"),
        "load": f"redis-benchmark -c {CLIENTS} -d {VALUE_BYTES} -r {KEYS}, {arguments.rounds} rounds, "
                f"{arguments.requests} requests unpipelined",
    }
    if "nutcracker" in targets:
        facts["nutcracker"] = version(["nutcracker", "--version"], r"nutcracker-(\S+)")
    return facts


def table(samples):
    """The cells of one row's table, the medians of its rounds."""
    lines = [HEADER]
    for name, of_rounds in samples.items():
        behind = "" if name == "redis" else f"{median(of_rounds, 'redis_cpu'):.2f}"
        against = [ratio_cell(samples, name, other) for other in ("redis", "nutcracker")]
        lines.append((name, f"{median(of_rounds, 'throughput'):,.0f}", f"{median(of_rounds, 'p50'):.3f}",
                      f"{median(of_rounds, 'p99'):.3f}", f"{median(of_rounds, 'cpu'):.2f}", behind, *against))
    return lines


def ratio_cell(samples, name, other):
    if name == other or other not in samples:
        return ""
    return f"{statistics.median(ratios(samples, name, other, 'cpu')):.2f}"


def judgements(row, samples):
    return [f"sidecar / {must.against}, {FIGURES[must.figure]}: {middle:.2f} ({lowest:.2f}..{highest:.2f}), {must}: "
            f"{'met' if met else 'NOT MET'}" for must, middle, lowest, highest, met in verdicts(row, samples)]


def busy_note(samples):
    """How much of the machine others took; above a tenth the row is doubtful."""
    shares = [sample.others for of_rounds in samples.values() for sample in of_rounds]
    share = statistics.median(shares)
    return f"others on the machine: {share:.0%}, at worst {max(shares):.0%}" + (" (noisy)" if share > 0.1 else "")


def text(row, samples):
    lines = table(samples)
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    shown = [f"{row.name}   {busy_note(samples)}"]
    for line in lines:
        cells = [cell.ljust(width) if column == 0 else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(line, widths))]
        shown.append("  " + "  ".join(cells))
    return "\n".join(shown + ["  " + line for line in judgements(row, samples)]) + "\n"


def markdown(facts, results, idle):
    lines = ["# Results", "", "Written by `benches/compare --markdown`; how to read it: [README.md](README.md).", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    for row, samples in results:
        cells = table(samples)
        lines += ["", f"## {row.name}", "", "| " + " | ".join(cells[0]) + " |", "|---|" + "---:|" * (len(HEADER) - 1)]
        lines += ["| " + " | ".join(line) + " |" for line in cells[1:]]
        lines += ["", busy_note(samples)]
        lines += [""] + [f"- {line}" for line in judgements(row, samples)] if judgements(row, samples) else []
    if idle:
        lines += ["", "## Idle connections", ""] + [f"- {line}" for line in idle_lines(idle)]
    return "\n".join(lines) + "\n"


def idle_lines(idle):
    lines = []
    for found in idle:
        met = f", must <= 8192: {'met' if found.bytes_each <= 8192 else 'NOT MET'}" if found.name == "sidecar" else ""
        lines.append(f"{found.name}: {found.held:,} of {found.opened:,} connections held, "
                     f"{found.bytes_each:,.0f} bytes of resident memory each{met}")
    return lines


def as_json(facts, results, idle):
    rows = {row.name: {name: [dataclasses.asdict(sample) for sample in of_rounds]
                       for name, of_rounds in samples.items()} for row, samples in results}
    return json.dumps({"facts": facts, "rows": rows, "idle": [dataclasses.asdict(found) for found in idle]}, indent=1)
