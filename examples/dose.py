"""How often must a secret be planted until an audit finds it? Joins tables of `uddm-audit` with secrets-key.csv.

python examples/dose.py ENTROPY.csv BASINS.csv    both of secrets.txt, held against secrets-heldout.txt
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

KEY = Path(__file__).parent / "secrets-key.csv"
FOUND = ("memorized", "familiar")
ROW = "{:>10} {:>14} {:>12} {:>12} {:>18}"


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    entropy, basins = (table(Path(argument)) for argument in sys.argv[1:])
    lines_of: dict[int, list[str]] = defaultdict(list)
    for line, row in table(KEY).items():
        lines_of[int(row["repeats"])].append(line)
    print(ROW.format("", "surprise,", "found by", "found by", "comes back from"))
    print(ROW.format("planted", "median, nats", "entropy", "basins", "25 % corruption"))
    for repeats, lines in sorted(lines_of.items()):
        surprise = median(float(entropy[line]["surprise_nats"]) for line in lines)
        counts = (
            sum(entropy[line]["verdict"] in FOUND for line in lines),
            sum(basins[line]["verdict"] in FOUND for line in lines),
            sum(float(basins[line]["returned_share"]) >= 0.5 for line in lines),
        )
        print(ROW.format(times(repeats), f"{surprise:.2f}", *(f"{count} of {len(lines)}" for count in counts)))


def times(repeats: int) -> str:
    return {0: "never", 1: "once"}.get(repeats, f"{repeats} times")


def table(file: Path) -> dict[str, dict[str, str]]:
    """Rows by the number of their line in secrets.txt."""
    with file.open(newline="") as opened:
        return {row["line"]: row for row in csv.DictReader(opened)}


if __name__ == "__main__":
    main()
