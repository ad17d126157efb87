"""Where a command gets its token: a file or the environment, never its arguments.

Arguments stand in the list of processes, where every user of the machine reads them.
"""

import os
from pathlib import Path

from pointsman.cli.endings import USAGE, Trouble

VARIABLE = "POINTSMAN_TOKEN"
TOKEN_BYTES_MAX = 4_096


def given_token(file: Path | None) -> str:
    """Return the token of that file, else of the environment, else "".  Raises Trouble."""
    if file is None:
        return os.environ.get(VARIABLE, "").strip()
    try:
        with open(file, "rb") as content:
            token = content.read(TOKEN_BYTES_MAX).decode("ascii").strip()
    except OSError as error:
        raise Trouble(f"{file} cannot be read: {error.strerror}", code=USAGE) from None
    except UnicodeDecodeError:
        raise Trouble(f"{file} holds no token: it is not plain text", code=USAGE) from None
    if not token:
        raise Trouble(f"{file} is empty: write the token into it", code=USAGE)
    return token
