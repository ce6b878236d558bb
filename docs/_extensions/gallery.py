"""Order of the examples: those that are run and draw, in the order of the list in ``conf.py``; then the others."""

from pathlib import Path


class Order:
    """Sort key of the files of a gallery."""

    first = ()

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, file):
        name = Path(file).stem
        return (self.first.index(name) if name in self.first else len(self.first), not name.startswith("plot_"), name)

    def __repr__(self):
        return "<Order of the examples>"
