"""A run's weights as a file: those of the model and those of the loss."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tabcf.recommend.trained import Trained
from tabcf.training.state import load_weights as write_weights
from tabcf.training.state import weights_of

__all__ = ["WEIGHTS", "has_weights_of", "load_weights", "save_weights"]

WEIGHTS = "weights.safetensors"


def save_weights(trained: Trained, folder: Path) -> None:
    """Write the weights into a run's folder."""
    from safetensors.torch import save_file

    save_file(_weights(trained), folder / WEIGHTS)


def load_weights(folder: Path, model: nn.Module, loss: nn.Module) -> None:
    """Fill an untrained model and its loss, which are then in evaluation mode."""
    from safetensors.torch import load_file

    write_weights(load_file(folder / WEIGHTS), model, loss)
    model.eval()
    loss.eval()


def has_weights_of(folder: Path, trained: Trained) -> bool:
    """Whether the weights in a run's folder are those of a model in memory, bit for bit."""
    from safetensors.torch import load_file

    kept, own = load_file(folder / WEIGHTS), _weights(trained)
    return kept.keys() == own.keys() and all(torch.equal(kept[name], own[name]) for name in own)


def _weights(trained: Trained) -> dict[str, Tensor]:
    weights = weights_of(trained.model, trained.loss)
    return {name: value.detach().cpu().contiguous() for name, value in weights.items()}
