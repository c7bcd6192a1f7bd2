"""What training lowers, and how a model's raw outputs become predictions."""

from __future__ import annotations

from tabcf.losses.blend import Sum
from tabcf.losses.catalogue import Softmax
from tabcf.losses.classification import BCE, CrossEntropy
from tabcf.losses.loss import Loss, weighted_mean
from tabcf.losses.regression import MAE, MSE, Huber, NumberLoss
from tabcf.losses.sampled import BPR, SampledBCE, SampledLoss, SampledSoftmax
from tabcf.losses.whole_matrix import ImplicitMSE

__all__ = [
    "BCE",
    "BPR",
    "MAE",
    "MSE",
    "CrossEntropy",
    "Huber",
    "ImplicitMSE",
    "Loss",
    "NumberLoss",
    "SampledBCE",
    "SampledLoss",
    "SampledSoftmax",
    "Softmax",
    "Sum",
    "weighted_mean",
]
