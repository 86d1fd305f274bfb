"""An encoder in: the same encoder, set up for the fastest way that this machine has."""

from __future__ import annotations

import logging

import torch
from torch import nn

from sentvec.errors import InvalidInput
from sentvec.nn.compiled import compiled
from sentvec.nn.embeddings import TokenEmbeddings
from sentvec.nn.passes import passes
from sentvec.nn.stack import Layers
from sentvec.nn.steps import EagerSteps
from sentvec.runtime.heap import keep
from sentvec.runtime.team import expect_forks

_log = logging.getLogger("sentvec")


def set_up(encoder: nn.Module, device: torch.device, precision: str) -> None:
    """Let an encoder's layers run fused, where they can.

    Args:
        encoder: on its device, in its number format; for int8 that is float32.
        device: where it is.
        precision: float32, bfloat16, float16 or int8.

    Raises:
        InvalidInput: int8 is asked for where there is none.
    """
    expect_forks()
    layers = getattr(encoder, "layers", None)
    can = isinstance(layers, Layers) and layers.fusible
    if precision == "int8" and (device.type != "cpu" or not can):
        where = f"on {device.type}" if device.type != "cpu" else "for this architecture and its widths"
        raise InvalidInput(f"precision 'int8' is not offered {where}. Take bfloat16, or auto.")
    if not can or device.type != "cpu":
        return
    assert isinstance(layers, Layers)
    steps = compiled()
    if precision == "int8":
        layers.fuse(steps or EagerSteps(), int8=True)
    elif steps is not None and precision in ("float32", "bfloat16"):
        layers.fuse(steps)


def set_up_training(encoder: nn.Module) -> None:
    """Let an encoder's embeddings and layers train in passes that are written out, where they can.

    Gradients of a parameter that has one already are added to that in place; dropout follows torch's generator, but
    drops other numbers than torch would. The process keeps memory that it frees.

    Args:
        encoder: in float32; on another device than the processor, or without a compiler, nothing changes.
    """
    if next(encoder.parameters()).device.type != "cpu":
        return
    keep()
    steps = passes()
    for module in encoder.modules():
        if isinstance(module, Layers | TokenEmbeddings):
            module.fuse_training(steps)


def recompute(encoder: nn.Module) -> None:
    """Let an encoder's layers keep only what they begin with, and compute the rest again on the way back.

    That is Chen et al. 2016, arXiv 1604.06174. Gradients stay what they are; a step takes a third more time.
    """
    found = [module for module in encoder.modules() if isinstance(module, Layers)]
    for layers in found:
        layers.recompute()
    if not found:
        _log.warning("gradient_checkpointing does nothing for this architecture: it has no list of layers")
