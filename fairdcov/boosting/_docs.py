"""Parts of the docstrings that the boosters share."""

from fairdcov._checks import documented

__all__ = ["OBJECTIVE", "describe"]

_PARAMETERS = """penalty : {"ccdcov", "jdcov", "dcov"} or penalty object, default="ccdcov"
        Dependence measure, with default options when given by name; see :class:`fairdcov.CCDCovPenalty`.
    strength : float, default=1.0
        Multiplier of the penalty, in units of the mean loss for the default, scale-free penalty. 0 gives <learner>'s
        model. Where a scale-free penalty of the start would weigh more than 10 times what the start explains of the
        loss, trees are grown as if it weighed that, and their leaves are then moved to where ``strength`` wants them,
        as far as the penalty that is left does not outweigh the model again: see ``effective_strength_``.
    <objective>
    n_estimators : int, default=100
        Unpenalised rounds.
    learning_rate : float, default=<rate>
        Of the unpenalised rounds.
    n_penalised_rounds : int, default=100
        Rounds on loss plus penalty that follow, at most; for each strength of a path.
    penalised_learning_rate : float, default=0.5
        Share of a Newton step that a penalised round takes.
    penalised_target : {"unpenalised", "observed"}, default="unpenalised"
        What penalised rounds keep close to: the predictions of the unpenalised rounds, so that however many there are
        they fit the noise of ``y`` no further and a small strength changes little, or ``y`` itself, which they then go
        on fitting; that wants few unpenalised rounds or early stopping.
    validation_fraction : float or None, default=0.5
        Where the training rows show no more dependence than chance would, which flexible models come by easily, two
        further fits leave out this share of the rows each, at most 0.5, drawn at random, and their penalty and the
        divergence between groups are measured on what they left out. From them follows what a third as many new rows
        will show of the model, which has learnt from all rows; a warning says where a quarter or more of such sets of
        rows will show a divergence (a penalty where that is not known) above its 95 % level under independence. The two
        fits take about as long as the first.
        None, and paths, do without them, as does a fit whose ``eval_set`` already tells.
    <further>
    random_state : int, RandomState or None, default=None
        Seed of <learner>.
    n_jobs : int, optional
        Threads of <learner> and of the tile kernels. All available for None, but of <learner>'s no more than one for
        every 100,000 values of X while it trains: threads with little to do wait for each other.
    importance_type : <importances>
        Of ``feature_importances_``.
    sensitive_columns : list of str or int, optional
        Columns of X that hold the protected attributes, instead of ``sensitive_features``.
    drop_sensitive_columns : bool, default=True
        Whether these columns are no features. They are then not needed in ``predict``.
    verbose : int, default=0
        1 prints a line for each strength, 2 <learner>'s messages as well.
    <others>"""

OBJECTIVE = """objective : {"squared_error", "poisson", "negative_binomial", "gamma", "tweedie"}, \
default="squared_error"
        Family of the target; all but the first have a log link.
    tweedie_power : float, default=1.5
        Power of the variance function for ``objective="tweedie"``.
    dispersion : float, default=1.0
        For ``objective="negative_binomial"``, as in :class:`fairdcov.DCovNegativeBinomialRegressor`. <learner> does not
        have it: its trees are grown on gradients computed here, and ``booster_`` says that it is a Poisson model."""

_ATTRIBUTES = """booster_ : <booster>
        All trees. Its own ``predict`` is on the scale of the target.
    n_unpenalised_rounds_ : int
        Trees of the unpenalised start.
    n_penalised_rounds_ : int
        Trees grown on loss plus penalty.
    effective_strength_ : float
        Strength that the model goes by: ``strength``, or the largest that was reached; the fit warns of that.
    penalty_null_level_ : float
        Where a constant would have a lower objective than the model: what the penalty of the training rows is at most
        in 95 % of the cases when its predictions fall to the rows at random. The fit warns of a ``penalty_value_``
        above it. NaN elsewhere.
    unseen_penalty_, unseen_null_level_ : float
        Penalty that a third as many new rows are expected to show, an estimate from two fits to parts of the rows, and
        its 95 % level under independence; NaN without these fits, see ``validation_fraction``.
    unseen_divergence_, unseen_divergence_level_ : float
        The same of the Jensen-Shannon divergence between groups, in bits, as :func:`fairdcov.metrics.js_divergence`
        has it; NaN as well where attributes are known as probabilities, or there are control features.
    unseen_exceedance_ : float
        Share of such sets of new rows that will show a divergence (a penalty where that is not known) above its level:
        0.05 where the model is independent of the attributes, about 0.5 where what is expected is at the level.
    loss_value_ : float
        Weighted mean loss (half deviance) on the training rows.
    penalty_value_ : float
        Penalty on the training rows, before ``strength`` and net of the terms without predictions; NaN when fitted
        without protected attributes.
    objective_value_ : float
        ``loss_value_ + effective_strength_ * penalty_value_``.
    penalty_method_ : str or None
        Algorithm the penalty used.
    penalty_error_bound_ : float or None
        Bound on the error of the normalised penalty; 0 unless ``penalty_method_`` is ``"approximate"``.
    history_ : dict of arrays
        ``objective``, ``loss`` and ``penalty`` at the start of each strength and after each penalised round; the loss
        is that of ``penalised_target``. Where leaves were moved after the rounds one more entry is theirs. With
        ``eval_set`` the same with the prefix ``validation_``, by the observed target.
    feature_importances_ : (p,) array
        Importance of each feature<sum>.
    fitted_with_offset_ : bool
        Whether the fit had an offset, which predictions then need as well.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (p,) array of str
        Names of the features, where X had names."""


def describe(learner, *, objective="", **parts):
    """Decorator that describes parameters and attributes of a booster on a learner; ``parts`` are what is its own."""
    parameters = _PARAMETERS.replace("    <objective>\n", f"    {objective}\n" if objective else "")
    parts = {"parameters": parameters.replace("<learner>", learner), "attributes": _ATTRIBUTES, **parts}
    return documented(**parts)
