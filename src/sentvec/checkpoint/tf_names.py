"""Names of variables as TensorFlow has them in; the names that PyTorch checkpoints have, and what to transpose, out."""

from __future__ import annotations

import re

_LAST = {
    "kernel": "weight", "embeddings": "weight", "gamma": "weight", "output_weights": "weight",
    "beta": "bias", "output_bias": "bias",
}  # fmt: skip
# what training leaves beside the weights: moments, their powers, the count of steps
_TRAINING = re.compile(r"(^|/)(adam_[mv]|Adam(_\d)?|lamb_[mv]|LAMB(_\d)?|beta[12]_power|global_step)$")


def from_training(name: str) -> bool:
    """Whether a variable belongs to the optimiser, and not to the model.

    >>> from_training("bert/pooler/dense/kernel/adam_m"), from_training("bert/pooler/dense/kernel")
    (True, False)
    """
    return _TRAINING.search(name) is not None


def from_google(name: str) -> tuple[str, bool]:
    """Translate a variable of Google's BERT code.

    Returns:
        The name that transformers gave it, and whether the matrix is the other way round there.

    >>> from_google("bert/encoder/layer_11/attention/self/query/kernel")
    ('bert.encoder.layer.11.attention.self.query.weight', True)
    >>> from_google("bert/embeddings/word_embeddings")
    ('bert.embeddings.word_embeddings.weight', False)
    """
    parts = re.sub(r"(^|/)layer_(\d+)(?=/)", r"\1layer/\2", name).split("/")
    tables = parts[-1].endswith("_embeddings")  # Google's tables have no name of their own below their layer's
    return _joined([*parts, "embeddings"] if tables else parts)


def from_keras(name: str) -> tuple[str, bool]:
    """Translate a variable of transformers' TensorFlow models, as tf_model.h5 names it within its layer.

    Returns:
        See `from_google`.

    >>> from_keras("tf_bert_model/bert/encoder/layer_._3/output/dense/kernel:0")
    ('bert.encoder.layer.3.output.dense.weight', True)
    >>> from_keras("tf_bert_for_pre_training/mlm___cls/predictions/transform/LayerNorm/beta:0")
    ('cls.predictions.transform.LayerNorm.bias', False)
    """
    inside = name.partition(":")[0].partition("/")[2]  # what comes first is what its author called the whole model
    # `layer_._3` is entry 3 of a list called layer; `mlm___cls` is cls, whatever its author called it
    return _joined([part.rpartition("___")[2] for part in inside.replace("_._", "/").split("/") if part])


def _joined(parts: list[str]) -> tuple[str, bool]:
    last = parts[-1] if parts else ""
    return ".".join([*parts[:-1], _LAST.get(last, last)]), last == "kernel"
