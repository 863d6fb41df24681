#!/usr/bin/env python3
"""data.py DIRECTORY FILES BYTES: makes a tree of text files, about BYTES in all, in folders of a hundred.

The text is made of words with the frequencies of a language, so that it compresses about as source code does; sizes vary as
those of source files do (most are small, a few large). The same arguments make the same bytes.
"""

import random
import sys
from pathlib import Path

WORDS, LINES, WORDS_A_LINE = 8_000, 200_000, 7


def lines(chance):
    letters = "etaoinshrdlucmfwypvbgkjqxz_"
    words = ["".join(chance.choices(letters, range(27, 0, -1), k=chance.randint(2, 12))) for _ in range(WORDS)]
    often = [1 / (rank + 3) for rank in range(WORDS)]
    text = chance.choices(words, often, k=LINES * WORDS_A_LINE)
    return [" ".join(text[at : at + WORDS_A_LINE]) for at in range(0, len(text), WORDS_A_LINE)]


def main():
    root, files, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(20_000)
    known = lines(chance)
    line_length = sum(map(len, known)) / len(known) + 1
    shares = [chance.lognormvariate(0, 1.2) for _ in range(files)]
    each = size / sum(shares) / line_length
    for number, share in enumerate(shares):
        folder = root / f"part{number // 100:03}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        text = chance.choices(known, k=round(share * each))
        (folder / f"file{number:05}.txt").write_text("\n".join([f"file {number}", *text, ""]))


main()
