"""Distance covariance of a prediction with fixed protected attributes: value and gradient on the whole sample.

Every measure is ``constant + sum_ij |u_i - u_j| M_ij`` with a symmetric M that depends on the attributes alone, because
U- and V-centring are self-adjoint projections. :func:`bind_dependence` computes once all that M needs and returns a
:class:`DependenceForm`; evaluating it costs one sweep over the sorted predictions. The functions are the statistician's
view of the same thing. This is the only package that calls the kernels; products with features are passed on.
"""

from fairdcov._kernels import Lattice, ascending_order, feature_sums, features_times
from fairdcov.dependence._binding import GRID_SIZE, MEASURES, METHODS, bind_dependence
from fairdcov.dependence._curvature import local_density
from fairdcov.dependence._device import device_sweep
from fairdcov.dependence._forms import DependenceForm, ProfileForm
from fairdcov.dependence._functions import (
    concatenated_distance_covariance,
    distance_covariance,
    gini_mean_difference,
    joint_distance_covariance,
)
from fairdcov.dependence._grid import GridAnswer, GridForm, GridTerms
from fairdcov.dependence._permutation import PermutableDependence
from fairdcov.dependence._reduction import Reduction
from fairdcov.dependence._strata import PermutableStrata, Strata, bind_strata, permutable_dependence

__all__ = [
    "GRID_SIZE",
    "MEASURES",
    "METHODS",
    "DependenceForm",
    "GridForm",
    "PermutableDependence",
    "PermutableStrata",
    "Reduction",
    "Strata",
    "ascending_order",
    "bind_dependence",
    "bind_strata",
    "concatenated_distance_covariance",
    "device_sweep",
    "distance_covariance",
    "gini_mean_difference",
    "joint_distance_covariance",
    "local_density",
    "permutable_dependence",
]
