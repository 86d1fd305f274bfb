"""Those who encode in benchmarks/encode.py: a name in, how to build it out. Nothing heavy is imported before that.

All keep one protocol. `build(Setting)` returns a function from a list of texts to vectors, float32 (n, dim). Every one
reads at most `LENGTH` tokens of a text, takes the mean of the last layer, and makes vectors of length one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from peers import libraries, runtimes
from peers.setting import Encode, Setting

BATCHES = (8, 16, 32, 64, 128, 256)
WORKERS = ("one worker", "workers")  # all threads on one batch, or a batch for each thread


@dataclass(frozen=True)
class Contender:
    """One line of the table.

    Attributes:
        library: what is run, and the module that must be installed for it.
        precision: the number format it is asked for.
        build: makes it ready.
        variants: ways to set it up, of which the fastest is kept.
        batched: whether somebody must choose a batch size for it; if so, the fastest is kept.
    """

    library: str
    precision: str
    build: Callable[[Setting], Encode]
    variants: tuple[str, ...] = ("",)
    batched: bool = True

    @property
    def name(self) -> str:
        return f"{self.library} {self.precision}"

    @property
    def installed(self) -> bool:
        return find_spec(self.library.replace("-", "_")) is not None


CONTENDERS = {
    one.name: one
    for one in (
        *(Contender("sentence-transformers", p, libraries.sentence_transformers) for p in ("float32", "bfloat16")),
        *(Contender("onnxruntime", p, runtimes.onnxruntime, WORKERS) for p in ("float32", "int8")),
        *(Contender("openvino", p, runtimes.openvino, ("one stream", "streams")) for p in ("float32", "bfloat16")),
        *(Contender("ctranslate2", p, runtimes.ctranslate2, WORKERS) for p in ("float32", "bfloat16", "int8")),
        *(Contender("fastembed", p, libraries.fastembed) for p in ("float32", "int8")),
        *(
            Contender("sentvec", p, libraries.sentvec, batched=False)
            for p in ("float32", "bfloat16", "float16", "int8")
        ),
    )
}
"""All of them; the first is what the others are compared with."""
