"""The processes of a training, and what they tell one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch.distributed as dist
from torch import Tensor

from tabcf.errors import RunError

__all__ = ["Group", "OtherEnded", "gone_noticed", "joined"]

_Value = TypeVar("_Value")
# A rank may wait as long as another one measures the model; one that has died is noticed at once.
_PATIENCE = timedelta(hours=24)


class OtherEnded(RunError):
    """Another process of the training has ended, so that this one cannot go on."""


@dataclass(frozen=True, slots=True)
class Group:
    """All processes of a training, of which this is one.

    Attributes:
        rank: Its number, from 0.
        size: How many there are.
        rows: The same processes once more, for rows of tables and statistics, which are exchanged
            while gradients are still on their way.
    """

    rank: int
    size: int
    rows: dist.ProcessGroup

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        with gone_noticed():
            dist.all_reduce(value, group=self.rows)
        return value

    def told(self, value: _Value) -> _Value:
        """What the first process has."""
        held = [value]
        with gone_noticed():
            dist.broadcast_object_list(held, src=0)
        return held[0]

    def first(self, work: Callable[[], _Value]) -> _Value:
        """What the first process finds, while the others wait."""
        if self.rank:
            return cast("_Value", self.told(None))
        return self.told(work())

    def all(self, value: _Value) -> Sequence[_Value]:
        """What each process has, in their order."""
        found: list[_Value | None] = [None] * self.size
        with gone_noticed():
            dist.all_gather_object(found, value)
        return cast("list[_Value]", found)

    def dealt(self, values: Sequence[_Value] | None) -> _Value:
        """This process' one of what the first process has for each."""
        held: list[_Value | None] = [None]
        with gone_noticed():
            dist.scatter_object_list(held, None if values is None else list(values), src=0)
        return cast("_Value", held[0])

    def collected(self, own: Iterator[_Value], owners: Sequence[int]) -> Iterator[_Value]:
        """In the first process what all have, in the order of their owners; in others nothing.

        The others send all they have before this returns; the first one receives by the way.
        """
        if self.rank == 0:
            return self._received(own, owners)
        for value in own:
            with gone_noticed():
                dist.send_object_list([value], dst=0)
        return iter(())

    def _received(self, own: Iterator[_Value], owners: Sequence[int]) -> Iterator[_Value]:
        for owner in owners:
            if owner == 0:
                yield next(own)
                continue
            held: list[_Value | None] = [None]
            with gone_noticed():
                dist.recv_object_list(held, src=owner)
            yield cast("_Value", held[0])

    def wait(self) -> None:
        """Go on when all have come here."""
        with gone_noticed():
            dist.barrier()


@contextmanager
def joined(rank: int, size: int, *, meeting: str) -> Iterator[Group]:
    """This process as one of several, until the block ends.

    Args:
        rank: Its number, from 0.
        size: How many there are.
        meeting: Where they meet, as `torch.distributed` takes it: `file:///a/new/file`,
            `tcp://host:port`, or `env://`.

    Raises:
        RunError: They do not find one another.
    """
    # What a framework such as Ray has joined already is used as it is.
    is_own = not dist.is_initialized()
    if is_own:
        try:
            dist.init_process_group(
                "gloo", init_method=meeting, rank=rank, world_size=size, timeout=_PATIENCE
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"the {size} processes of the training do not meet: {reason}") from None
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), dist.new_group(timeout=_PATIENCE))
    finally:
        if is_own:
            dist.destroy_process_group()


@contextmanager
def gone_noticed() -> Iterator[None]:
    """Say of a connection that broke off that another process has ended."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not (isinstance(error, dist.DistError) or "gloo" in text.lower()):
            raise
        raise OtherEnded(
            f"another process of this training has ended: {text.splitlines()[0]}"
        ) from error
