"""Build the one extension module, fyke._core: csrc/_core.pyx (a table of contents of .pxi parts) and the C kernels.

Everything else about the package stands in pyproject.toml. Toggles, read from the environment:
  FYKE_DEBUG=1     -O1 -g, ASSERT on, Cython bounds checks      FYKE_COVERAGE=1  gcov counters, Cython line tracing
  FYKE_SANITIZE=1  as FYKE_DEBUG, with ASan and UBSan           FYKE_WERROR=1    warnings in our own C files are errors
  FYKE_PREBUILT=1  compile nothing: it lies in place already (an editable install after make has built)
"""

import os
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


def enabled(toggle):
    return os.environ.get(f"FYKE_{toggle}", "") not in ("", "0")


SANITIZE = enabled("SANITIZE")
COVERAGE = enabled("COVERAGE")
DEBUG = enabled("DEBUG") or SANITIZE

KERNELS = sorted(path for path in glob("csrc/*.c") if not path.endswith("_core.c"))
# -fvisibility=hidden is not for size: a kernel named like a function of libc was once bound to libc's by the loader.
CFLAGS = ["-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra"]
CFLAGS += ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer"] if DEBUG else ["-O3", "-DNDEBUG"]
LDFLAGS = []
MACROS = [("FYKE_DEBUG", "1")] if DEBUG else []
if SANITIZE:
    CFLAGS += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    LDFLAGS += ["-fsanitize=address,undefined"]
if COVERAGE:
    CFLAGS += ["--coverage", "-O0"]
    LDFLAGS += ["--coverage"]
    MACROS += [("CYTHON_TRACE_NOGIL", "1")]

# What Cython generates cannot be held to our rules; our own files are.
STRICT = ["-Wshadow", "-Wconversion", "-Wstrict-prototypes"] + (["-Werror"] if enabled("WERROR") else [])
# It holds no hot loop that gains by -O3 or is read in a debugger: less than half the time to compile.
GENERATED = [] if DEBUG else ["-O2", "-g0"]
LENIENT = ["-Wno-unused-function", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]


class StrictBuild(build_ext):
    """Compile our own C files with more warnings than the generated one."""

    def build_extension(self, ext):
        compile_file = self.compiler._compile

        def compile_strictly(obj, src, extension, cc_args, extra_postargs, pp_opts):
            flags = STRICT if src in KERNELS else LENIENT + GENERATED
            compile_file(obj, src, extension, cc_args, [*extra_postargs, *flags], pp_opts)

        self.compiler._compile = compile_strictly
        super().build_extension(ext)


core = Extension(
    "fyke._core",
    sources=["csrc/_core.pyx", *KERNELS],
    depends=sorted(glob("csrc/*.h") + glob("csrc/*.pxi") + glob("csrc/*.pxd")),
    include_dirs=["csrc"],
    define_macros=MACROS,
    extra_compile_args=CFLAGS,
    extra_link_args=LDFLAGS,
)
core.cython_c_in_temp = True  # the generated C file lands in build/, never beside the sources
core.cython_directives = {"language_level": 3, "boundscheck": DEBUG, "linetrace": COVERAGE}

setup(ext_modules=[] if enabled("PREBUILT") else [core], cmdclass={"build_ext": StrictBuild})
