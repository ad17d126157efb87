"""The guide for two hosts: its files are what the commands of the guide accept."""

import re
import tomllib
from pathlib import Path

from live.commands import invoke
from tidy_source import ROOT

PAGE = ROOT / "docs" / "instances.md"


def test_the_configuration_of_the_guide_is_accepted(tmp_path: Path) -> None:
    guide = PAGE.read_text("utf-8").partition("## Two hosts")[2].partition("\n## ")[0]
    (text,) = re.findall(r"```toml\n(.*?)```", guide, re.S)
    for name in (
        tomllib.loads(text)["redis"][key] for key in ("password_file", "cluster_key_file")
    ):
        (tmp_path / name).write_text("0123456789abcdef0123456789abcdef")
        (tmp_path / name).chmod(0o400)
        text = text.replace(f'"{name}"', f'"{tmp_path / name}"')
    path = tmp_path / "pointsman.toml"
    path.write_text(text)
    path.chmod(0o600)
    checked = invoke("config", "check", str(path))
    assert checked.exit_code == 0, checked.output
    assert "pointsman config check" in guide
