"""Batch normalisation by the whole batch, of which each process has some rows.

Torch's own `SyncBatchNorm` is for GPUs alone.

Dimension letters: B rows here, H width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tabcf.errors import SpecError
from tabcf.training.scale_out.group import Group

__all__ = ["Filling", "by_whole_batch"]


@dataclass(slots=True)
class Filling:
    """Of the step at hand: whether the rows here only stand in, and count nothing."""

    is_blank: bool = False


class _WholeBatchNorm(nn.BatchNorm1d):
    """Normalises `(B, H)` by mean and variance over the rows of all processes.

    It shares weights and running statistics with the module that it stands for. One row in all
    has no spread: it is normalised by the running statistics and leaves them alone.
    """

    def __init__(self, inner: nn.BatchNorm1d, group: Group, filling: Filling) -> None:
        super().__init__(inner.num_features, inner.eps, inner.momentum)
        self.weight, self.bias = inner.weight, inner.bias
        self.running_mean, self.running_var = inner.running_mean, inner.running_var
        self.num_batches_tracked = inner.num_batches_tracked
        self._group, self._filling = group, filling

    def forward(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        if self.training:
            # In double precision a mean of squares less a squared mean loses nothing.
            doubles = (x[:0] if self._filling.is_blank else x).double()
            counts = doubles.new_full((self.num_features,), len(doubles))
            sums = torch.stack([doubles.sum(0), doubles.square().sum(0), counts])
            sums = _summed(sums, self._group)
            n = float(sums[2, 0].detach())
            if n > 1:
                mean = sums[0] / n
                variance = (sums[1] / n - mean.square()).clamp_min(0)
                self._track(mean.detach(), variance.detach() * (n / (n - 1)))
                scale = (variance + self.eps).rsqrt()
                normal = ((x.double() - mean) * scale).to(x.dtype)
                shifted: Tensor = normal * self.weight + self.bias
                return shifted
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Take a batch into the running statistics."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        self.running_var.lerp_(variance.to(self.running_var.dtype), rate)


def _summed(value: Tensor, group: Group) -> Tensor:
    """The sum over all processes, with the sum of their gradients."""
    total: Tensor = _Summed.apply(value, group)  # type: ignore[no-untyped-call]  # torch gives it no types
    return total


class _Summed(torch.autograd.Function):
    """The sum over all processes; each one's gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.sum(value.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.group.sum(gradients[0].contiguous().clone()), None


@contextmanager
def by_whole_batch(model: nn.Module, group: Group, filling: Filling) -> Iterator[None]:
    """Have all batch normalisation of a model be by whole batches for the block.

    Raises:
        SpecError: Some of it is of a kind of its own, or keeps no statistics.
    """
    replaced: list[tuple[nn.Module, str, nn.BatchNorm1d]] = []
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if not isinstance(child, nn.modules.batchnorm._BatchNorm):
                continue
            if (
                not isinstance(child, nn.BatchNorm1d)
                or child.running_mean is None
                or not child.affine
            ):
                raise SpecError(
                    [
                        f"train.workers: {type(model).__name__} normalises batches by a "
                        f"{type(child).__name__}, which several processes cannot do as one; "
                        "train it with one"
                    ]
                )
            replaced.append((parent, name, child))
    for parent, name, child in replaced:
        setattr(parent, name, _WholeBatchNorm(child, group, filling).train(child.training))
    try:
        yield
    finally:
        for parent, name, child in replaced:
            setattr(parent, name, child.train(model.training))
