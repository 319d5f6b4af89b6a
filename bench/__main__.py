"""Measures, prints, and keeps the full run's figures in docs/.

`python -m bench` runs everything · `--quick` takes a look of three minutes · `--only NAME` runs one part.
"""

import argparse
import sys
from collections.abc import Sequence

from bench import report, scenarios
from bench.measuring import Figures
from bench.world import versions, world


def main() -> int:
    given = _arguments()
    effort = scenarios.QUICK if given.quick else scenarios.FULL
    rows: list[Figures] = []
    with world() as one:
        where = report.surroundings(*versions(one))
        print("  ".join(f"{name} {value}" for name, value in where.items()))
        for name in given.only or scenarios.ALL:
            print(f"\n{name}: {scenarios.ALL[name].__doc__}\n{report.header()}", flush=True)
            for row in scenarios.ALL[name](one, effort):
                rows.append(row)
                print(report.line(row), flush=True)
    _tell("goals", report.summary(rows))
    if not given.quick and not given.only:
        report.keep(rows, where, [])
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway.")
    parser.add_argument("--quick", action="store_true", help="a look of three minutes")
    parser.add_argument("--only", action="append", choices=list(scenarios.ALL), help="one part; may be repeated")
    return parser.parse_args()


def _tell(title: str, lines: Sequence[str]) -> None:
    print(f"\n{title}", *lines, sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
