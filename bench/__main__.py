"""`python -m bench [--quick] [--only NAME]` measures, prints a table, and keeps the full run's in docs/."""

import argparse
import sys

from bench import scenarios
from bench.world import world


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=scenarios.ALL, action="append")
    given = parser.parse_args()
    effort = scenarios.QUICK if given.quick else scenarios.FULL
    with world() as w:
        for name in given.only or scenarios.ALL:
            for row in scenarios.ALL[name](w, effort):
                print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
