"""`sentvec fit`: a folder that holds the fitted model, or one line that says why not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.builders import add_modules, tiny_bert
from tests.cli.running import inside
from tests.runtime.test_fitting import LABELS, OTHERS, PAIRS, TEXTS

from sentvec import Embedder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return add_modules(tiny_bert(tmp_path_factory.mktemp("m") / "model"), "Pooling", "Normalize")


@pytest.fixture
def fit(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    rows = [f"{a}\t{b}\t{label * 5}\n" for (a, b), label in zip(PAIRS + OTHERS, LABELS, strict=True)]
    (tmp_path / "pairs.tsv").write_text("".join(rows))
    run = inside(monkeypatch, capsys)
    return lambda *arguments: run("fit", *arguments, "--device", "cpu")


def loaded(folder):
    return Embedder.from_pretrained(folder, device="cpu")


def test_whitening_is_saved_in_the_folder(fit, model, tmp_path):
    ended = fit("whitening", model, "texts.txt", "-o", "new", "--dim", 8)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"whitening from {len(TEXTS)} texts; vectors have 8 features: new\n"
    expected = loaded(model).fit_postprocessing("whitening", TEXTS, dim=8).encode(TEXTS)
    np.testing.assert_allclose(loaded(tmp_path / "new").encode(TEXTS), expected, atol=1e-6)


def test_a_kind_may_be_written_with_hyphens(fit, model, tmp_path):
    assert fit("all-but-the-top", model, "texts.txt", "-o", "new").code == 0
    assert json.loads((tmp_path / "new" / "sentvec.json").read_text())["postprocessing"]["kind"] == "all_but_the_top"


def test_calibration(fit, model, tmp_path):
    ended = fit("calibration", model, "pairs.tsv", "-o", "new", "--related-from", 3)
    assert ended.code == 0 and f"calibration from {len(LABELS)} pairs; they are best called related" in ended.err
    expected = loaded(model).fit_calibration(PAIRS + OTHERS, LABELS).recipe.calibration
    assert loaded(tmp_path / "new").recipe.calibration == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("whiten", "texts.txt"), "post-processing 'whiten' is not known. Known: whitening, pca"),
        (("whitening", "gone.txt"), "gone.txt does not exist"),
        (("whitening", "texts.txt", "--dim", "33"), "dim is 33, which should be a whole number from 1 to 32"),
        (("pca", "texts.txt", "--related-from", "3"), "--related-from is for calibration"),
        (("calibration", "pairs.tsv", "--dim", "3"), "--dim is for whitening and pca"),
        (
            ("calibration", "pairs.tsv"),
            "pairs.tsv, line 1: column 3 is 5, which is not between 0 and 1; say",
        ),
        (("calibration", "pairs.tsv", "--related-from", "9"), "all pairs have labels of one kind"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(fit, model, tmp_path, arguments, told):
    kind, *rest = arguments
    ended = fit(kind, model, *rest, "-o", "new")
    assert ended.code == 1 and told in ended.err and ended.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_folder_with_something_in_it_is_not_written_over(fit, model, tmp_path):
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    ended = fit("pca", model, "gone.txt", "-o", model)
    assert ended.code == 1 and f"{model} is there, and not empty; give a new folder" in ended.err
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
    (tmp_path / "new").mkdir()
    assert fit("pca", model, "texts.txt", "-o", "new", "--dim", 8).code == 0
    assert loaded(tmp_path / "new").dim == 8
    assert "new is there, and not empty" in fit("pca", model, "texts.txt", "-o", "new").err


def test_a_model_that_is_not_whole_has_no_name(fit, model, tmp_path, monkeypatch):
    def full(folder, checkpoint):
        (folder / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sentvec.runtime.embedder.save_checkpoint", full)
    ended = fit("pca", model, "texts.txt", "-o", "deep/new")
    assert ended.code == 1 and "deep/new cannot be written (No space left on device)" in ended.err
    assert [path.name for path in (tmp_path / "deep").iterdir()] == []


def test_a_file_is_not_written_over(fit, model, tmp_path):
    ended = fit("pca", model, "texts.txt", "-o", "texts.txt")
    assert ended.code == 1 and "texts.txt is a file; give a folder" in ended.err
