"""States of a training that several processes write and read together.

By `torch.distributed.checkpoint`, as files of safetensors: one a process, with its rows of spread
tables and some of what all have; the pickled index of that module's own format is not written. A
state is read by any number of processes, each of which takes its rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tabcf.errors import RunError
from tabcf.training.scale_out.exchange import own_rows
from tabcf.training.scale_out.group import Group, gone_noticed

__all__ = ["load", "save"]


def save(tensors: Mapping[str, Tensor], n_rows: Mapping[str, int], folder: Path) -> None:
    """Write tensors into a new folder; all processes call it.

    Args:
        tensors: What this process has.
        n_rows: The names of spread ones, with the number of rows of the whole.
        folder: Where; it must hold no other state, since files of more processes would stay.

    Raises:
        RunError: It cannot be written, or torch is too old.
    """
    from torch.distributed.checkpoint.state_dict_saver import save as save_together

    held = {name: value.detach() for name, value in tensors.items()}
    held |= {name: _spread(held[name], n) for name, n in n_rows.items()}
    with _in_words(folder, "written"):
        writer = _formats().HuggingFaceStorageWriter(str(folder), save_distributed=True)
        save_together(held, storage_writer=writer)


def load(group: Group, folder: Path, n_rows: Mapping[str, int]) -> dict[str, Tensor]:
    """Read such a state; of spread tensors this process' rows.

    Args:
        group: The processes, as many as there are now.
        folder: Where it was written.
        n_rows: The names of spread tensors, with the number of rows of the whole.

    Raises:
        RunError: It cannot be read.
    """
    from torch.distributed.checkpoint.state_dict_loader import load as load_together

    with _in_words(folder, "read"):
        reader = _formats().HuggingFaceStorageReader(str(folder))
        found: dict[str, Tensor] = {}
        parts: dict[str, Tensor] = {}
        for name, about in reader.read_metadata().state_dict_metadata.items():
            size, dtype = list(about.size), about.properties.dtype
            if size and n_rows.get(name) == size[0]:
                rows = own_rows(size[0], group.rank, group.size)
                parts[name] = torch.empty(rows.stop - rows.start, *size[1:], dtype=dtype)
                found[name] = _spread(parts[name], size[0])
            else:
                found[name] = torch.empty(size, dtype=dtype)
        load_together(found, storage_reader=reader)
    # A part was read into its own memory.
    return {**found, **parts}


def _spread(own: Tensor, n_rows: int) -> Tensor:
    """This process' rows as a part of the whole."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    shape = torch.Size([n_rows, *own.shape[1:]])
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(
        own.contiguous(), mesh, [Shard(0)], run_check=False, shape=shape, stride=stride
    )


def _formats() -> Any:
    """The module that writes states as safetensors.

    Raises:
        RunError: This torch has none.
    """
    try:
        from torch.distributed.checkpoint import hf_storage
    except ImportError:
        raise RunError(
            f"states of several processes are kept as safetensors, which torch {torch.__version__} "
            "cannot write; take a later one, or set train.checkpoint to null"
        ) from None
    return hf_storage


@contextmanager
def _in_words(folder: Path, what: str) -> Iterator[None]:
    """Say in one line what went wrong in any of the processes."""
    from torch.distributed.checkpoint.api import CheckpointException

    with warnings.catch_warnings(), gone_noticed():
        warnings.simplefilter("ignore")
        try:
            yield
        except CheckpointException as error:
            rank, (first, _) = min(error.failures.items())
            raise RunError(f"{folder}: cannot be {what} (process {rank}): {first}") from None
