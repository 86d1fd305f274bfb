"""Learned maps after pooling: vectors (seqs, in_dim) in, (seqs, out_dim) out."""

from __future__ import annotations

from torch import Tensor, nn

from sentvec.errors import ConfigError

# by the last part of the class path that sentence-transformers writes
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    cls.__name__: cls
    for cls in (
        *(nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.LeakyReLU, nn.Mish, nn.ELU, nn.CELU, nn.SELU),
        *(nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink, nn.Softplus, nn.Softsign),
        *(nn.Tanhshrink, nn.LogSigmoid),
    )
}


def elementwise(path: str, what: str) -> nn.Module:
    """Return the activation of a class path such as ``"torch.nn.modules.activation.Tanh"``; only its end counts.

    Args:
        path: the class path.
        what: what to call it in an error, with ``{!r}`` for the path.

    Raises:
        ConfigError: it is not known.
    """
    name = path.rsplit(".", 1)[-1]
    if name not in _ACTIVATIONS:
        raise ConfigError(f"{what.format(path)} is not known. Known: {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[name]()


class Projection(nn.Module):
    """A linear map with an activation: what sentence-transformers calls Dense.

    Args:
        in_dim: width of the incoming vectors.
        out_dim: width of the outgoing vectors.
        bias: whether the map has a bias.
        act: the activation's class path, such as ``"torch.nn.modules.activation.Tanh"``; only its last part counts.
        residual: whether the incoming vectors are added to the result, through a map of their own where the
            widths differ.

    Raises:
        ConfigError: the activation is not known.
    """

    def __init__(
        self, *, in_dim: int, out_dim: int, bias: bool = True, act: str = "Tanh", residual: bool = False
    ) -> None:
        super().__init__()
        self.in_dim, self.out_dim = in_dim, out_dim
        self.linear = nn.Linear(in_dim, out_dim, bias=bias)
        self.act = elementwise(act, "activation_function {!r} of a Dense module")
        self.adds_input = residual
        self.residual = nn.Linear(in_dim, out_dim, bias=False) if residual and in_dim != out_dim else None

    def forward(self, vectors: Tensor) -> Tensor:
        """Project (seqs, in_dim) to (seqs, out_dim)."""
        out: Tensor = self.act(self.linear(vectors))
        if self.adds_input:
            out = out + (vectors if self.residual is None else self.residual(vectors))
        return out
