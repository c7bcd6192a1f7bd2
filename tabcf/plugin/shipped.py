"""What the plugins that come with tabcf add, for the message where one is not installed."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["SHIPPED"]

SHIPPED: Mapping[tuple[str, str], str] = {
    ("engine", "ray"): "tabcf-ray[ray]",
    ("loss", "ordered_logit"): "tabcf-ordinal",
    ("model", "deepfm"): "tabcf-deepfm",
    ("tracker", "mlflow"): "tabcf-mlflow",
}
"""By kind and name, what `pip install` takes."""
