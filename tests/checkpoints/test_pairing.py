"""What fitting a model set found out, written down and used again."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from app.store.codec import decode, encode
from checkpoints.errors import MisfitError
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set
from checkpoints.pairing import Pairing, fit_paired, pairing_of


def write(path, tensors):
    save_file(tensors, path)
    return open_layout(path)


@pytest.fixture
def layouts(tmp_path):
    """The tuned ones call the weight by a longer name, and have heads of their own shape."""
    base = write(tmp_path / "base.safetensors", {"weight": torch.zeros(3), "head": torch.zeros(2)})
    tuned = {
        name: write(tmp_path / f"{name}.safetensors", {"net.weight": torch.full((3,), value), "head": torch.ones(5)})
        for name, value in (("a", 1.0), ("b", 2.0))
    }
    return base, tuned


@pytest.fixture
def models(layouts):
    base, tuned = layouts
    named = {
        name: dataclasses.replace(layout, tensors={key.removeprefix("net."): place for key, place in layout.tensors.items()})
        for name, layout in tuned.items()
    }
    return fit_model_set(base, named, ["^head$"])


def test_fits_the_same_again(layouts, models):
    pairing = pairing_of(models)
    assert pairing == Pairing({"a": {"net.weight": "weight"}, "b": {"net.weight": "weight"}}, ("head",))
    again = fit_paired(*layouts, decode(Pairing, encode(pairing)))
    assert again.roles == models.roles
    assert again.private == models.private
    assert again.deltas("weight", 0, 3).tolist() == models.deltas("weight", 0, 3).tolist() == [[1.0] * 3, [2.0] * 3]


def test_is_empty_where_names_and_shapes_agree(tmp_path):
    base, *tuned = (write(tmp_path / f"{value}.safetensors", {"weight": torch.full((3,), value)}) for value in (0.0, 1.0, 2.0))
    named = dict(zip("ab", tuned, strict=True))
    assert pairing_of(fit_model_set(base, named)) == Pairing()


def test_is_needed_where_they_do_not(layouts):
    with pytest.raises(MisfitError):
        fit_paired(*layouts, Pairing())
