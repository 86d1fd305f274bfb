"""Devices and number formats by name: what can be used, or one clear error."""

from __future__ import annotations

import pytest
import torch

from sentvec.errors import InvalidInput
from sentvec.runtime.device import device_of, precision_of


def test_names_become_devices():
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["toaster", "meta", "privateuseone", "lazy", "", None, [], 3.5, "cuda:99"])
def test_devices_that_cannot_be_used(name):
    with pytest.raises(InvalidInput, match="cannot be used .* Try: auto, cpu"):
        device_of(name)


@pytest.mark.parametrize("name", ["float8", None, ["float32"]])
def test_number_formats_that_are_not_known(name):
    with pytest.raises(InvalidInput, match="is not known. Known: float32"):
        precision_of(name)
