"""Gradients in; parameters, moved by AdamW, out: torch's optimiser, with its step in one pass over memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from sentvec.nn.passes import Moved, Passes


def descend(optimizer: torch.optim.AdamW, passes: Passes | None, *, longest: float | None = None) -> None:
    """Take a step, and leave parameters without gradients.

    The optimiser's own state is what is read and written, so that it can be saved, loaded and used by torch as ever.

    Args:
        optimizer: AdamW as Loshchilov & Hutter (2019, arXiv 1711.05101) have it; its variants go through torch.
        passes: what does it; None leaves all to torch. So does a parameter that is not on the processor in float32.
        longest: gradients are shortened to this length, taken together; None leaves them as they are.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if passes is not None and parameters and all(map(_plain, parameters)) and _usual(optimizer):
        gradients = [p.grad for p in parameters]
        scale = 1.0 if longest is None else longest / (passes.length(gradients) + 1e-6)
        scale = min(scale, 1.0)  # in this order what is not a number stays so, and reaches the weights, as with torch
        first = optimizer.param_groups[0]
        passes.adamw(_moved(optimizer), first["betas"], first["eps"], scale)
    else:
        if longest is not None:
            nn.utils.clip_grad_norm_(parameters, longest)
        optimizer.step()
    increment_version(parameters)  # neither leaves a trace, and weights that were made ready elsewhere must be noticed
    optimizer.zero_grad(set_to_none=True)


def _moved(optimizer: torch.optim.AdamW) -> list[Moved]:
    found = []
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is None:
                continue
            state = optimizer.state[p]
            if not state:  # as torch begins it
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
            state["step"] += 1
            mean, square, step = state["exp_avg"], state["exp_avg_sq"], float(state["step"])
            found.append(Moved(p, p.grad, mean, square, float(group["lr"]), group["weight_decay"], step))
    return found


def _plain(parameter: Tensor) -> bool:
    tensors = parameter, parameter.grad
    return all(
        x is not None
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.layout == torch.strided
        and x.is_contiguous()
        for x in tensors
    )


def _usual(optimizer: torch.optim.AdamW) -> bool:
    groups = optimizer.param_groups
    return type(optimizer) is torch.optim.AdamW and all(
        not (group["amsgrad"] or group["maximize"] or group["differentiable"])
        and (group["betas"], group["eps"]) == (groups[0]["betas"], groups[0]["eps"])
        for group in groups
    )
