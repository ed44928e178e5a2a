"""The script that measures how the page bears a load says all of its figures."""

import re
import subprocess
import sys

from conftest import Cluster
from support import ROOT
from test_dashboard import chromium


def test_it_measures_a_page_of_a_cluster_that_runs(cluster4: Cluster) -> None:
    script = ROOT / "scripts" / "page_load.py"
    words = ["--seconds", "2", "--at", "#latency", "--chromium", chromium()]
    urls = [word for url in cluster4.urls for word in ("--url", url)]
    done = subprocess.run(
        [sys.executable, script, *words, *urls],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    frames = re.search(r"frames a second   ([\d.]+) \((\d+) in ([\d.]+) s\)", done.stdout)
    assert frames is not None
    rate, count, seconds = map(float, frames.groups())
    rounded = 0.05  # both are printed with one decimal
    assert count / (seconds + rounded) - rounded < rate < count / (seconds - rounded) + rounded
    for figure in (r"median [\d.]+, p99", r"[\d.]+% of a proc", r"[\d.]+ MiB", r"\d+ at the end"):
        assert re.search(figure, done.stdout), done.stdout
