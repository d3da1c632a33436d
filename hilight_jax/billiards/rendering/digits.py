"""A small bitmap font for the numbers on balls and score banners: five columns by seven rows a digit."""

import numpy as np

_DIGITS = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
}


def bitmap(number: str) -> np.ndarray:
    """The digits of ``number`` side by side, one empty column between them, bool [7, 6 n - 1]."""
    digits = [np.array([list(map(int, row)) for row in _DIGITS[digit].split()], bool) for digit in number]
    return np.concatenate([np.pad(digit, ((0, 0), (0, 1))) for digit in digits], 1)[:, :-1]
