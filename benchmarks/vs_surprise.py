"""Surprise's SVD beside tabcf's DotProductBias on MovieLens-100K, fold u1, in one run.

    pip install scikit-surprise
    python benchmarks/vs_surprise.py

Ids alone, one thread, seed 42. Surprise runs with its own defaults (100 factors, 20 epochs of
plain SGD in Cython); tabcf with the recipe of `vs_fastai.py` at batch 64 and at batch 512. Nothing
is selected. `cpu-s` is CPU time of the fit alone.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
from vs_fastai import LARGE_BATCH, N_TEST, SEED, with_tabcf

from tabcf.data import datasets


def with_surprise(frame: pd.DataFrame) -> tuple[float, float]:
    """Test RMSE and CPU seconds of Surprise's fit."""
    from surprise import SVD, Dataset, Reader

    columns = ["user_id", "item_id", "rating"]
    data = Dataset.load_from_df(frame.iloc[N_TEST:][columns], Reader(rating_scale=(1, 5)))
    train = data.build_full_trainset()
    model = SVD(random_state=SEED)
    started = time.process_time()
    model.fit(train)
    seconds = time.process_time() - started
    test = frame.iloc[:N_TEST]
    predicted = np.array(
        [model.predict(u, i).est for u, i in zip(test["user_id"], test["item_id"], strict=True)]
    )
    return float(np.sqrt(np.mean((predicted - test["rating"].to_numpy()) ** 2))), seconds


def main() -> None:
    try:
        import surprise
    except ImportError:
        sys.exit("Surprise is not installed; pip install scikit-surprise")
    frame = pd.read_csv(datasets.fetch("movielens-100k") / "ratings.csv")
    print(f"Surprise {surprise.__version__}\n")
    rows = {
        "Surprise SVD": with_surprise(frame),
        "tabcf, batch 64": with_tabcf("DotProductBias", frame),
        "tabcf, batch 512": with_tabcf("DotProductBias", frame, **LARGE_BATCH["DotProductBias"]),
    }
    print(f"{'':<20}{'u1 RMSE':>10}{'cpu-s':>9}")
    for label, (rmse, seconds) in rows.items():
        print(f"{label:<20}{rmse:>10.4f}{seconds:>9.2f}")


if __name__ == "__main__":
    main()
