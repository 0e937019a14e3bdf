"""Amounts as people read them: in the largest unit in which they are not below one."""

from collections.abc import Sequence


def in_unit(value: float, units: Sequence[str], base: float = 1000.0) -> tuple[float, str]:
    """`value` in one of `units`, each of which is `base` of the one before it: (999.6, ("B", "kB")) is 0.9996 kB, for
    rounded to three digits it would be 1000 B.
    """
    for unit in units[:-1]:
        if value < base - base / 2000:
            return value, unit
        value /= base
    return value, units[-1]


def size(count: float) -> str:
    """Bytes with a unit of 1024, such as "1.5 MiB"."""
    value, unit = in_unit(count, ("B", "KiB", "MiB", "GiB"), 1024.0)
    digits = {"B": 0, "GiB": 2}.get(unit, 1)
    return f"{value:.{digits}f} {unit}"


def short(count: float) -> str:
    """With a prefix of 1000 and three digits, such as "1.5 M"."""
    value, unit = in_unit(count, ("", " k", " M", " G", " T"))
    return f"{value:.3g}{unit}"


def energy(picojoules: float) -> str:
    value, unit = in_unit(picojoules, ("pJ", "nJ", "uJ", "mJ", "J"))
    return f"{value:.3g} {unit}"


def short_time(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
