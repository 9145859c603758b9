"""How the overview writes numbers, times and texts."""

from __future__ import annotations

NARROW_SPACE = "\u202f"


def dollars(cost: float) -> str:
    """Write a cost; small ones with more digits."""
    return f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${cost:.4f}" if cost >= 0.001 else f"${cost:.6f}"


def count(value: float) -> str:
    """Write a number as it is."""
    return f"{value:g}" if value < 1e4 else short(value)


def short(value: float) -> str:
    """Write a large number shortly: 1.2k, 3.4M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{letter}"
    return f"{value:g}"


def seconds(ms: float) -> str:
    """Write a time of so many milliseconds."""
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.3g} ms" if ms < 100 else f"{ms:.0f} ms"


def grouped(value: float) -> str:
    """Write a number in full, its thousands apart."""
    return f"{value:,.0f}".replace(",", NARROW_SPACE)


def cut(text: str, most: int) -> str:
    """Give at most so many characters of a text; an ellipsis says that there were more."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
