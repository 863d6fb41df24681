#!/usr/bin/env python3
"""change.py FOLDER FIRST OTHER...: makes further versions of a tree of text, beside it.

In each, every hundredth file has its lines in another order, so that it is another content of the same length that compresses as
well; all others are the same files under a second name, with the times that they had.
"""

import os
import random
import sys
from pathlib import Path


def main():
    folder, first, *others = Path(sys.argv[1]), sys.argv[2], *sys.argv[3:]
    files = sorted(path for path in (folder / first).rglob("*") if path.is_file())
    for other in others:
        chance = random.Random(other)
        for nth, path in enumerate(files):
            at = folder / other / path.relative_to(folder / first)
            at.parent.mkdir(parents=True, exist_ok=True)
            if nth % 100:
                os.link(path, at)
                continue
            lines = path.read_text().splitlines()
            chance.shuffle(lines)
            at.write_text("\n".join([*lines, ""]))


main()
