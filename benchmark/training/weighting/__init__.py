"""The balancings, one a file."""

from benchmark.training.weighting.aggregation import Aggregation
from benchmark.training.weighting.dwa import DWA
from benchmark.training.weighting.equal import Equal
from benchmark.training.weighting.famo import FAMO
from benchmark.training.weighting.gls import GLS
from benchmark.training.weighting.rlw import RLW
from benchmark.training.weighting.uncertainty import Uncertainty

__all__ = ["DWA", "FAMO", "GLS", "RLW", "Aggregation", "Equal", "Uncertainty"]
