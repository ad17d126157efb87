"""One target guided by coverage: `python -m fuzz.guided TARGET [options of libFuzzer] [corpus]`.

Only what Python runs is seen, not msgspec's own code; so a good corpus counts for more than time.
"""

import sys

import atheris
from tidy_source import PACKAGE_PATHS as PACKAGES

with atheris.instrument_imports(include=[*PACKAGES]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Feed until libFuzzer ends the process, which says how many runs it made."""
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name].make())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
