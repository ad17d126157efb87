"""`python -m pointsman_shm.config_check [--json] FILE`: is this a configuration, and of what?"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pointsman_shm.config import Config
from pointsman_shm.config_difference import differences
from pointsman_shm.config_load import ConfigError, load_config
from pointsman_shm.logs.saying import answer

JSON_OPTION = "--json"


def main(arguments: Sequence[str]) -> int:
    """Check one file: 0 valid, 2 not, or no file named."""
    as_json = JSON_OPTION in arguments
    files = [argument for argument in arguments if argument != JSON_OPTION]
    if len(files) != 1:
        print("usage: python -m pointsman_shm.config_check [--json] FILE", file=sys.stderr)
        return 2
    path = Path(files[0])
    changes: list[str] = []
    fault = ""
    try:
        changes = differences(Config(), load_config(path))
    except ConfigError as error:
        fault = str(error)
    if as_json:
        said = {"file": str(path), "valid": not fault, "fault": fault, "changes": changes}
        answer(json.dumps(said, indent=2, ensure_ascii=False))
    elif fault:
        print(f"pointsman: {fault}", file=sys.stderr)
    else:
        last = f"{path} is valid; it changes {len(changes)} of the defaults"
        answer("\n".join([*changes, last]))
    return 2 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
