"""The wheel with its hot path compiled, for who asks for it: POINTSMAN_COMPILE=1.

mypyc makes C of the modules that pyproject.toml names, all in one library, so that they call each
other without the interpreter; one shim for each stands beside its source and is imported instead.
What a module reads of others' classes and globals goes through the places of `sites.h`, which
remember where they found it.  Without the variable, and for an editable install, nothing is done.
"""

import os
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WISH = "POINTSMAN_COMPILE"
GROUP = "pointsman"  # the library is called pointsman__mypyc
HERE = Path(__file__).resolve().parent
# What gives the types by which mypyc compiles; what else is imported counts as any object.
NEEDED = ["mypy>=2.4,<2.5", "setuptools>=65", "msgspec>=0.19,<1"]


class CompiledWorker(BuildHookInterface[Any]):
    """Puts the compiled modules into the wheel, besides their sources."""

    PLUGIN_NAME = "custom"

    def _is_wished(self) -> bool:
        return os.environ.get(WISH, "") not in ("", "0")

    def dependencies(self) -> list[str]:
        """Return what only a build with a compiler needs."""
        return NEEDED if self._is_wished() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and name what came of it; any error ends the build."""
        if version == "editable" or not self._is_wished():
            return
        if sys.implementation.name != "cpython" or sys.version_info >= (3, 13):
            sys.exit(f"{WISH}: compiled for CPython 3.11 and 3.12 only; leave the variable out")
        with chdir(self.root):
            made = compiled(self.config["modules"], Path(self.directory).resolve() / "compiled")
        build_data["force_include"].update(made)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def compiled(modules: list[str], folder: Path) -> dict[str, str]:
    """Compile these sources of the checkout that is the current directory.

    Returns the libraries, each with its place in the wheel.  Nothing is written but below `folder`.
    """
    from mypyc.build import mypycify
    from setuptools import Distribution

    sources, objects, libraries = (folder / name for name in ("c", "o", "lib"))
    sources.mkdir(parents=True, exist_ok=True)
    options = ["--ignore-missing-imports", f"--cache-dir={folder / 'types'}"]
    extensions = mypycify(
        [*options, *modules],
        opt_level=os.environ.get("MYPYC_OPT_LEVEL", "2"),
        debug_level="1",
        multi_file=True,
        target_dir=str(sources),
        group_name=GROUP,
    )
    for extension in extensions:  # within the library, calls need no table of symbols
        extension.extra_compile_args = [*extension.extra_compile_args, "-fvisibility=hidden"]
    header = sources / f"__native_internal_{GROUP}.h"
    with header.open("a", encoding="utf-8") as appended:
        appended.write(f'\n#include "{HERE / "sites.h"}"\n')
    builder = Distribution({"name": GROUP, "ext_modules": extensions}).get_command_obj("build_ext")
    builder.build_lib, builder.build_temp, builder.force = str(libraries), str(objects), True
    builder.ensure_finalized()
    builder.run()
    names = [builder.get_ext_filename(extension.name) for extension in extensions]
    return {str(libraries / name): name for name in names}
