"""What is measured once and not against a rival: the time to start, and the memory of a node."""

from __future__ import annotations

import signal
import statistics
import subprocess
import time
from pathlib import Path

from bench.lab import ROOT, BenchError, Lab, Reading, free_ports, get_json, process, wait_until
from bench.loads import wrk
from bench.progress import say
from bench.servers import etcd, node
from bench.tally import NEXT, STATS, Tally

PREPARE_SECONDS_MAX = 600.0  # the first start may install everything
READY_SECONDS_MAX = 90.0
IDLE_SETTLE_SECONDS = 3.0
FILL_SECONDS_MAX = 240.0
NODES = 4  # the nodes of a start take this many neighbouring ports


def start_to_ready(lab: Lab) -> None:
    """Measure START-POC.sh from call to `READY`, the environment already made, a fresh cluster."""
    if not (ROOT / "START-POC.sh").exists():
        raise BenchError("START-POC.sh does not exist here")
    say("  one start that is not measured: it may make the environment")
    _start(lab, PREPARE_SECONDS_MAX)
    times: list[tuple[float, float]] = []
    for _ in range(lab.rounds):
        times.append(_start(lab, READY_SECONDS_MAX))
        lab.progress.sampled("start", f"{times[-1][0]:.2f} s to READY")
    each = " ".join(f"{started:.2f}" for started, _ in times)
    lab.record(
        "start",
        Reading("start to READY", statistics.median(s for s, _ in times), "s", f"each: {each}"),
    )
    each = " ".join(f"{stopped:.2f}" for _, stopped in times)
    lab.record(
        "stop",
        Reading("SIGTERM to gone", statistics.median(s for _, s in times), "s", f"each: {each}"),
    )


def _start(lab: Lab, seconds_max: float) -> tuple[float, float]:
    """Start a fresh cluster and stop it; returns the seconds that both took."""
    argv = [
        *(str(ROOT / "START-POC.sh"), "--no-browser", "--port", str(free_ports(NODES))),
        *("--data-dir", str(lab.new_folder("poc"))),
    ]
    began = time.monotonic()
    with process(lab, "start", argv) as running:
        wait_until(
            lambda: any(line.startswith(b"READY") for line in running[1].open("rb")),
            running,
            "START-POC.sh",
            seconds_max,
        )
        started, began = time.monotonic() - began, time.monotonic()
        running[0].send_signal(signal.SIGTERM)
        try:
            running[0].wait(30)
        except subprocess.TimeoutExpired:
            raise BenchError("START-POC.sh did not stop within 30 s of SIGTERM") from None
        return started, time.monotonic() - began


def memory(lab: Lab) -> None:
    """Measure a node's memory when idle, and after it has handed out `lab.numbers` numbers."""
    wanted = lab.sizes.memory_numbers
    with etcd(lab) as etcd_port, node(lab, etcd_port) as (port, pid):
        time.sleep(IDLE_SETTLE_SECONDS)
        for key, reading in _memory_of(pid, "idle"):
            lab.record(key, reading)
        tally, counter = Tally(lab, [port], [etcd_port]), 0
        deadline = time.monotonic() + FILL_SECONDS_MAX
        while counter < wanted and time.monotonic() < deadline:
            tally.measure(
                lambda: wrk(lab, port, NEXT, lab.connections, lab.seconds), lab.connections
            )
            counter = int(get_json(port, STATS)["currentCounter"])
            lab.progress.sampled("memory", f"{counter:,} of {wanted:,} numbers")
        for key, reading in _memory_of(pid, f"after {counter:,} numbers"):
            lab.record(f"{key}-loaded", reading)
        tally.verify("memory")
        if counter < wanted:
            raise BenchError(f"only {counter:,} numbers in {FILL_SECONDS_MAX:g} s")


def _memory_of(pid: int, when: str) -> list[tuple[str, Reading]]:
    """Read resident memory; on Linux also what is shared fairly (PSS) and what is its own (USS)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    if not rollup.exists():
        said = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True
        )
        return [("rss", Reading(f"node {when}: RSS", int(said.stdout) * 1024 / 1e6, "MB"))]
    kib: dict[str, int] = {}
    for line in rollup.read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        kib[name.rstrip(":")] = int(value)
    megabytes = {
        "rss": kib["Rss"],
        "pss": kib["Pss"],
        "uss": kib["Private_Clean"] + kib["Private_Dirty"],
    }
    return [
        (key, Reading(f"node {when}: {key.upper()}", value * 1024 / 1e6, "MB"))
        for key, value in megabytes.items()
    ]
