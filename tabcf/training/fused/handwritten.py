"""The fused step in torch alone: loss and gradient written out, then AdamW over the whole table.

Dimension letters: B events of a batch, N items drawn for each, R rows of the table, D factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from tabcf.training.fused.problem import Block, PairProblem
from tabcf.training.optimiser import AdamW
from tabcf.training.steps import Rate

__all__ = ["HandwrittenSteps"]


class _Gradient(NamedTuple):
    """Room for the gradients, `(R, D)` and `(R, 1)`."""

    factors: Tensor
    biases: Tensor | None


class HandwrittenSteps:
    """Steps without autograd; AdamW's numbers are those of the eager step.

    Args:
        problem: What is trained.
        optimiser: Over its factors and biases.
        clip_norm: Gradients are scaled down to this norm.
    """

    def __init__(
        self, problem: PairProblem, optimiser: AdamW, *, clip_norm: float | None = None
    ) -> None:
        self._problem = problem
        self._optimiser = optimiser
        self._clip_norm = clip_norm
        self._gradient = _Gradient(
            torch.zeros_like(problem.factors),
            None if problem.biases is None else torch.zeros_like(problem.biases),
        )

    @property
    def n_steps(self) -> int:
        return self._problem.n_steps

    @torch.no_grad()
    def epoch(
        self, rates: Sequence[Rate], rng: Generator, *, skip: int = 0
    ) -> Iterator[Sequence[float]]:
        """One step at a time."""
        each = iter(rates[skip:])
        n_left = skip
        for block in self._problem.blocks(rng):
            batches = _batches(block, self._problem.batch_size)
            if n_left:
                n_passed = sum(1 for _ in islice(batches, n_left))
                n_left -= n_passed
                if n_left:
                    continue
                yield ()
            for batch in batches:
                loss = self._loss(batch)
                if math.isfinite(loss):
                    self._step(next(each))
                yield (loss,)

    def settle(self) -> None:
        """Nothing to do: every step goes over all rows."""

    def state(self) -> dict[str, Tensor]:
        """The optimiser's."""
        return self._optimiser.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._optimiser.load_state(state)

    def _loss(self, batch: Block) -> float:
        """The loss of a batch; leaves its gradient in its room."""
        for room in self._gradient:
            if room is not None:
                room.zero_()
        n = len(batch.ids)
        if batch.weight is None:
            share = torch.full((n,), 1 / n)
        else:
            share = batch.weight / batch.weight.sum().clamp_min(torch.finfo(torch.float32).tiny)
        if batch.target is None:
            return self._pairwise(batch.ids, share)
        return self._pointwise(batch.ids, batch.target, share)

    def _step(self, rate: Rate) -> None:
        problem, gradient = self._problem, self._gradient
        problem.factors.grad = gradient.factors
        used = [problem.factors]
        if problem.biases is not None:
            problem.biases.grad = gradient.biases
            used.append(problem.biases)
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(used, self._clip_norm)
        self._optimiser.step(rate.learning_rate, beta1=rate.beta1)

    def _pointwise(self, ids: Tensor, target: Tensor, share: Tensor) -> float:
        problem, gradient = self._problem, self._gradient
        left_ids, right_ids = ids.unbind(1)
        left = problem.factors.index_select(0, left_ids)
        right = problem.factors.index_select(0, right_ids)
        output = (left * right).sum(1)
        if problem.biases is not None:
            both = problem.biases[left_ids] + problem.biases[right_ids]
            output += both.squeeze(1)
        slope = share
        if problem.y_range is not None:
            low, high = problem.y_range
            sigmoid = output.sigmoid()
            output = sigmoid * (high - low) + low
            slope = (sigmoid - sigmoid.square()) * (high - low) * share
        error = output - target
        if problem.form == "mse":
            loss, push = error.square(), 2 * error
        elif problem.form == "mae":
            loss, push = error.abs(), error.sign()
        else:
            loss = F.huber_loss(output, target, reduction="none", delta=problem.delta)
            push = error.clamp(-problem.delta, problem.delta)
        total = float(loss @ share)
        push = (push * slope)[:, None]
        of_left, of_right = right * push, left * push
        if problem.l2:
            factor = problem.l2 / len(ids)
            total += factor * float(left.square().sum() + right.square().sum())
            of_left.add_(left, alpha=2 * factor)
            of_right.add_(right, alpha=2 * factor)
        gradient.factors.index_add_(0, left_ids, of_left).index_add_(0, right_ids, of_right)
        if problem.biases is not None and gradient.biases is not None:
            for own_ids in (left_ids, right_ids):
                gradient.biases.index_add_(0, own_ids, push)
                if problem.l2:
                    own = problem.biases.index_select(0, own_ids)
                    total += factor * float(own.square().sum())
                    gradient.biases.index_add_(0, own_ids, own, alpha=2 * factor)
        return total

    def _pairwise(self, ids: Tensor, share: Tensor) -> float:
        problem, gradient = self._problem, self._gradient
        is_valid = ids[:, 2:] >= 0
        items = torch.where(is_valid, ids[:, 2:], ids[:, 1:2])  # its own item: no difference
        user = problem.factors.index_select(0, ids[:, 0])
        own = problem.factors.index_select(0, ids[:, 1])
        between = problem.factors[items] - own[:, None]  # (B, N, D)
        behind = (between * user[:, None]).sum(2)
        if problem.biases is not None:
            behind += (problem.biases[items] - problem.biases[ids[:, 1], None]).squeeze(2)
        counts = is_valid * (share / is_valid.sum(1).clamp_min(1))[:, None]
        push = behind.sigmoid() * counts
        gradient.factors.index_add_(0, ids[:, 0], (between * push[:, :, None]).sum(1))
        # An event's own item goes up by as much as the drawn ones go down together.
        pushes = torch.cat([-push.sum(1, keepdim=True), push], 1)
        places = torch.cat([ids[:, 1:2], items], 1).flatten()
        of_items = (pushes[:, :, None] * user[:, None]).flatten(0, 1)
        gradient.factors.index_add_(0, places, of_items)
        if gradient.biases is not None:
            gradient.biases.index_add_(0, places, pushes.flatten()[:, None])
        return float((F.softplus(behind) * counts).sum())


def _batches(block: Block, size: int) -> Iterator[Block]:
    ids = block.ids.split(size)
    targets = [None] * len(ids) if block.target is None else block.target.split(size)
    weights = [None] * len(ids) if block.weight is None else block.weight.split(size)
    for batch in zip(ids, targets, weights, strict=True):
        yield Block(*batch)
