"""What a perceptron's outputs are and how they change with its first layer's values, by hand.

Dimension letters: B rows, H values of the first layer, K outputs.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["LayerSlopes", "hidden_slopes"]


def hidden_slopes(mlp: nn.Sequential, y_range: tuple[float, float] | None) -> LayerSlopes | None:
    """Those of a perceptron by the weights of now; None where it has layers of other kinds.

    Args:
        mlp: Linear layers, each but the first behind a ReLU and whatever of BatchNorm and Dropout.
        y_range: Lowest and highest output, reached by a sigmoid.
    """
    maps: list[tuple[Tensor, Tensor]] = []
    scale: Tensor | None = None
    shift: Tensor | None = None
    is_active = False
    for layer in list(mlp)[1:]:
        if type(layer) is nn.ReLU and not is_active:
            is_active = True
        elif isinstance(layer, nn.BatchNorm1d) and is_active and scale is None:
            mean, variance = layer.running_mean, layer.running_var
            assert mean is not None and variance is not None
            scale = layer.weight.detach() * (variance + layer.eps).rsqrt()
            shift = layer.bias.detach() - mean * scale
        elif type(layer) is nn.Linear and is_active:
            weight = layer.weight.detach().T
            given: Tensor | None = layer.bias
            bias = weight.new_zeros(weight.shape[1]) if given is None else given.detach()
            if scale is not None and shift is not None:
                weight, bias = scale[:, None] * weight, bias + shift @ weight
            maps.append((weight.contiguous(), bias.clone()))
            scale, shift, is_active = None, None, False
        elif not isinstance(layer, nn.Dropout):
            return None
    return None if is_active else LayerSlopes(maps, y_range)


class LayerSlopes:
    """Outputs and their slopes of layers that each begin with a ReLU.

    The same as by autograd at a third of the time, since nothing is recorded, and norms are part of
    the layers behind them.

    Args:
        maps: Weight `(in, out)` and bias `(out,)` of each layer.
        y_range: Lowest and highest output, reached by a sigmoid.

    Shape:
        Input: `(B, H)`.
        Output: `(B, K)`, and `(B, K, H)` derivatives.

    Example:
        >>> mlp = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> raw, slopes = hidden_slopes(mlp, None)(torch.zeros(5, 3))
        >>> raw.shape, slopes.shape
        (torch.Size([5, 1]), torch.Size([5, 1, 3]))
    """

    def __init__(
        self, maps: list[tuple[Tensor, Tensor]], y_range: tuple[float, float] | None
    ) -> None:
        self._maps = maps
        self._y_range = y_range

    @torch.no_grad()
    def __call__(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and derivatives."""
        x, is_on = hidden, []
        for weight, bias in self._maps:
            is_on.append(x > 0)
            x = torch.addmm(bias, x.relu(), weight)
        inner = None
        if self._y_range is not None:
            low, high = self._y_range
            share = x.sigmoid()
            x = share * (high - low) + low
            inner = (high - low) * share * (1 - share)
        return x, self._back(x, inner, is_on)

    def alone(self, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same by numpy, far quicker for few rows: outputs `(B,)`, derivatives `(B, H)`.

        Of a model with one output, on the CPU.
        """
        x, is_on = hidden, []
        for weight, bias in self._arrays:
            is_on.append(x > 0)
            x = np.maximum(x, 0) @ weight + bias
        slopes = np.ones_like(x)
        if self._y_range is not None:
            low, high = self._y_range
            # Not exp(-x), which overflows.
            share = 0.5 * (1 + np.tanh(0.5 * x))
            x, slopes = share * (high - low) + low, (high - low) * share * (1 - share)
        for (weight, _), on in zip(reversed(self._arrays), reversed(is_on), strict=True):
            slopes = (slopes @ weight.T) * on
        return x[:, 0], slopes

    @property
    def is_alone(self) -> bool:
        """Whether `alone` can be asked."""
        bias = self._maps[-1][1]
        return len(bias) == 1 and bias.device.type == "cpu"

    @cached_property
    def _arrays(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(weight.numpy(), bias.numpy()) for weight, bias in self._maps]

    def _back(self, x: Tensor, inner: Tensor | None, is_on: list[Tensor]) -> Tensor:
        """`(B, K, H)`: from the outputs back; `inner` is how they change within their range."""
        if x.shape[1] == 1:
            slopes = torch.ones_like(x) if inner is None else inner
            for (weight, _), on in zip(reversed(self._maps), reversed(is_on), strict=True):
                slopes = (slopes @ weight.T) * on
            return slopes.unsqueeze(1)
        slopes = torch.diag_embed(torch.ones_like(x) if inner is None else inner)
        for (weight, _), on in zip(reversed(self._maps), reversed(is_on), strict=True):
            slopes = (slopes @ weight.T) * on.unsqueeze(1)
        return slopes
