"""The palette can be read: WCAG 2.2 contrast of every pair of colours that meet, in every scheme."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = (files("headstart.report") / "style.css").read_text("utf-8")
Colour = tuple[float, float, float]


def palettes() -> dict[str, dict[str, Colour]]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    found = []
    for block in blocks:
        pairs = re.findall(r"--([\w-]+): #([0-9a-f]{6});", block)
        found.append({key: tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4)) for key, value in pairs})
    return dict(zip(("light", "dark", "print"), found, strict=True))  # type: ignore[arg-type]


def luminance(colour: Colour) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: Colour, other: Colour) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def blend(over: Colour, under: Colour, opacity: float) -> Colour:
    return tuple(opacity * a + (1 - opacity) * b for a, b in zip(over, under, strict=True))  # type: ignore[return-value]


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_contrast_is_aa(scheme: str) -> None:
    palette = palettes()[scheme]
    pairs = [(text, ground) for text in ("ink", "muted", "accent", "bad") for ground in ("page", "soft")]
    pairs += [("ink", "accent-soft"), ("muted", "accent-soft")]
    for text, ground in pairs:
        assert contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
    for mark in ("accent", "bad", "grey", "axis"):
        assert contrast(palette[mark], palette["page"]) >= 3, mark


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_figures_in_the_matrix_are_aa(scheme: str) -> None:
    palette = palettes()[scheme]
    opacities = [float(value) for value in re.findall(r"\.q\d \{ fill-opacity: ([\d.]+); \}", STYLE)]
    assert opacities == sorted(opacities)
    assert len(opacities) == 7
    for step, opacity in enumerate(opacities):
        ground = blend(palette["accent"], palette["soft"], opacity)
        text = palette["inverse"] if step == 6 else palette["ink"]
        assert contrast(text, ground) >= 4.5, step
