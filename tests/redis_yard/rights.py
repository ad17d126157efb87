"""The rights that docs/redis.md gives to Pointsman's user; tests run as that user (D1)."""

import re
from pathlib import Path

from tidy_source import ROOT

USER = "pointsman"
PASSWORD = "not-a-secret-but-long-enough"
PAGE: Path = ROOT / "docs" / "redis.md"


def rights() -> list[str]:
    """The words of the page's ACL SETUSER line, after user and password."""
    found = re.search(r"^ACL SETUSER pointsman on >\S+ (.+)$", PAGE.read_text("utf-8"), re.M)
    assert found, f"{PAGE} has no line that makes the user"
    return found[1].split()


def acl_line() -> str:
    """The user as a line of redis.conf."""
    return f"user {USER} on >{PASSWORD} {' '.join(rights())}"
