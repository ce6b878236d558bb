"""What the penalised rounds need of a learner: the one place that says so."""

from abc import ABC, abstractmethod

__all__ = ["Grower"]


class Grower(ABC):
    """Adds trees to an unpenalised booster on gradients of our own, and takes them away again.

    Made by an estimator's ``_start`` once the unpenalised rounds are done. Gradient and curvature are sums over rows of
    the weights that the user passed, as the learner's own would be.
    """

    @abstractmethod
    def n_trees(self):
        """Trees so far, those of the unpenalised booster included."""

    @abstractmethod
    def grow(self, gradient, curvature, learning_rate):
        """Add a tree with leaf values ``-learning_rate * sum(gradient) / sum(curvature)``, regularised by the learner.

        Returns
        -------
        bool
            False where no tree would split; there is then none more than before.
        """

    @abstractmethod
    def drop(self):
        """Take the last tree away."""

    @abstractmethod
    def raw(self):
        """Raw predictions of the training rows, without their offset, (n,) float64."""

    def leaf_nodes(self, first, *, monitored=False):
        """Number of the leaf of each row in each tree from position ``first`` on, (n, t) integers, or None.

        None, the default, is for learners whose leaves stay as they were grown: their largest strength is that of the
        rounds. Of the rows of ``eval_set`` if ``monitored``.
        """
        return

    def with_leaves_moved(self, booster, first, moves):
        """A finished booster with numbers added to its leaves.

        Parameters
        ----------
        booster : object
            What :meth:`snapshot` returned; it may be changed.
        first : int
            Position of the first tree.
        moves : list of (numbers, values)
            For each tree from there on: leaves by their numbers in :meth:`leaf_nodes`, and what to add to their values.

        Returns
        -------
        object
        """
        raise NotImplementedError(f"{type(self).__name__} moves no leaves")

    def monitored_raw(self):
        """Raw predictions of the rows of ``eval_set``, without their offset, (m,) float64."""
        raise NotImplementedError(f"{type(self).__name__} watches no eval_set")

    def after_round(self, callbacks, n_rounds):
        """What is to be called after each penalised round, or None.

        Parameters
        ----------
        callbacks : list
            As passed to ``fit``.
        n_rounds : int
            Penalised rounds at most.

        Returns
        -------
        callable or None
            ``call(number, row)`` with the number of the round, from 1, and a dict of objective, loss and penalty; a
            true answer ends the training.
        """
        if callbacks:
            raise NotImplementedError(f"{type(self).__name__} takes no callbacks")

    @abstractmethod
    def snapshot(self, shift):
        """The booster so far with ``shift`` added to its raw predictions, which later trees do not change."""
