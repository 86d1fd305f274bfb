"""The demo's answers are visibly right: the first hit of each of its questions is the section that answers it."""

from __future__ import annotations

import re

import pytest

from sentvec import Collection

ANSWERS = {
    "How do I add a new architecture?": ("models.md", "Adding a new architecture"),
    "What happens to a text that is too long?": ("encode.md", "What happens to a text that is too long"),
    "Which file formats can I search?": ("search.md", "Which file formats can be searched"),
}


def test_these_are_the_demos_questions(root):
    asked = re.findall(r'^ask "(.*)"$', (root / "tools" / "demo.sh").read_text(), re.MULTILINE)
    assert asked == list(ANSWERS)


@pytest.fixture(scope="module")
def pages(minilm, root, tmp_path_factory):
    with Collection.open(tmp_path_factory.mktemp("demo") / "docs.sv", model=minilm) as collection:
        collection.add_files(root / "docs")
        yield collection


@pytest.mark.parametrize("question", ANSWERS)
def test_the_first_hit_answers(pages, question):
    page, heading = ANSWERS[question]
    (hit,) = pages.search(question, k=1)
    assert hit.source.endswith(page)
    assert heading in hit.text
