"""First times at which a gap that is a polynomial of time closes.

Between two events every ball's path is quadratic, so the gap to a straight line is a quadratic and the squared gap to
a point or to another ball a quartic. Only *closing* roots matter: a gap that opens through zero is a ball leaving, not
a contact.
"""

from math import inf, sqrt

Quartic = tuple[float, float, float, float, float]  # coefficients, constant first


def quadratic_closing(c0: float, c1: float, c2: float, touching: float, deepest: float) -> float:
    """First t >= 0 at which c0 + c1 t + c2 t^2 falls through zero, or inf.

    Args:
        c0: The gap now: contact if below `touching`, an obstacle seen from behind if below -`deepest`.
        c1: Its rate.
        c2: Half its acceleration.
        touching: The largest gap, and the largest opening speed, that count as none.
        deepest: The deepest overlap that counts as contact.
    """
    if -deepest < c0 < touching and (c1 < 0 or (c1 < touching and c2 < 0)):
        return 0.0
    discriminant = c1 * c1 - 4 * c2 * c0
    if discriminant < 0:
        overlaps_still_when_closing = -deepest < c0 < 0 < c1
        return -0.5 * c1 / c2 if overlaps_still_when_closing else inf
    root = sqrt(discriminant)
    # Of both roots, the one where the slope is -root; each branch is the form without cancellation.
    if c1 < 0:
        time = 2 * c0 / (root - c1)
    elif c2 < 0:
        time = -(c1 + root) / (2 * c2)
    else:
        return inf
    return time if time >= 0 else inf


def quartic_closing(gap: Quartic, limit: float, touching: float) -> float:
    """First t in [0, limit] at which a quartic falls through zero, or inf.

    The Bernstein coefficients over [0, limit] bound the quartic from below and dismiss most candidates. Otherwise the
    roots of the second derivative split the first into monotone pieces, whose roots split the quartic, whose first
    falling piece is solved.

    Args:
        gap: Coefficients, constant first; 0 or less at t = 0 means contact or overlap.
        limit: End of the search, finite.
        touching: The largest gap(0), and the largest opening rate, that count as none.
    """
    c0, c1, c2, c3, c4 = gap
    if c0 < touching and (c1 < 0 or (c1 < touching and c2 < 0)):
        return 0.0
    q1, q2, q3, q4 = c1 * limit, c2 * limit**2, c3 * limit**3, c4 * limit**4
    if (
        c0 > 0
        and c0 + q1 / 4 > 0
        and c0 + q1 / 2 + q2 / 6 > 0
        and c0 + 0.75 * q1 + q2 / 2 + q3 / 4 > 0
        and c0 + q1 + q2 + q3 + q4 > 0
    ):
        return inf
    scaled = (c0, q1, q2, q3, q4)
    slope = (q1, 2 * q2, 3 * q3, 4 * q4, 0.0)
    turns = [0.0]
    for low, high in _pieces([0.0, *_quadratic_roots(2 * q2, 6 * q3, 12 * q4), 1.0]):
        if (_value(slope, low) > 0) != (_value(slope, high) > 0):
            turns.append(_bracketed(slope, low, high))
    for low, high in _pieces([*turns, 1.0]):
        before, after = _value(scaled, low), _value(scaled, high)
        if after <= 0 and after < before:  # an overlap that never opened counts from where it closes again
            return limit * (_bracketed(scaled, low, high) if before > 0 else low)
    return inf


def _pieces(points: list[float]) -> list[tuple[float, float]]:
    return list(zip(points[:-1], points[1:], strict=True))


def _value(c: Quartic, t: float) -> float:
    return c[0] + t * (c[1] + t * (c[2] + t * (c[3] + t * c[4])))


def _quadratic_roots(c0: float, c1: float, c2: float) -> list[float]:
    """The roots inside (0, 1), ascending."""
    discriminant = c1 * c1 - 4 * c2 * c0
    if discriminant <= 0:
        return []
    q = -0.5 * (c1 + sqrt(discriminant)) if c1 >= 0 else -0.5 * (c1 - sqrt(discriminant))
    roots = [c0 / q] if c2 == 0 else [q / c2, c0 / q]
    return sorted(root for root in roots if 0 < root < 1)


def _bracketed(c: Quartic, low: float, high: float) -> float:
    """The root between two points of different sign where c is monotone: Newton, or bisection outside the bracket."""
    c0, c1, c2, c3, c4 = c
    rising = _value(c, low) < 0
    t = 0.5 * (low + high)
    for _ in range(80):
        value = c0 + t * (c1 + t * (c2 + t * (c3 + t * c4)))
        if value == 0:
            return t
        if (value < 0) == rising:
            low = t
        else:
            high = t
        slope = c1 + t * (2 * c2 + t * (3 * c3 + t * 4 * c4))
        step = t - value / slope if slope else low
        nearer = step if low < step < high else 0.5 * (low + high)
        if abs(nearer - t) <= 1e-15 or not low < nearer < high:
            return nearer
        t = nearer
    return t
