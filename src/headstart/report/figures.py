"""Numbers as people read them, the same on every machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = [
    "DASH",
    "METRICS",
    "Metric",
    "count",
    "difference",
    "difference_tick",
    "duration",
    "fixed",
    "measured",
    "metric",
    "metric_tick",
    "p_value",
    "percent",
    "places",
    "plain",
    "portion",
    "signed",
    "tick",
]

DASH = "–"
MINUS = "\u2212"


@dataclass(frozen=True)
class Metric:
    """How a metric is called and written."""

    title: str
    share: bool = False
    """A share of something, shown in percent."""
    lower_is_better: bool = False

    @property
    def lower(self) -> str:
        """The title inside a sentence; abbreviations and names keep their capitals."""
        first, _, rest = self.title.partition(" ")
        return " ".join([first.lower() if first[1:].islower() else first, *([rest] if rest else [])])


METRICS = {
    "accuracy": Metric("Accuracy", share=True),
    "balanced_accuracy": Metric("Balanced accuracy", share=True),
    "macro_f1": Metric("Macro F1", share=True),
    "micro_f1": Metric("Micro F1", share=True),
    "subset_accuracy": Metric("All labels right", share=True),
    "average_precision": Metric("Average precision", share=True),
    "macro_average_precision": Metric("Mean average precision", share=True),
    "log_loss": Metric("Log loss", lower_is_better=True),
    "ece": Metric("Calibration error (ECE)", share=True, lower_is_better=True),
    "brier": Metric("Brier score", lower_is_better=True),
    "mae": Metric("Mean absolute error", lower_is_better=True),
    "rmse": Metric("Root mean squared error", lower_is_better=True),
    "r2": Metric("R²"),
}


def metric(name: str) -> Metric:
    """The words of a metric; an unknown one keeps its own name."""
    return METRICS.get(name) or Metric(name.replace("_", " ").strip().capitalize() or "Metric")


def plain(value: float | None, digits: int = 3) -> str:
    """A number with about so many significant digits, never in another notation for common sizes.

    >>> plain(0.41234), plain(-1234.5), plain(None)
    ('0.412', '−1,234', '–')
    """
    if value is None or not math.isfinite(value):
        return DASH
    size = abs(value)
    if size >= 10 ** (digits - 1):
        text = f"{value:,.0f}" if size < 1e12 else f"{value:.{digits - 1}e}"
    elif size >= 1e-4:
        text = f"{value:.{digits - 1 - math.floor(math.log10(size))}f}"
    else:
        text = "0" if size == 0 else f"{value:.{digits - 1}e}"
    return text.replace("-", MINUS)


def count(value: float | None) -> str:
    """A whole number with thousands apart."""
    return DASH if value is None or not math.isfinite(value) else f"{int(value):,}".replace("-", MINUS)


def percent(share: float | None, decimals: int = 1) -> str:
    """A share in [0, 1] as percent."""
    return DASH if share is None or not math.isfinite(share) else f"{100 * share:z.{decimals}f}%".replace("-", MINUS)


def portion(share: float) -> str:
    """A share of a whole as percent; none and all are said only where they are exact."""
    if 0 < share < 0.0005:
        return "< 0.1%"
    return "> 99.9%" if 0.9995 < share < 1 else percent(share)


def signed(text: str) -> str:
    """A written number with its sign, plus included."""
    return text if text.startswith((MINUS, DASH)) else f"+{text}"


def measured(name: str, value: float | None) -> str:
    """A metric's value in its own notation."""
    return percent(value) if metric(name).share else plain(value)


def difference(name: str, value: float | None, decimals: int | None = None, unit: bool = True) -> str:
    """A difference of two values of a metric: percentage points, or plain with so many decimals."""
    if value is None or not metric(name).share:
        return signed(plain(value) if decimals is None else fixed(value, decimals))
    return signed(fixed(100 * value, 1)) + (" points" if unit else "")


def places(width: float) -> int:
    """Decimals at which an interval of this width has two digits."""
    return min(6, max(0, 1 - math.floor(math.log10(width)))) if 0 < width < math.inf else 3


def tick(value: float) -> str:
    """A number on an axis: as short as it is exact."""
    return f"{value:.6g}".replace("-", MINUS)


def metric_tick(name: str, value: float) -> str:
    """A metric's value on an axis."""
    return f"{tick(100 * value)}%" if metric(name).share else tick(value)


def difference_tick(name: str, value: float) -> str:
    """A difference of a metric on an axis, with its sign."""
    size = tick(100 * value if metric(name).share else value)
    return size if value == 0 else signed(size)


def fixed(value: float | None, decimals: int) -> str:
    """A number with so many decimals."""
    return DASH if value is None or not math.isfinite(value) else f"{value:z,.{decimals}f}".replace("-", MINUS)


def p_value(value: float | None) -> str:
    """A p-value, never as exactly zero."""
    if value is None or not math.isfinite(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """A time span in the unit that fits it."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "< 0.1 s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
