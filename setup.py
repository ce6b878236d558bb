"""The extension table; everything else about the build is declared in pyproject.toml.

``FAIRDCOV_DEBUG=1`` compiles the kernels with bounds and overflow checks (slow: for the kernel tests).
``FAIRDCOV_SANITIZE=address`` compiles them, single-threaded, for gcc's sanitizers of addresses and undefined behaviour,
whose library has to be loaded first (see ``make asan-test``).
``FAIRDCOV_NO_OPENMP=1`` builds single-threaded kernels; without a compiler that knows OpenMP that happens by itself.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

DEBUG = os.environ.get("FAIRDCOV_DEBUG", "0") == "1"
SANITIZE = os.environ.get("FAIRDCOV_SANITIZE", "")
KERNELS = ("_order", "_profiles", "_univariate", "_tiles", "_features", "_soft", "_scan", "_grid", "_linear")
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "freethreading_compatible": True,
}


class BuildKernels(build_ext):
    """Adds the flags that the compiler at hand understands, OpenMP when it links; compiles files side by side."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self):
        if self.compiler.compiler_type == "msvc":
            optimise, openmp = ["/O2", "/fp:contract"], (["/openmp"], [])
        else:
            # Square roots must not set errno, or the distance loop stays scalar. Nothing here relaxes IEEE arithmetic.
            # Without debug information, which would be four fifths of a wheel.
            optimise, openmp = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math"], (["-fopenmp"], ["-fopenmp"])
        if SANITIZE:
            # One version of each loop: what chooses among several runs before the sanitizer is ready.
            flags = [f"-fsanitize={SANITIZE},undefined", "-fno-sanitize-recover=undefined"]
            optimise = ["-O1", "-g", "-fno-omit-frame-pointer", "-DFAIRDCOV_ONE_VERSION", *flags]
            openmp = ([], flags)
        elif os.environ.get("FAIRDCOV_NO_OPENMP", "0") == "1" or not self._links(*openmp):
            print("fairdcov: building without OpenMP; the tile kernels will use one thread", file=sys.stderr)
            openmp = ([], [])
        for extension in self.extensions:
            extension.extra_compile_args += optimise + openmp[0]
            extension.extra_link_args += openmp[1]
        super().build_extensions()

    def _links(self, compile_flags, link_flags):
        program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=compile_flags)
                self.compiler.link_executable(objects, str(Path(folder, "probe")), extra_postargs=link_flags)
            except (CompileError, LinkError):
                return False
        return True


setup(
    ext_modules=cythonize(
        [
            Extension(
                f"fairdcov._kernels.{name}",
                [f"fairdcov/_kernels/{name}.pyx"],
                include_dirs=[np.get_include(), "fairdcov/_kernels"],
                depends=["fairdcov/_kernels/_loops.h"],
                define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
            )
            for name in KERNELS
        ],
        compiler_directives=DIRECTIVES,
        build_dir="build/cython-debug" if DEBUG else "build/cython",
    ),
    cmdclass={"build_ext": BuildKernels},
)
