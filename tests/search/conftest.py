"""The fake model, for all tests of this room and for the processes they start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_model import FakeModel


@pytest.fixture
def model():
    return FakeModel()
