"""`python -m pointsman_shm.config_check FILE`: is this a configuration, and what does it say?"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pointsman_shm.config import Config
from pointsman_shm.config_difference import differences
from pointsman_shm.config_load import ConfigError, load_config


def main(arguments: Sequence[str]) -> int:
    """Check one file: 0 valid, 2 not, or no file named."""
    if len(arguments) != 1:
        print("usage: python -m pointsman_shm.config_check FILE", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        config = load_config(path)
    except ConfigError as error:
        print(f"pointsman: {error}", file=sys.stderr)
        return 2
    changes = differences(Config(), config)
    for change in changes:
        print(change)
    print(f"{path} is valid; it changes {len(changes)} of the defaults")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
