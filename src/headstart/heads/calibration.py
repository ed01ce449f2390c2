"""Log-losses and the temperature under the heads' name; the scores need them too, so they live below both."""

from __future__ import annotations

from headstart.calibration import log_losses, probabilities, standard_error, temperature

__all__ = ["log_losses", "probabilities", "standard_error", "temperature"]
