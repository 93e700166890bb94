"""Runs a campaign against the folders of runs: ``python -m tests.campaign kills --count 200 --seed 0 --out /tmp/c``.

It is run by hand, prints at its end how many cases ended how, and exits with 1 if one was bad.
"""

import argparse
import signal
import sys
from pathlib import Path

from .damage import flips, truncations
from .disk import clock, disk, pairs, read_only
from .fuzz import fuzz
from .hostile import hostile
from .kills import kills, moments
from .tally import Tally

CAMPAIGNS = {
    "kills": (kills, 200),
    "moments": (moments, 1000),
    "flips": (flips, 2000),
    "truncations": (truncations, 200),
    "disk": (disk, 1000),
    "read-only": (read_only, 1),
    "clock": (clock, 10),
    "pairs": (pairs, 40),
    "fuzz": (fuzz, 1_000_000),
    "hostile": (hostile, 3000),
}
HARM = ("truncations", "disk", "read-only", "clock", "pairs")


def main() -> int:
    """Run what the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__.splitlines()[0])
    parser.add_argument("campaign", choices=[*CAMPAIGNS, "harm"])
    parser.add_argument("--count", type=int, help="cases; each campaign has a default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to go on after an earlier part")
    parser.add_argument("--out", type=Path, required=True, help="folder of the campaign")
    given = parser.parse_args()
    out = given.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    tally = Tally(out)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as `timeout` sends it: what there is so far is printed
    try:
        for name in HARM if given.campaign == "harm" else (given.campaign,):
            campaign, count = CAMPAIGNS[name]
            campaign(tally, count=given.count or count, seed=given.seed, first=given.first)
    except KeyboardInterrupt:
        print(f"stopped in case {tally.case}: go on with --first {tally.case}")
    print("\n".join(tally.table()))
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
