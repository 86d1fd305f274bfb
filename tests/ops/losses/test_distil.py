"""Losses of students equal sums written out, and sentence-transformers."""

from __future__ import annotations

import pytest
import torch
from tests.ops.losses.oracle import gradients, same, st_loss

from sentvec.errors import InvalidInput
from sentvec.ops.losses.distil import attention_divergence, matched_layers, vector_cosine, vector_mse


@pytest.mark.oracle
@pytest.mark.parametrize(("ours", "metric"), [(vector_mse, "mse"), (vector_cosine, "cosine")])
def test_vectors_equal_sentence_transformers(ours, metric):
    student, teacher = torch.randn(4, 6), torch.randn(4, 6)
    expected = st_loss("EmbedDistillLoss", (student,), teacher, distance_metric=metric)
    torch.testing.assert_close(ours(student, teacher), expected)
    assert torch.autograd.gradcheck(lambda x: ours(x, teacher.double()), student.double().requires_grad_())


class TestAttention:
    def test_equals_a_sum_written_out(self):
        teacher = torch.randn(3, 4, 4).softmax(dim=-1)

        def written_out(logits):
            rows = []
            for head in range(3):
                for q, p in zip(logits[head].softmax(-1), teacher[head], strict=True):
                    rows.append(sum(p[i] * (p[i].log() - q[i].log()) for i in range(4)))
            return torch.stack(rows).mean()

        same(lambda logits: attention_divergence(logits.softmax(-1), teacher), written_out, torch.randn(3, 4, 4))

    def test_another_number_of_heads_is_averaged(self):
        student, teacher = torch.randn(2, 4, 4).softmax(-1), torch.randn(6, 4, 4).softmax(-1)
        expected = attention_divergence(student.mean(0, keepdim=True), teacher.mean(0, keepdim=True))
        torch.testing.assert_close(attention_divergence(student, teacher), expected)

    def test_what_nobody_attends_to_stays_finite(self):
        even = torch.full((1, 4, 4), 0.25)
        masked = torch.eye(4)[None]
        assert gradients(attention_divergence, masked, even)[0].isfinite().all()
        assert attention_divergence(masked, masked) == 0

    def test_other_lengths_are_refused(self):
        with pytest.raises(InvalidInput, match=r"shapes \(2, 4, 4\) and \(2, 5, 5\) differ"):
            attention_divergence(torch.rand(2, 4, 4), torch.rand(2, 5, 5))


def test_layers_are_matched_evenly():
    assert matched_layers(6, 12) == (2, 4, 6, 8, 10, 12)
    assert matched_layers(4, 6) == (1, 3, 4, 6)
    assert matched_layers(5, 5) == (1, 2, 3, 4, 5)
    with pytest.raises(InvalidInput, match="7 layers cannot learn from 6"):
        matched_layers(7, 6)
