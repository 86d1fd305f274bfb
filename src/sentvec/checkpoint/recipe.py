"""How a checkpoint turns token states into a vector: the facts of a sentence-transformers folder as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sentvec.checkpoint.fitted import Fitted
from sentvec.models.heads import Projection
from sentvec.nn.flow import Flow
from sentvec.ops.calibration import Calibration


@dataclass(frozen=True)
class Normalize:
    """Scale the vector to length one."""


Step = Projection | Flow | Normalize
"""What can follow pooling."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """From token states to a vector.

    Attributes:
        pooling: names in `sentvec.ops.pooling.POOLINGS`; the vectors of several are joined end to end.
        include_prompt: whether a prompt's tokens count in pooling.
        steps: what follows pooling, in order.
        max_seq_length: most tokens of a text, special tokens included; the rest is cut off.
        lower_case: whether texts are lowered before they reach the tokeniser.
        prompts: texts to put in front, by name.
        default_prompt: name of the prompt used when none is asked for.
        similarity: name in `sentvec.ops.similarity.SIMILARITIES` that the model was trained for.
        dim: vectors are cut to this many features, or None for all.
        fitted: which of the steps was fitted on texts, or None; vectors do not depend on it, only on the steps.
        calibration: what a similarity means, or None where it was not fitted.
    """

    pooling: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    steps: tuple[Step, ...] = ()
    max_seq_length: int
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    default_prompt: str | None = None
    similarity: str = "cosine"
    dim: int | None = None
    fitted: Fitted | None = None
    calibration: Calibration | None = None

    def width(self, hidden: int) -> int:
        """Return how many features a vector has before it is cut to `dim`, for an encoder of this hidden size."""
        widths = [step.out_dim for step in self.steps if not isinstance(step, Normalize)]
        return widths[-1] if widths else hidden * len(self.pooling)

    @property
    def normalizes(self) -> bool:
        """Whether the last step scales vectors to length one."""
        return bool(self.steps) and isinstance(self.steps[-1], Normalize)
