"""How a comparison is shown: a table for the terminal, Markdown for RESULTS.md, JSON with every sample."""

import dataclasses
import datetime
import json
import os
import platform
import re
import statistics
import subprocess

from .load import VALUE_BYTES
from .processes import CACHE_OFF, CACHE_ON
from .rows import CLIENTS, KEYS, SETTINGS, median, ratios, verdicts

HEADER = ("target", "ops/s", "p50 ms", "p99 ms", "CPU µs/op", "Redis behind µs/op")
FIGURES = {"cpu": "CPU", "throughput": "throughput", "redis_cpu": "Redis's own CPU behind the sidecar", "p50": "p50",
           "p99": "p99"}
SHORT = {"cpu": "CPU"}
# Of the reads in a row of hits.
WARM = 0.99


def version(command, pattern):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "unknown"


def surroundings(root, arguments, targets):
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
        "load at the start": f"{os.getloadavg()[0]:.1f} (average of a minute)",
        "redis": version(["redis-server", "--version"], r"v=(\S+)"),
        "load": f"redis-benchmark -c {CLIENTS} -d {VALUE_BYTES} -r {KEYS}, {arguments.rounds} rounds, "
                f"{arguments.requests} requests unpipelined",
        "cache": f"sidecar {CACHE_OFF}, cached {CACHE_ON}, all else by default",
    }
    if "nutcracker" in targets:
        facts["nutcracker"] = version(["nutcracker", "--version"], r"nutcracker-(\S+)")
    return facts


def table(row, samples):
    """The cells of one row's table, the medians of its rounds."""
    columns = [(figure, other) for figure, other in row.setting.columns if other in samples]
    counted = any(sample.hits is not None for of_rounds in samples.values() for sample in of_rounds)
    lines = [HEADER + ("hits",) * counted + tuple(f"{SHORT.get(figure, figure)} / {other}" for figure, other in columns)]
    for name, of_rounds in samples.items():
        behind = "" if row.target(name) == "redis" else f"{median(of_rounds, 'redis_cpu'):.2f}"
        against = [ratio_cell(samples, name, other, figure) for figure, other in columns]
        lines.append((name, f"{median(of_rounds, 'throughput'):,.0f}", f"{median(of_rounds, 'p50'):.3f}",
                      f"{median(of_rounds, 'p99'):.3f}", f"{median(of_rounds, 'cpu'):.2f}", behind,
                      *[hits_cell(of_rounds)] * counted, *against))
    return lines


def hits_cell(samples):
    return "" if samples[0].hits is None else f"{median(samples, 'hits'):.1%}"


def ratio_cell(samples, name, other, figure):
    return "" if name == other else f"{statistics.median(ratios(samples, name, other, figure)):.2f}"


def judgements(row, samples):
    lines = [f"{must.of} / {must.against}, {FIGURES[must.figure]}: {middle:.2f} ({lowest:.2f}..{highest:.2f})"
             f"{must.verdict(middle)}" for must, middle, lowest, highest in verdicts(row, samples)]
    if {"redis", "redis near"} <= samples.keys():
        added = [far.p50 - near.p50 for far, near in zip(samples["redis"], samples["redis near"])]
        lines.append(f"the way there and back adds {statistics.median(added):.3f} ms ({min(added):.3f}..{max(added):.3f})")
    coldest = min((sample.hits for of_rounds in samples.values() for sample in of_rounds if sample.hits is not None),
                  default=None)
    if row.warm and coldest is not None and coldest < WARM:
        lines.append(f"NOT WARM: only {coldest:.1%} of the reads of one round were hits")
    return lines


def busy_note(samples):
    """How much of the machine others took; above a tenth the row is doubtful."""
    shares = [sample.others for of_rounds in samples.values() for sample in of_rounds]
    share = statistics.median(shares)
    return f"others on the machine: {share:.0%}, at worst {max(shares):.0%}" + (" (noisy)" if share > 0.1 else "")


def text(row, samples):
    lines = table(row, samples)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = [f"{row.name}   {busy_note(samples)}"]
    for line in lines:
        cells = [cell.ljust(width) if column == 0 else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(line, widths))]
        shown.append("  " + "  ".join(cells))
    return "\n".join(shown + ["  " + line for line in judgements(row, samples)]) + "\n"


def markdown(facts, results, idle):
    lines = ["# Results", "", "Written by `benches/compare --markdown`; how to read it: [README.md](README.md).", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    for setting in SETTINGS:
        of_setting = [(row, placement, samples) for row, placement, samples in results if row.setting is setting]
        if of_setting:
            lines += ["", f"## {setting.title}", "", f"Placement: {of_setting[0][1]}."]
        for row, _, samples in of_setting:
            lines += ["", f"### {row.name}", ""] + markdown_table(table(row, samples)) + ["", busy_note(samples)]
            found = judgements(row, samples)
            lines += [""] + [f"- {line}" for line in found] if found else []
    if idle:
        lines += ["", "## Idle connections", ""] + [f"- {line}" for line in idle_lines(idle)]
    return "\n".join(lines) + "\n"


def markdown_table(cells):
    header = ["| " + " | ".join(cells[0]) + " |", "|---|" + "---:|" * (len(cells[0]) - 1)]
    return header + ["| " + " | ".join(line) + " |" for line in cells[1:]]


def idle_lines(idle):
    lines = []
    for found in idle:
        met = f", must <= 8192: {'met' if found.bytes_each <= 8192 else 'NOT MET'}" if found.name == "sidecar" else ""
        lines.append(f"{found.name}: {found.held:,} of {found.opened:,} connections held, "
                     f"{found.bytes_each:,.0f} bytes of resident memory each{met}")
    return lines


def as_json(facts, results, idle):
    rows = {row.name: {name: [dataclasses.asdict(sample) for sample in of_rounds]
                       for name, of_rounds in samples.items()} for row, _, samples in results}
    return json.dumps({"facts": facts, "rows": rows, "idle": [dataclasses.asdict(found) for found in idle]}, indent=1)
