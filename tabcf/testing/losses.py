"""What every loss must do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from tabcf.contracts.definitions import LossDefinition
from tabcf.contracts.inputs import Bag, Factored, Sampled
from tabcf.contracts.target import TargetInfo, TargetKind
from tabcf.data.batches import select_bag
from tabcf.errors import SpecError
from tabcf.losses import Loss
from tabcf.plugin.registry import parse_options
from tabcf.testing.targets import N_ITEMS, TWO_NUMBERS, positives, target_of, target_rows

__all__ = ["LossContract"]


# Of which at least one is decoded: what the metrics and predictions of that target read.
_NEEDED: dict[TargetKind, frozenset[str]] = {
    "regression": frozenset({"value"}),
    "rating": frozenset({"value"}),
    "binary": frozenset({"probability", "probabilities"}),
    "classes": frozenset({"probabilities"}),
    "implicit": frozenset({"score", "probability", "value"}),
}


class _Case(NamedTuple):
    """A loss of one kind of target, with a batch."""

    name: str
    info: TargetInfo
    loss: Loss
    raw: Tensor
    target: Any

    def value(self, raw: Tensor, target: Any, weight: Tensor | None = None) -> Tensor:
        """The loss of outputs, for its form: of vectors it gets the items' beside the users'."""
        given: Any = raw
        if self.loss.form == "factored":
            items = torch.randn(N_ITEMS, raw.shape[1], generator=_rng(5))
            given = Factored(raw, items.to(raw.dtype))
        result: Tensor = self.loss(given, target, weight)
        return result


class LossContract:
    """Subclass it with a `definition` and, where they are needed, `options` as in YAML.

    Every kind of target that the definition takes is tried, and two numbers at once unless the
    loss refuses them with a `SpecError`.
    """

    definition: ClassVar[LossDefinition]
    options: ClassVar[Any] = {}
    n_rows: ClassVar[int] = 12

    def test_it_is_a_finite_number(self) -> None:
        for case in self._cases():
            value = case.value(case.raw, case.target)
            assert value.ndim == 0, f"{case.name}: shape {tuple(value.shape)}, expected a number"
            assert torch.isfinite(value), f"{case.name}: {value}"

    def test_it_is_finite_for_extreme_outputs(self) -> None:
        for case in self._cases():
            for factor in (0.0, 1e3, -1e3):
                raw = (case.raw.sign() * factor).requires_grad_()
                value = case.value(raw, case.target)
                value.backward()
                assert torch.isfinite(value), f"{case.name}: {value} for outputs of {factor:g}"
                assert raw.grad is not None
                assert torch.isfinite(raw.grad).all(), f"{case.name}: gradient at {factor:g}"

    def test_every_output_has_a_gradient(self) -> None:
        for case in self._cases():
            raw = case.raw.clone().requires_grad_()
            case.value(raw, case.target).backward()
            assert raw.grad is not None, f"{case.name}: no gradient"
            assert torch.isfinite(raw.grad).all(), f"{case.name}: {raw.grad}"
            assert raw.grad.any(0).all(), f"{case.name}: an output's gradient is 0 in all rows"
            for name, parameter in case.loss.named_parameters():
                assert parameter.grad is not None, f"{case.name}: {name} has no gradient"

    def test_its_gradient_is_the_slope(self) -> None:
        """Against a central difference, in double precision."""
        for case in self._cases():
            case.loss.double()
            target = case.target.double() if _is_float(case.target) else case.target
            raw = case.raw.double().requires_grad_()
            case.value(raw, target).backward()
            assert raw.grad is not None
            step = torch.randn(raw.shape, generator=_rng(3), dtype=torch.float64)
            with torch.no_grad():
                above = case.value(raw + 1e-5 * step, target)
                below = case.value(raw - 1e-5 * step, target)
            slope = (raw.grad * step).sum()
            expected = (above - below) / 2e-5
            assert torch.allclose(slope, expected, rtol=1e-3, atol=1e-6), (
                f"{case.name}: gradient {slope:g}, slope {expected:g}"
            )

    def test_one_row_is_a_batch(self) -> None:
        for case in self._cases(n=1):
            assert torch.isfinite(case.value(case.raw, case.target)), case.name

    def test_the_order_of_rows_says_nothing(self) -> None:
        for case in self._cases():
            order = torch.randperm(len(case.raw), generator=_rng(1))
            one = case.value(case.raw, case.target)
            two = case.value(case.raw[order], _taken(case.target, order))
            assert torch.allclose(one, two, rtol=1e-5, atol=1e-6), f"{case.name}: {one}, {two}"

    def test_equal_weights_say_nothing(self) -> None:
        for case in self._cases():
            ones = torch.full((len(case.raw),), 2.0)
            one, two = case.value(case.raw, case.target), case.value(case.raw, case.target, ones)
            assert torch.allclose(one, two, rtol=1e-5, atol=1e-6), f"{case.name}: {one}, {two}"

    def test_a_row_of_weight_zero_is_not_there(self) -> None:
        for case in self._cases():
            weight = torch.ones(len(case.raw))
            weight[::3] = 0
            kept = torch.nonzero(weight).squeeze(1)
            one = case.value(case.raw, case.target, weight)
            two = case.value(case.raw[kept], _taken(case.target, kept))
            assert torch.allclose(one, two, rtol=1e-5, atol=1e-6), f"{case.name}: {one}, {two}"

    def test_a_batch_without_weight_teaches_nothing(self) -> None:
        for case in self._cases():
            raw = case.raw.clone().requires_grad_()
            value = case.value(raw, case.target, torch.zeros(len(raw)))
            value.backward()
            assert value == 0, f"{case.name}: {value} where no row has any weight, expected 0"
            assert raw.grad is not None, f"{case.name}: no gradient"
            assert not raw.grad.any(), f"{case.name}: gradient {raw.grad} without any weight"

    def test_it_decodes_what_predictions_are_made_of(self) -> None:
        """Names and shapes, and probabilities that are some."""
        for case in self._cases():
            decoded = case.loss.decode(torch.randn(2, 3, case.loss.d_out, generator=_rng(2)))
            needed = _NEEDED[case.info.kind]
            assert needed & decoded.keys(), (
                f"{case.name}: decode gives {sorted(decoded)}, expected {' or '.join(needed)}"
            )
            for key, value in decoded.items():
                expected = (2, 3, *_trailing(key, case.info))
                assert value.shape == expected, (
                    f"{case.name}: {key} of shape {tuple(value.shape)}, expected {expected}"
                )
                if key.startswith("probabilit"):
                    is_share = bool(((value >= 0) & (value <= 1)).all())
                    assert is_share, f"{case.name}: {key} outside of 0 to 1: {value}"
                if key == "probabilities":
                    total = value.sum(-1)
                    is_one = torch.allclose(total, torch.ones(2, 3), atol=1e-4)
                    assert is_one, f"{case.name}: {key} add up to {total}, expected 1"

    def test_it_decodes_any_leading_shape(self) -> None:
        for case in self._cases():
            width = case.loss.d_out
            raw = torch.randn(2, 3, width, generator=_rng(2))
            flat = case.loss.decode(raw.view(6, width))
            deep = case.loss.decode(raw)
            assert flat, f"{case.name}: decode gives nothing"
            assert flat.keys() == deep.keys(), f"{case.name}: {sorted(flat)}, {sorted(deep)}"
            for key, value in deep.items():
                assert value.shape[:2] == (2, 3), f"{case.name}: {key} {tuple(value.shape)}"
                assert torch.isfinite(value).all(), f"{case.name}: {key}"
                same = torch.allclose(value.reshape(6, -1), flat[key].reshape(6, -1))
                assert same, f"{case.name}: {key} depends on the leading shape"

    def test_it_is_saved_and_loaded(self) -> None:
        for one, two in zip(self._cases(), self._cases(seed=1), strict=True):
            with torch.no_grad():
                for parameter in one.loss.parameters():
                    parameter.add_(0.1)
            two.loss.load_state_dict(one.loss.state_dict())
            first, second = one.value(one.raw, one.target), two.value(two.raw, two.target)
            assert torch.equal(first, second), f"{one.name}: {first}, {second}"

    def test_it_is_the_same_twice(self) -> None:
        for case in self._cases():
            one, two = case.value(case.raw, case.target), case.value(case.raw, case.target)
            assert torch.equal(one, two), f"{case.name}: {one}, then {two}"

    def test_a_step_against_the_gradient_lowers_it(self) -> None:
        for case in self._cases():
            raw = case.raw.clone().requires_grad_()
            before = case.value(raw, case.target)
            before.backward()
            assert raw.grad is not None
            step = raw.grad * (1e-3 / raw.grad.norm())
            after = case.value(raw.detach() - step, case.target)
            assert after < before, f"{case.name}: {before} rises to {after}"

    def _cases(self, *, n: int | None = None, seed: int = 0) -> Iterator[_Case]:
        n = n or self.n_rows
        for kind in sorted(self.definition.targets):
            info = target_of(kind)
            loss = self._built(info, seed)
            name = f"loss {self.definition.name} of {kind}"
            yield _Case(name, info, loss, *self._batch(info, loss, n))
        if "regression" in self.definition.targets:
            try:
                loss = self._built(TWO_NUMBERS, seed)
            except SpecError:
                return
            name = f"loss {self.definition.name} of two numbers"
            yield _Case(name, TWO_NUMBERS, loss, *self._batch(TWO_NUMBERS, loss, n))

    def _built(self, info: TargetInfo, seed: int) -> Loss:
        options = parse_options(self.definition.options, _as_mapping(self.options))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            loss = self.definition.build(info, options)
        name = f"loss {self.definition.name} of {info.kind}"
        assert isinstance(loss, Loss), f"{name}: {loss!r} is no tabcf.losses.Loss"
        assert loss.d_out >= 1, f"{name}: d_out {loss.d_out}"
        return loss

    def _batch(self, info: TargetInfo, loss: Loss, n: int) -> tuple[Tensor, Any]:
        rng = _rng(0)
        if self.definition.form in ("catalogue", "factored"):
            return torch.randn(n, N_ITEMS, generator=rng), positives(n, rng)
        if self.definition.form == "sampled":
            is_valid = torch.rand(n, 4, generator=rng) < 0.8
            is_valid[:, 0] = True
            log_q = torch.randn(n, 5, generator=rng)
            target = target_rows(info.kind, n, rng)
            return torch.randn(n, 5, generator=rng), Sampled(is_valid, log_q, target)
        raw = torch.randn(n, loss.d_out, generator=rng)
        if len(info.columns) > 1:
            return raw, torch.randn(n, len(info.columns), generator=rng)
        return raw, target_rows(info.kind, n, rng)


def _trailing(key: str, info: TargetInfo) -> tuple[int, ...]:
    """What stands behind the leading dimensions of a decoded value."""
    if key == "probabilities":
        return (len(info.levels or info.labels),)
    return (len(info.columns),) if key == "value" and len(info.columns) > 1 else ()


def _rng(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def _as_mapping(options: Any) -> dict[str, Any]:
    return dict(options) if isinstance(options, dict) else {"": options}


def _is_float(target: Any) -> bool:
    return isinstance(target, Tensor) and target.is_floating_point()


def _taken(target: Any, rows: Tensor) -> Any:
    """Rows of a target, in that order."""
    if isinstance(target, Sampled):
        assert target.log_q is not None and target.target is not None
        return Sampled(target.is_valid[rows], target.log_q[rows], target.target[rows])
    if not isinstance(target, Bag):
        return target[rows]
    return select_bag(target, rows)
