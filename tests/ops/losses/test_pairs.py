"""Losses of scored and labelled pairs equal sums written out, and sentence-transformers."""

from __future__ import annotations

import pytest
import torch
from tests.ops.losses.oracle import same, st_loss

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import row_cosines
from sentvec.ops.losses.pairs import cosent

SCORES = torch.tensor([0.2, 0.9, 0.2, 0.5, 0.0])


def columns() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(5, 6), torch.randn(5, 6)


class TestCoSENT:
    def test_equals_a_sum_written_out(self):
        def written_out(cosines):
            total = 1.0
            for i in range(5):
                for j in range(5):
                    if SCORES[i] < SCORES[j]:
                        total = total + ((cosines[i] - cosines[j]) / 0.3).exp()
            return total.log()

        same(lambda cosines: cosent(cosines, SCORES, temperature=0.3), written_out, torch.rand(5))

    @pytest.mark.oracle
    def test_equals_sentence_transformers(self):
        a, b = columns()
        torch.testing.assert_close(cosent(row_cosines(a, b), SCORES), st_loss("CoSENTLoss", (a, b), SCORES))

    def test_equal_scores_teach_nothing(self):
        cosines = torch.rand(5, requires_grad=True)
        loss = cosent(cosines, torch.ones(5))
        loss.backward()
        assert loss.item() == 0
        assert cosines.grad.abs().max() == 0

    def test_refused(self):
        with pytest.raises(InvalidInput, match=r"shapes \(5,\) and \(4,\) differ"):
            cosent(torch.rand(5), torch.rand(4))
        with pytest.raises(InvalidInput, match="temperature is -1"):
            cosent(torch.rand(5), SCORES, temperature=-1)
