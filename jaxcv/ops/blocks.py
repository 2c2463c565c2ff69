"""How loops over parts of arrays are cut."""


def largest_divisor(number, most):
    """The largest divisor of number that is not above most, at least 1."""
    return next(n for n in range(max(min(number, most), 1), 0, -1) if number % n == 0)
