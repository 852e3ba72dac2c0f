"""The balancings, one a file."""

from benchmark.balancing.aggregation import Aggregation
from benchmark.balancing.dwa import DWA
from benchmark.balancing.equal import Equal
from benchmark.balancing.famo import FAMO
from benchmark.balancing.gls import GLS
from benchmark.balancing.rlw import RLW
from benchmark.balancing.uncertainty import Uncertainty

__all__ = ["DWA", "FAMO", "GLS", "RLW", "Aggregation", "Equal", "Uncertainty"]
