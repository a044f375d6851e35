"""What is a sparse vector? Measures of activation sparsity, one definition each, on numpy and torch.

>>> import numpy as np, sparsity
>>> float(sparsity.gini(np.array([0.0, 0.0, 0.0, 1.0])))
0.75
>>> sparsity.METRICS["gini"].sparser
'higher'

One vector: the measures below, :func:`profile` for many at once, ``nulls`` for what chance gives. A set of vectors:
``population``, ``neighbours``, ``streaming``. Where and in which basis: ``locate``, ``bases``, ``rotations``. What a
gated MLP needs: ``truncation``.
"""

from sparsity import bases as bases
from sparsity import locate as locate
from sparsity import neighbours as neighbours
from sparsity import nulls as nulls
from sparsity import population as population
from sparsity import rotations as rotations
from sparsity import streaming as streaming
from sparsity import truncation as truncation
from sparsity.axioms import AxiomRow as AxiomRow
from sparsity.axioms import axioms_table as axioms_table
from sparsity.fused import profile as profile
from sparsity.measures.concentration import effective_dimension_l1 as effective_dimension_l1
from sparsity.measures.concentration import gini as gini
from sparsity.measures.concentration import hoyer as hoyer
from sparsity.measures.concentration import pq_index as pq_index
from sparsity.measures.concentration import theil as theil
from sparsity.measures.concentration import top_k_share as top_k_share
from sparsity.measures.concentration import treves_rolls as treves_rolls
from sparsity.measures.concentration import vinje_gallant as vinje_gallant
from sparsity.measures.energy import effective_dimension_l2 as effective_dimension_l2
from sparsity.measures.energy import kurtosis as kurtosis
from sparsity.measures.energy import participation_ratio as participation_ratio
from sparsity.measures.energy import peak_to_rms as peak_to_rms
from sparsity.measures.energy import top_k_energy as top_k_energy
from sparsity.measures.hurley_rickard import kappa4 as kappa4
from sparsity.measures.hurley_rickard import l2_over_l1 as l2_over_l1
from sparsity.measures.hurley_rickard import pq_mean as pq_mean
from sparsity.measures.hurley_rickard import shannon_entropy as shannon_entropy
from sparsity.measures.hurley_rickard import u_theta as u_theta
from sparsity.measures.hurley_rickard import zero_count as zero_count
from sparsity.measures.hurley_rickard_scaled import gaussian_entropy as gaussian_entropy
from sparsity.measures.hurley_rickard_scaled import modified_shannon_entropy as modified_shannon_entropy
from sparsity.measures.hurley_rickard_scaled import near_zero_count as near_zero_count
from sparsity.measures.hurley_rickard_scaled import negative_l1 as negative_l1
from sparsity.measures.hurley_rickard_scaled import negative_log as negative_log
from sparsity.measures.hurley_rickard_scaled import negative_lp as negative_lp
from sparsity.measures.hurley_rickard_scaled import negative_lp_minus as negative_lp_minus
from sparsity.measures.hurley_rickard_scaled import negative_tanh as negative_tanh
from sparsity.measures.scale import l1_norm as l1_norm
from sparsity.measures.scale import l2_norm as l2_norm
from sparsity.measures.scale import max_abs as max_abs
from sparsity.measures.scale import rms as rms
from sparsity.measures.support import density_at_energy as density_at_energy
from sparsity.measures.support import fraction_above_mean_plus_sd as fraction_above_mean_plus_sd
from sparsity.measures.support import near_zero_fraction as near_zero_fraction
from sparsity.measures.support import zero_fraction as zero_fraction
from sparsity.records import METRICS as METRICS
from sparsity.records import Axiom as Axiom
from sparsity.records import Metric as Metric
from sparsity.registry import Registry as Registry
from sparsity.registry import UnknownNameError as UnknownNameError
from sparsity.specs import DEFAULT_METRICS as DEFAULT_METRICS
from sparsity.specs import MetricSpec as MetricSpec
from sparsity.specs import parse_metrics as parse_metrics
