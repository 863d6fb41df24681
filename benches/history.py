#!/usr/bin/env python3
"""history.py: prints a history for `git fast-import`: 1,500 files of text, and 4,000 commits that change a few lines of four each.

The same history each time, so that its packs are the same too.
"""

import random
import sys

FILES, COMMITS, CHANGED = 1_500, 4_000, 4


def main():
    chance, out = random.Random(3), sys.stdout.buffer
    words = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(3, 9))) for _ in range(3_000)]

    def line():
        return " ".join(chance.choices(words, k=9))

    files = {f"d{n % 40:02}/f{n:04}.txt": [line() for _ in range(chance.randint(20, 400))] for n in range(FILES)}
    for number in range(COMMITS):
        changed = files if number == 0 else chance.sample(list(files), CHANGED)
        out.write(b"commit refs/heads/main\ncommitter x <x@x> %d +0000\ndata 1\nx\n" % (1_700_000_000 + number))
        for path in changed:
            if number > 0:
                lines = files[path]
                at = chance.randrange(len(lines))
                lines[at] = line()
                if chance.random() < 0.3:
                    lines.insert(at, line())
            text = "\n".join(files[path]).encode()
            out.write(b"M 644 inline %s\ndata %d\n%s\n" % (path.encode(), len(text), text))


main()
