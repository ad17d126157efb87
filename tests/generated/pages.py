"""The pages that are made from the code, each by a function of what it says now."""

from collections.abc import Callable
from pathlib import Path

from generated.admin_table import admin_page
from generated.config_page import config_page
from generated.error_page import error_page
from generated.log_table import log_page
from generated.man_page import man_page

ROOT = Path(__file__).parents[2]
PAGES: dict[str, Callable[[str], str]] = {
    "docs/admin.md": admin_page,
    "docs/config.md": config_page,
    "docs/errors.md": error_page,
    "docs/logs.md": log_page,
    "docs/man/pointsman.1": man_page,
}
