"""Tiny films of a green table with discs for balls, drawn without the renderer."""

import numpy as np

SIZE = (90, 160)
CLOTH, WALL = (30, 120, 60), (60, 50, 50)
WHITE, RED = (240, 240, 235), (200, 30, 30)


def table(balls, arm=None):
    """A frame: balls are (x, y, colour); an arm is the column to which it reaches from the left."""
    frame = np.empty((*SIZE, 3), np.uint8)
    frame[:] = WALL
    frame[10:80, 15:145] = CLOTH
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for x, y, color in balls:
        frame[(rows - y) ** 2 + (columns - x) ** 2 <= 3.2**2] = color
    if arm is not None:
        frame[50:58, :arm] = (220, 180, 150)
    return frame


def struck(seconds, strike, start=(40.0, 40.0), speed=60.0, rests_after=1.2):
    """Balls at a time: the white one is struck at second ``strike`` and rolls to the right for a while."""
    way = speed * min(max(seconds - strike, 0.0), rests_after)
    return [(start[0] + way, start[1], WHITE), (100, 65, RED), (60, 25, RED)]


def film(length, strikes, rate=10, arm=None):
    """Frames and their times in hundredths of a second; between two strokes the film cuts to a black picture."""
    frames, times = [], []
    for k in range(round(length * rate)):
        seconds = k / rate
        latest = max((s for s in strikes if seconds >= s - 3), default=strikes[0])
        frames.append(table(struck(seconds, latest, (40.0, 40.0 - 6 * (strikes.index(latest) % 3))), arm))
        times.append(round(100 * seconds))
    return np.stack(frames), times
