"""Builds the native core; everything else is declared in pyproject.toml.

Environment: LUNA_SANITIZE=address|thread builds it for a sanitizer,
LUNA_DEBUG=1 keeps assertions and debug information.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SANITIZER = os.environ.get("LUNA_SANITIZE", "")
DEBUG = bool(SANITIZER) or os.environ.get("LUNA_DEBUG") == "1"

compile_args = ["-std=c++17", "-fno-strict-aliasing", "-Wno-unused-function"]
link_args: list[str] = []
macros = [("CYTHON_WITHOUT_ASSERTIONS", None), ("NDEBUG", None)]
if DEBUG:
    compile_args += ["-O1", "-g", "-fno-omit-frame-pointer"]
    macros = []
else:
    compile_args += ["-O2"]
if SANITIZER:
    compile_args += [f"-fsanitize={SANITIZER}"]
    link_args += [f"-fsanitize={SANITIZER}"]

modules = sorted(path.stem for path in Path("scheduler").glob("*.pyx"))
extensions = [
    Extension(
        f"luna.scheduler.{name}",
        [f"scheduler/{name}.pyx"],
        language="c++",
        extra_compile_args=compile_args,
        extra_link_args=link_args,
        define_macros=macros,
    )
    for name in modules
]

setup(
    options={"build_ext": {"parallel": os.cpu_count() or 1}},  # one compiler for each module otherwise
    ext_modules=cythonize(
        extensions,
        include_path=[".types"],  # luna/<package>: where `cimport luna.scheduler._x` is found
        build_dir="build/cython",
        nthreads=os.cpu_count() or 1,
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
        },
    ),
)
