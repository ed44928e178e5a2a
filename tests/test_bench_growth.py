"""The row of the benchmark that takes minutes, as a small one: it measures what it says."""

import json
import subprocess
import sys
from pathlib import Path

from support import ROOT

SMALL = ["--rounds", "1", "--seconds", "1", "--growth-numbers", "20000", "--growth-gaps", "200"]


def test_a_grown_counter_is_measured_beside_a_fresh_one(tmp_path: Path) -> None:
    kept = tmp_path / "run.json"
    script = [sys.executable, ROOT / "scripts" / "bench.py"]
    words = ["--only", "growth", *SMALL, "--json", kept]
    done = subprocess.run(
        [*script, *words], check=False, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert "20,000 numbers, 199 gaps" in done.stdout
    found = json.loads(kept.read_text(encoding="utf-8"))
    assert not found["not_measured"]
    assert len(found["truths"]) == 2
    assert all(truth["ok"] for truth in found["truths"]), found["truths"]
