"""`tabcf ray-fit`: `tabcf fit` in each of several workers of Ray Train.

Ray gives its workers torchrun's variables and has torch join them, which is all that `tabcf fit`
looks for. Nothing of tabcf has to know of Ray.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from tabcf.errors import RunError

__all__ = ["command"]

# Workers send one another tensors through gloo; Ray's store holds little but the task.
_STORE_BYTES = 100 * 2**20


@click.command()
@click.argument("spec", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--workers", type=click.IntRange(min=1), default=2, show_default=True, help="How many."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the run; all workers write to it.",
)
@click.option("--address", help="A running cluster; by default Ray starts on this machine.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def command(
    spec: Path, workers: int, out: Path, address: str | None, options: tuple[str, ...]
) -> None:
    """Train what SPEC declares with the workers of Ray.

    OPTIONS behind -- are those of `tabcf fit`.
    """
    try:
        import ray
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError:
        raise RunError("ray is not installed; pip install 'tabcf-ray[ray]'") from None
    arguments = ["fit", str(spec.resolve()), "--out", str(out.resolve()), *options]
    is_own = not ray.is_initialized()
    if is_own:
        # As many slots as workers, whatever the cores; a cluster has its own.
        local = {
            "num_cpus": workers,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }
        ray.init(**({"address": address} if address else local))
    try:
        with tempfile.TemporaryDirectory(prefix="tabcf-ray-") as scratch:
            TorchTrainer(
                fit_in_worker,
                train_loop_config={"folder": str(Path.cwd()), "arguments": arguments},
                torch_config=TorchConfig(backend="gloo"),
                scaling_config=ScalingConfig(num_workers=workers),
                run_config=RunConfig(storage_path=scratch),
            ).fit()
    except Exception as error:
        if out.is_dir():
            raise
        raise RunError(
            f"the workers of Ray did not finish {out}: {_reason(error)}; go on with -- --resume if "
            "states were kept"
        ) from error
    finally:
        if is_own:
            ray.shutdown()
    click.echo(str(out))


def fit_in_worker(config: dict[str, Any]) -> None:
    """What a worker does: the command line, as torchrun's `-m tabcf` has it.

    Raises:
        RuntimeError: It failed; what it said is in the worker's own log.
    """
    import runpy
    import sys

    os.chdir(config["folder"])
    sys.argv = ["tabcf", *config["arguments"]]
    try:
        runpy.run_module("tabcf", run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            raise RuntimeError(f"tabcf fit ended with status {stop.code}") from None


def _reason(error: BaseException) -> str:
    """The innermost cause in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
