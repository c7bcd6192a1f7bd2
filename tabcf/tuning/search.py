"""`tune`: try settings by their validation metric, then fit the best one and test it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tabcf.data.sources import source_of_frame
from tabcf.errors import RunError, SpecError, TrainingError
from tabcf.run.cached import load_events
from tabcf.run.cross_validation import Scratch
from tabcf.run.fit import fit_events
from tabcf.run.folder import next_free
from tabcf.run.folds import fingerprint
from tabcf.run.progress import Progress, Silent
from tabcf.run.registry import compose_registry
from tabcf.run.resolve import resolve_metrics
from tabcf.run.run import Run
from tabcf.run.tracking import parameters
from tabcf.spec.overrides import apply_overrides
from tabcf.spec.places import as_text
from tabcf.spec.read import SpecDocument, read_spec
from tabcf.spec.tune import Tune, override
from tabcf.spec.tune_check import tune_problems
from tabcf.tuning.bench import Bench
from tabcf.tuning.files import SearchFile, write_best
from tabcf.tuning.space import Parameter, default_space, space_of
from tabcf.tuning.study import Study, require_optuna
from tabcf.tuning.trying import Search

__all__ = ["Tuning", "tune"]


@dataclass(frozen=True)
class Tuning:
    """What came of a search.

    Attributes:
        metric: What settings were chosen by, of the validation rows.
        trials: One row a trial: `trial`, `state` (`done`, `pruned` or `failed`), the metric,
            `epochs`, `seconds`, and the setting.
        best: The best setting, by the path of each value.
        best_trial: Its number.
        best_value: Its validation metric.
        spec: The spec with it, as plain values; `fit` takes them.
        run: It, fitted on training and validation rows and tested; None after Ctrl-C.
        is_interrupted: Whether Ctrl-C ended the search.
        folder: Where all of it is, None if it was only in memory.
    """

    metric: str
    trials: pd.DataFrame
    best: Mapping[str, Any]
    best_trial: int
    best_value: float
    spec: Mapping[str, Any]
    run: Run | None
    is_interrupted: bool
    folder: Path | None
    # What the trials are kept in where there is no folder.
    scratch: Scratch | None = None


def tune(
    spec: str | Path | Mapping[str, Any],
    data: Any = None,
    out: str | Path | None = None,
    *,
    runs: str | Path | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[Any] = (),
    progress: Progress | None = None,
    jobs: int = 1,
    resume: bool = False,
) -> Tuning:
    """Look for the setting of a spec whose validation metric is best, then fit and test it.

    What is tried, and for how long, is in the spec under `tune`. Test rows are read only when the
    best setting is found; it is then fitted on training rows, and again on those and the
    validation rows.

    Args:
        spec: A YAML file, or its content as a mapping.
        data: Events in place of the spec's: a frame or a path.
        out: A folder for all of it; it must not exist.
        runs: A folder to write that folder into, as NAME-tune-1, NAME-tune-2, ...; with neither
            nothing is kept.
        overrides: Changes of the spec, such as `"tune.trials=50"`.
        plugins: As for `fit`.
        progress: Told of each trial.
        jobs: Trials at a time. With one, the same spec and seed give the same trials; with more
            it depends on which of them ends first.
        resume: Go on with the search of `out`, or the spec's last one in `runs`: with what is
            left of `tune.trials`, which may have grown.

    Raises:
        SpecError: The spec is wrong, leaves no validation rows, or has nothing to try.
        DataError: The data cannot be read or do not fit.
        RunError: The folder is taken, or there is no such search to resume.
        TrainingError: No setting could be fitted.
        MissingExtraError: Optuna is not installed.
        KeyboardInterrupt: Ctrl-C came before a trial was done.
    """
    document = read_spec(spec, compose_registry(plugins), overrides=overrides)
    require_optuna()
    progress = progress or Silent()
    rules = document.spec.tune or Tune()
    if data is not None and not isinstance(data, (str, Path)):
        data = source_of_frame(data).frame  # once: a stream cannot be read again
    bench = Bench.of(document.tree, document.folder, data, plugins)
    parameters_ = _parameters(document)
    metric, is_higher_better = _metric(bench, rules)
    name = document.spec.name or document.name
    file = SearchFile.of(name, document.tree, metric, fingerprint(bench.events.source))
    folder = _folder(file, out, runs, resume=resume)
    scratch = None
    if folder is None:
        scratch = Scratch()
        folder = scratch.path / name
        file.write(folder)
    study = Study(
        folder,
        parameters_,
        rules,
        seed=document.spec.seed,
        is_higher_better=is_higher_better,
    )
    search = Search(study, rules, metric, progress, folder, _own_values(bench))
    can_send = jobs > 1 and all(isinstance(plugin, str) for plugin in plugins)
    try:
        if can_send and search.side_by_side(bench, jobs):
            pass
        else:
            search.one_by_one(bench.fit)
    except KeyboardInterrupt:
        search.is_interrupted = True
    found = study.best
    if found is None:
        if search.is_interrupted:
            raise KeyboardInterrupt
        reasons = list(dict.fromkeys(study.reasons)) or ["none was fitted to its end"]
        raise TrainingError(f"none of {study.n_begun} settings could be fitted: {reasons[0]}")
    number, setting, value = found
    tree = _with_setting(document, setting)
    comment = f"Trial {number} of {study.n_begun}: valid {metric} {value:.4f}."
    write_best(tree, folder, base=document.folder or Path(), data=data, comment=comment)
    run = None
    if not search.is_interrupted:
        try:
            run = _final(document, tree, data, plugins, progress, None if scratch else folder)
        except KeyboardInterrupt:
            search.is_interrupted = True
    return Tuning(
        metric,
        study.table(metric),
        setting,
        number,
        value,
        tree,
        run,
        search.is_interrupted,
        None if scratch else folder,
        scratch,
    )


def _parameters(document: SpecDocument) -> tuple[Parameter, ...]:
    """What is tried; a default that does not suit the rest of the spec is an error."""
    spec, registry = document.spec, document.registry
    tree = {key: value for key, value in document.tree.items() if key != "tune"}
    if spec.tune is None or spec.tune.space is None:
        rules = {"space": default_space(spec, registry)}
        with_default = spec.model_copy(update={"tune": Tune.model_validate(rules)})
        problems = tune_problems(tree, with_default, registry)
        if problems:
            lines = [f"{as_text(p.shown)}: {p.message}; name a space" for p in problems]
            raise SpecError(lines)
    return space_of(spec, tree, registry)


def _metric(bench: Bench, rules: Tune) -> tuple[str, bool]:
    """The metric to choose by, and whether more of it is better."""
    metrics = resolve_metrics(bench.document.spec, bench.registry, bench.events.target)
    known = {metric.name: metric for metric in metrics}
    name = rules.metric or metrics[0].name
    if name not in known:
        raise SpecError(
            [
                f"tune.metric: expected one of the spec's metrics, got '{name}'; known: "
                f"{', '.join(known)}; it is always measured on the validation rows"
            ]
        )
    return name, known[name].definition.is_higher_better


def _own_values(bench: Bench) -> dict[str, Any]:
    """The spec's own values by their paths, defaults included."""
    return parameters(bench.document.spec, bench.registry, bench.events)


def _folder(
    file: SearchFile, out: str | Path | None, runs: str | Path | None, *, resume: bool
) -> Path | None:
    """The folder of the search, new or to go on with; None where nothing is to be kept."""
    stem = f"{file.name}-tune"
    if not resume:
        folder = Path(out) if out is not None else None
        if folder is None and runs is not None:
            folder = next_free(Path(runs), stem)
        if folder is not None:
            file.write(folder)
        return folder
    if out is not None:
        folder = Path(out)
    else:
        found = [
            path
            for path in (Path(runs) if runs is not None else Path()).glob(f"{stem}-*")
            if path.name.removeprefix(f"{stem}-").isdigit() and (path / "tune.json").is_file()
        ]
        if runs is None or not found:
            raise RunError(
                f"{runs or 'resume'}: expected a search of '{file.name}', found none to resume; "
                "leave out --resume (in Python resume=True) to begin one"
            )
        folder = max(found, key=lambda path: path.stat().st_mtime)
    SearchFile.read(folder).check_same(file, folder)
    return folder


def _with_setting(document: SpecDocument, setting: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with a setting, to be fitted on validation rows as well in the end."""
    tree = {key: value for key, value in document.tree.items() if key != "tune"}
    texts = [override(path, value) for path, value in setting.items()]
    texts.append(override("train.refit", True))
    found, _, problems = apply_overrides(tree, texts, document.registry)
    if problems:
        raise SpecError(problems)
    result: dict[str, Any] = found
    return result


def _final(
    document: SpecDocument,
    tree: Mapping[str, Any],
    data: Any,
    plugins: Sequence[Any],
    progress: Progress,
    folder: Path | None,
) -> Run:
    """Fit the best setting on training and validation rows, and test it."""
    best = read_spec(tree, compose_registry(plugins), folder=document.folder)
    events = load_events(best.spec, best.registry, data=data, folder=document.folder)
    progress.note("the best setting, on training and validation rows:")
    return fit_events(
        best.spec,
        best.registry,
        events,
        name=document.spec.name or document.name,
        progress=progress,
        out=None if folder is None else next_free(folder, "run"),
        is_whole=True,
    )
