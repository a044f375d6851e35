"""What is a sparse vector? Measures of activation sparsity, one definition each, on numpy and torch.

>>> import numpy as np, sparsity
>>> float(sparsity.gini(np.array([0.0, 0.0, 0.0, 1.0])))
0.75
>>> sparsity.METRICS["gini"].sparser
'higher'
"""

from sparsity import nulls as nulls
from sparsity.concentration import effective_dimension_l1 as effective_dimension_l1
from sparsity.concentration import gini as gini
from sparsity.concentration import hoyer as hoyer
from sparsity.energy import effective_dimension_l2 as effective_dimension_l2
from sparsity.energy import participation_ratio as participation_ratio
from sparsity.energy import top_k_energy as top_k_energy
from sparsity.fused import profile as profile
from sparsity.records import METRICS as METRICS
from sparsity.records import Axiom as Axiom
from sparsity.records import Metric as Metric
from sparsity.registry import Registry as Registry
from sparsity.registry import UnknownNameError as UnknownNameError
from sparsity.scale import l1_norm as l1_norm
from sparsity.scale import l2_norm as l2_norm
from sparsity.specs import DEFAULT_METRICS as DEFAULT_METRICS
from sparsity.specs import MetricSpec as MetricSpec
from sparsity.specs import parse_metrics as parse_metrics
