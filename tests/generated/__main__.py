"""Writes the pages that are made from the code: `PYTHONPATH=tests python -m generated`."""

from generated.pages import PAGES, ROOT

for name, make in PAGES.items():
    path = ROOT / name
    path.parent.mkdir(exist_ok=True)
    before = path.read_text("utf-8") if path.exists() else ""
    path.write_text(make(before), "utf-8")
