"""What a batch's vectors are held to: the name of an objective in, a module from vectors to one number out.

A new objective is a function in `ops.losses`, a module beside this file where it owns anything, and one row in
`OBJECTIVES`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sentvec.errors import InvalidInput
from sentvec.ops.losses import classes, contrastive, lists, margins, pairs
from sentvec.ops.losses.common import wide
from sentvec.train.batches import Batch, Kind
from sentvec.train.objectives_contrastive import Guided, InfoNCE, Remembering, Sigmoid, Tension
from sentvec.train.objectives_pairs import CoSENT, RDrop, Softmax
from sentvec.train.objectives_plain import Plain, as_angles, as_classes, as_contrast, as_cosines, as_triplets
from sentvec.train.objectives_ranked import AlignmentUniformity, ArcFace, Listed, TaughtVectors
from sentvec.train.objectives_row import Row

VALUED: frozenset[Kind] = frozenset({"scored", "labelled_pairs", "classes", "lists", "taught_scores", "taught_vectors"})
"""Kinds whose batches have values."""


class Objective(nn.Module):
    """An objective with all that the step has to know of it.

    What it draws at random comes from torch's own generator, which the step seeds before each call.

    Attributes:
        name: as in `OBJECTIVES`.
        kinds: of batches that it learns from.
        views: how often each column is encoded, each time with fresh dropout.
        layers: inner layers, counted from 1, whose vectors it needs besides the last layer's.
        body: the module that computes the loss; it may own parameters and buffers.
        twin: whether there is a second encoder, which starts as a copy, learns by itself and gives the first view.
            Vectors are not brought to length one then.
    """

    def __init__(
        self,
        body: nn.Module,
        *,
        name: str,
        kinds: frozenset[Kind],
        views: int = 1,
        layers: tuple[int, ...] = (),
        twin: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.name = name
        self.kinds = kinds
        self.views = views
        self.layers = layers
        self.twin = twin

    def forward(self, vectors: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Compute the loss in float32, also where the step runs under autocast.

        Args:
            vectors: for the last layer, then for each of `layers`: for each view: for each of the batch's columns:
                (texts, dim).
            batch: the texts that the vectors are of, and what is known of them.

        Returns:
            () loss.

        Raises:
            InvalidInput: the objective does not learn from such batches, or the vectors are not those of the batch.
        """
        self._check(vectors, batch)
        with torch.autocast(vectors[0].device.type, enabled=False):
            loss: Tensor = self.body(tuple(wide(part) for part in vectors), batch)
        return loss

    def _check(self, vectors: tuple[Tensor, ...], batch: Batch) -> None:
        if batch.kind not in self.kinds:
            raise InvalidInput(
                f"objective {self.name!r} learns from {' or '.join(sorted(self.kinds))}; this batch is "
                f"{batch.kind}. Objectives for {batch.kind}: {', '.join(names_for(batch.kind))}."
            )
        if batch.kind in VALUED and batch.values is None:
            raise InvalidInput(f"a batch of {batch.kind} has no values; objective {self.name!r} learns from them.")
        wanted = [len(column) for column in batch.columns] * (self.views * (1 + len(self.layers)))
        if [len(part) for part in vectors] != wanted:
            raise InvalidInput(
                f"objective {self.name!r} needs (texts, dim) vectors of {wanted} texts: {len(batch.columns)} columns, "
                f"{self.views} views, {1 + len(self.layers)} layers; got {[tuple(part.shape) for part in vectors]}."
            )


PAIRED: frozenset[Kind] = frozenset({"pairs", "tuples"})
ORDERED: frozenset[Kind] = frozenset({"scored", "labelled_pairs"})
LABELLED: frozenset[Kind] = frozenset({"labelled_pairs"})
CLASSED: frozenset[Kind] = frozenset({"classes"})
GRADED: frozenset[Kind] = frozenset({"lists"})
TAUGHT: frozenset[Kind] = frozenset({"taught_scores"})

OBJECTIVES: dict[str, Row] = {
    # a positive against the rest of the batch
    "infonce": Row(
        InfoNCE,
        PAIRED,
        "the positive against all other documents of the batch",
        "van den Oord et al. 2018, arXiv 1807.03748; Henderson et al. 2017, arXiv 1705.00652",
    ),
    "infonce_memory": Row(
        Remembering,
        PAIRED,
        "InfoNCE against the documents of past batches as well",
        "Wang et al. 2020, arXiv 1912.06798; He et al. 2020, arXiv 1911.05722",
    ),
    "gist": Row(
        Guided,
        PAIRED,
        "InfoNCE without what another model, the guide, finds nearer than the positive",
        "Solatorio 2024, arXiv 2402.16829",
    ),
    "decoupled": Row(
        Plain(contrastive.decoupled, as_contrast),
        PAIRED,
        "InfoNCE without the positive in the denominator, for small batches",
        "Yeh et al. 2021, arXiv 2110.06848",
    ),
    "sigmoid": Row(
        Sigmoid,
        PAIRED,
        "for each query and document by itself, whether they belong together",
        "Zhai et al. 2023, arXiv 2303.15343",
    ),
    "hinge": Row(
        Plain(margins.hinge, as_contrast),
        PAIRED,
        "the positive nearer than each other document by a margin",
        "Karpathy and Fei-Fei 2015, arXiv 1412.2306",
    ),
    "bpr": Row(
        Plain(margins.bpr, as_contrast),
        PAIRED,
        "the positive above each other document, pair by pair",
        "Rendle et al. 2009, arXiv 1205.2618",
    ),
    "triplet": Row(
        Plain(margins.triplet, as_triplets),
        frozenset({"tuples"}),
        "the positive nearer than the example's own negatives by a margin",
        "Schroff et al. 2015, arXiv 1503.03832; Reimers and Gurevych 2019, arXiv 1908.10084",
    ),
    "alignment_uniformity": Row(
        AlignmentUniformity,
        frozenset({"pairs"}),
        "pairs near each other, all texts spread evenly",
        "Wang and Isola 2020, arXiv 2005.10242",
    ),
    # texts alone
    "simcse": Row(
        InfoNCE,
        frozenset({"texts"}),
        "a text against all others, its positive the same text under another dropout",
        "Gao et al. 2021, arXiv 2104.08821",
        views=2,
    ),
    "contrastive_tension": Row(
        Tension,
        frozenset({"texts"}),
        "two encoders that agree on equal texts and disagree on others; one of them is kept",
        "Carlsson et al. 2021, ICLR",
        views=2,
        twin=True,
    ),
    # pairs with a score or a label
    "cosent": Row(CoSENT, ORDERED, "cosines in the order of the scores", "Su 2022, kexue.fm/archives/8847"),
    "angle": Row(
        Plain(pairs.cosent, as_angles),
        ORDERED,
        "angles of complex numbers in the order of the scores",
        "Li and Li 2023, arXiv 2309.12871",
    ),
    "cosine_mse": Row(
        Plain(pairs.cosine_mse, as_cosines),
        ORDERED,
        "cosines equal to the scores",
        "Reimers and Gurevych 2019, arXiv 1908.10084",
    ),
    "pearson": Row(Plain(pairs.pearson, as_cosines), ORDERED, "cosines on a line with the scores", "Pearson 1895"),
    "logistic": Row(
        Plain(pairs.logistic, as_cosines), ORDERED, "the probability that a pair belongs together", "Cox 1958"
    ),
    "contrastive": Row(
        Plain(pairs.contrastive, as_cosines),
        LABELLED,
        "pairs labelled 1 together, pairs labelled 0 at least a margin apart",
        "Hadsell et al. 2006, CVPR",
    ),
    "online_contrastive": Row(
        Plain(pairs.online_contrastive, as_cosines),
        LABELLED,
        "the contrastive loss of the batch's hard pairs alone",
        "sentence-transformers' OnlineContrastiveLoss",
    ),
    "softmax": Row(
        Softmax,
        LABELLED,
        "the class of a pair from (u, v, |u - v|), as in inference",
        "Reimers and Gurevych 2019, arXiv 1908.10084",
    ),
    "r_drop": Row(
        RDrop,
        LABELLED,
        "the class of a pair under two dropouts that should agree",
        "Liang et al. 2021, arXiv 2106.14448",
        views=2,
    ),
    # texts with a class
    "class_triplet": Row(
        Plain(classes.batch_triplets, as_classes),
        CLASSED,
        "triplets made of the batch: all, the hardest, or semi-hard ones",
        "Hermans et al. 2017, arXiv 1703.07737; Schroff et al. 2015, arXiv 1503.03832",
    ),
    "circle": Row(
        Plain(classes.circle, as_classes),
        CLASSED,
        "each text of a class pulled the harder the farther it is from where it should be",
        "Sun et al. 2020, arXiv 2002.10857",
    ),
    "arcface": Row(
        ArcFace,
        CLASSED,
        "the nearest of learned centres, with an angle added to the right one",
        "Deng et al. 2019, arXiv 1801.07698; Ha et al. 2020, arXiv 2010.05350",
    ),
    # lists of documents with grades, or with a teacher's scores
    "bce": Row(
        Listed(lists.binary_cross_entropy),
        GRADED | TAUGHT,
        "for each document by itself, whether it is good",
        "Nogueira and Cho 2019, arXiv 1901.04085",
    ),
    "list_softmax": Row(
        Listed(lists.softmax_cross_entropy),
        GRADED,
        "the good documents among all of a list",
        "Bruch et al. 2019, ICTIR",
    ),
    "list_net": Row(
        Listed(lists.list_net),
        GRADED | TAUGHT,
        "the softmax of scores equal to that of grades",
        "Cao et al. 2007, ICML",
    ),
    "rank_net": Row(
        Listed(lists.rank_net),
        GRADED | TAUGHT,
        "each document above those with a lower grade",
        "Burges et al. 2005, ICML",
    ),
    "lambda": Row(
        Listed(lists.lambda_loss),
        GRADED,
        "RankNet, each pair weighted by what it does to nDCG",
        "Wang et al. 2018, CIKM",
    ),
    "margin_mse": Row(
        Listed(lists.margin_mse),
        TAUGHT,
        "by how much the first document is better, equal to the teacher's",
        "Hofstätter et al. 2020, arXiv 2010.02666",
        preset={"scale": 1.0, "similarity": "dot"},
    ),
    "kl": Row(
        Listed(lists.score_divergence),
        TAUGHT,
        "the softmax of scores equal to the teacher's",
        "Hinton et al. 2015, arXiv 1503.02531; Lin et al. 2020, arXiv 2010.11386",
    ),
    # texts with a teacher's vector
    "taught_vectors": Row(
        TaughtVectors,
        frozenset({"taught_vectors"}),
        "vectors equal to the teacher's",
        "Reimers and Gurevych 2020, arXiv 2004.09813; Kim et al. 2023, arXiv 2301.12005",
    ),
}

DEFAULTS: dict[Kind, str] = {
    "pairs": "infonce",
    "tuples": "infonce",
    "scored": "cosent",
    "labelled_pairs": "online_contrastive",
    "classes": "class_triplet",
    "lists": "list_net",
    "texts": "simcse",
    "taught_scores": "kl",
    "taught_vectors": "taught_vectors",
}
"""The objective that each kind is learnt with where none is named."""


def names_for(kind: Kind) -> list[str]:
    """Return the names of the objectives that learn from batches of `kind`."""
    return [name for name, row in OBJECTIVES.items() if kind in row.kinds]


def objective(name: str, **options: Any) -> Objective:
    """Build an objective.

    Args:
        name: one of `OBJECTIVES`.
        options: those of its row; what is left out has the row's default.

    Raises:
        InvalidInput: the name or an option is not known, an option that is needed is left out, or a value cannot be.

    >>> objective("infonce", temperature=0.02).views
    1
    """
    if name not in OBJECTIVES:
        raise InvalidInput(f"objective {name!r} is not known. Known: {', '.join(OBJECTIVES)}.")
    row = OBJECTIVES[name]
    row.check(name, options)
    return Objective(
        row.build(**{**row.defaults, **options}), name=name, kinds=row.kinds, views=row.views, twin=row.twin
    )
