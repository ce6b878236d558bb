"""Kernels and fits, timed by airspeed velocity over the revisions of the repository (see asv.conf.json).

``asv run --python=same --quick`` tries each once with the packages at hand; ``asv continuous main HEAD`` compares two
revisions, as ``benchmarks/gate.py`` does in the workflows; ``asv run ALL`` and ``asv publish`` draw the history.
"""

import os

# Threads of a library that waits for work would be measured with it.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
