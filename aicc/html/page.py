"""The page itself: one file without anything from a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

HERE = Path(__file__).parent


def page(data: dict[str, Any]) -> str:
    """HTML that shows what `collect.report_data` gives."""
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=select_autoescape())
    template = environment.get_template("page.html")
    text = json.dumps(data, separators=(",", ":"))
    return template.render(
        title=data["title"],
        style=(HERE / "page.css").read_text(),
        scripts=[(HERE / name).read_text() for name in ("diff.js", "charts.js", "page.js")],
        # Nothing in it may end the element that it stands in.
        data=text.replace("<", "\\u003c").replace("\u2028", "\\u2028"),
    )
