"""A view's name and its data in; one HTML file that needs nothing else, and no network, out."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# the page may run what it carries and show what it draws, and fetch nothing from anywhere
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<header><h1>{title}</h1><p id="about">{about}</p></header>
<main id="view"><noscript>This page draws with JavaScript, which is switched off here.</noscript></main>
<script type="application/json" id="data">{data}</script>
<script>
{script}
</script>
</body>
</html>
"""


@dataclass(frozen=True)
class Page:
    """A view as one HTML file; a notebook shows it in place.

    Attributes:
        html: the whole file.
        height: pixels that it gets in a notebook.
    """

    html: str
    height: int = 720

    def save(self, path: str | Path) -> Path:
        """Write the file and return its path."""
        target = Path(path)
        target.write_text(self.html, encoding="utf-8")
        return target

    def _repr_html_(self) -> str:
        """Return a frame around the page, so that it and the notebook leave each other's styles alone."""
        inside = html.escape(self.html, quote=True)
        return (
            f'<iframe srcdoc="{inside}" sandbox="allow-scripts" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )


def page(view: str, *, title: str, about: str, data: Mapping[str, Any], height: int = 720) -> Page:
    """Put a page together.

    Args:
        view: name of a script in `assets`, without its ending.
        title: what the page is, in a few words.
        about: of which model and text.
        data: what the script draws: numbers, texts, lists, and arrays made by `floats` and `shares`.
        height: pixels that it gets in a notebook.
    """
    assets = files("sentvec.inspect") / "assets"
    script = "\n".join((assets / name).read_text(encoding="utf-8") for name in ("common.js", "matrix.js", f"{view}.js"))
    whole = _TEMPLATE.format(
        policy=_POLICY,
        title=html.escape(title),
        about=html.escape(about),
        style=(assets / "page.css").read_text(encoding="utf-8"),
        data=_inside_script(data),
        script=script,
    )
    # names of files and groups may hold halves of characters, which no file can
    return Page(whole.encode("utf-8", "replace").decode(), height)


def floats(values: NDArray[Any]) -> dict[str, Any]:
    """Return an array of any numbers as the pages' scripts read it, in float32."""
    return _packed(values.astype("<f4"), 1.0)


def shares(values: NDArray[Any]) -> dict[str, Any]:
    """Return an array of numbers from 0 to 1, in steps of 1/65535 and half the size of `floats`."""
    return _packed(np.rint(np.clip(values, 0, 1) * 65535).astype("<u2"), 1 / 65535)


def _packed(values: NDArray[Any], scale: float) -> dict[str, Any]:
    numbers = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return {"kind": str(values.dtype), "shape": list(values.shape), "scale": scale, "numbers": numbers}


def _inside_script(data: Mapping[str, Any]) -> str:
    """Return JSON in which no text can end the element that it stands in, or begin another."""
    plain = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        plain = plain.replace(sign, f"\\u{ord(sign):04x}")
    return plain
