"""Whole clusters in one process, in virtual time, from a seed.

Real: the sequencer, the replica, the rule about lost replies, the reads, the plan. Simulated: the
network, the clocks, the processes and the clients. `world` runs one schedule, `oracle` judges it.
"""

import sys
from pathlib import Path

# The code beside this package is what is simulated, whatever else may be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
