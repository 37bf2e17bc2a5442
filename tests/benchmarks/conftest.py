import sys
from pathlib import Path

# The benchmarks are run from that folder and not installed.
sys.path.append(str(Path(__file__).parents[2] / "kernels"))
