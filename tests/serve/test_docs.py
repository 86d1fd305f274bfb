"""The clients on the page about serving, run against a server that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.serve.running import Running

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serve.md"
BLOCKS = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_clients_on_the_page_work(server: Running, block: str) -> None:
    names: dict = {}
    exec(block.replace("8000", str(server.port)).replace("localhost", "127.0.0.1"), names)
    names["client"].close()
    assert len(getattr(names["vectors"], "data", names["vectors"])) == 2


def test_every_route_on_the_page_is_there(server: Running) -> None:
    told = set(server.get("/openapi.json").json["paths"])
    named = set(re.findall(r"`(/[a-z_0-9/-]+)`", PAGE.read_text(encoding="utf-8")))
    assert named - told - {"/openapi.json"} == set()
