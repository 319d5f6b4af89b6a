"""Measures, prints the results, and writes those of a full run to docs/.

`python -m bench` runs everything · `--quick` takes three minutes (for two commits) · `--only NAME` runs one suite.
"""

import argparse
import sys
from collections.abc import Sequence

from bench import report, scenarios
from bench.measuring import Measurement
from bench.protocol import Message
from bench.suites import SUITES
from bench.world import versions, world


def main() -> int:
    given = _arguments()
    names = [name for name in given.only or (*scenarios.ALL, *SUITES) if name not in given.skip]
    rows, where = _measured([name for name in names if name in scenarios.ALL], given.quick)
    _print_section("gateway, hot path", report.hot_path(rows))
    _print_section("goals", report.summary(rows))
    other = [_suite(name, given.quick) for name in names if name in SUITES and (given.only or not given.quick)]
    if not given.quick and not given.only:
        report.keep(rows, where, [each for each in other if each["text"]])
    return 0


def _measured(names: Sequence[str], quick: bool) -> tuple[list[Measurement], dict[str, str]]:
    effort = scenarios.QUICK if quick else scenarios.FULL
    rows: list[Measurement] = []
    if not names:
        return rows, {}
    with world() as one:
        where = report.surroundings(*versions(one))
        print("  ".join(f"{name} {value}" for name, value in where.items()))
        for name in names:
            if name == "limit" and not effort.beyond:
                continue
            print(f"\n{name}: {scenarios.ALL[name].__doc__}\n{report.header()}", flush=True)
            for row in scenarios.ALL[name](one, effort):
                rows.append(row)
                print(report.line(row), flush=True)
    return rows, where


def _suite(name: str, quick: bool) -> Message:
    suite = SUITES[name]
    if not suite.available:
        return {"title": suite.title, "text": ""}
    print(f"\n{name}: {suite.title}", flush=True)
    return suite.run(quick)


def _arguments() -> argparse.Namespace:
    names = [*scenarios.ALL, *SUITES]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway.")
    parser.add_argument("--quick", action="store_true", help="about three minutes, to compare two commits")
    parser.add_argument("--only", action="append", choices=names, help="one part; may be repeated")
    parser.add_argument("--skip", action="append", choices=names, default=[], help="leave a part out")
    return parser.parse_args()


def _print_section(title: str, lines: Sequence[str]) -> None:
    if lines:
        print(f"\n{title}", *lines, sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
