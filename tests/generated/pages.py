"""The pages that are made from the code, each by a function of what it says now."""

from collections.abc import Callable
from pathlib import Path

from generated.log_table import log_page

ROOT = Path(__file__).parents[2]
PAGES: dict[str, Callable[[str], str]] = {"docs/logs.md": log_page}
