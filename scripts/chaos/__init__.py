"""The parts of chaos.py and failover.py: a cluster to break, clients that watch, a judge."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
# What is broken is this tree's own product, over the ways that its tests use.
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests")]
