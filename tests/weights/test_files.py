import argparse
import json
import os
import re
import struct
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import models, weights
from tests.weights import states, torch_like
from tests.weights.torch_like import Storage, Tensor

NAME = "lenet5"


@pytest.fixture(scope="module")
def state():
    return states.state_of(NAME)


def load(path, **options):
    """What a file gives, as a state dict again."""
    variables = weights.load(NAME, path, **options)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    return weights.to_state_dict(models.create(NAME), variables)


def tensors(state, **options):
    return {key: Tensor(array, **options) for key, array in state.items()}


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: tensors(state),
        lambda state: tensors(state, device="cuda:0"),
        lambda state: {key: torch_like.OldTensor(array) for key, array in state.items()},
        lambda state: {"module." + key: tensor for key, tensor in tensors(state).items()},
        lambda state: {"epoch": 3, "best": Tensor(np.ones(1)), "state_dict": tensors(state)},
        lambda state: {"optimizer": {"lr": [0.1, None]}, "model": {"state_dict": tensors(state)}},
    ],
    ids=["plain", "cuda", "of 2017", "DataParallel", "wrapped", "wrapped twice"],
)
def test_checkpoints_are_read_as_they_are_found(state, wrap, older, tmp_path):
    torch_like.write(tmp_path / "a.pth", wrap(state), older=older)
    states.assert_same(load(tmp_path / "a.pth"), state)


WRAPPERS = ["state_dict", "model_state_dict", "model", "net", "params"]
WRAPPERS += ["model_ema", "state_dict_ema", "params_ema"]


@pytest.mark.parametrize("place", range(len(WRAPPERS)))
def test_of_several_state_dicts_the_trained_ones_come_before_their_averages(state, place, tmp_path):
    first, *others = WRAPPERS[place:]
    wrong = tensors({key: array + 1 for key, array in state.items()})
    content = {**dict.fromkeys(others, wrong), first: tensors(state)}
    torch_like.write(tmp_path / "a.pth", content)
    states.assert_same(load(tmp_path / "a.pth"), state)


@pytest.mark.parametrize("older", [False, True])
def test_views_of_one_storage_are_read_in_their_strides(state, older, tmp_path):
    # Kernels as [out, h, w, in] in memory, all in one storage, behind seven other numbers.
    parts, places, place = [np.zeros(7, np.float32)], {}, 7
    for key, array in state.items():
        parts.append((array.transpose(0, 2, 3, 1) if array.ndim == 4 else array).reshape(-1))
        places[key] = place
        place += array.size
    storage = Storage(np.concatenate(parts))

    def view(key, array):
        strides = None
        if array.ndim == 4:
            _, channels, height, width = array.shape
            strides = (height * width * channels, 1, width * channels, channels)
        return Tensor(array, storage=storage, offset=places[key], strides=strides)

    content = {key: view(key, array) for key, array in state.items()}
    torch_like.write(tmp_path / "a.pth", content, older=older)
    states.assert_same(load(tmp_path / "a.pth"), state)


@pytest.mark.parametrize(("length", "fits"), [(10, True), (9, False), (16, False)])
def test_the_older_format_has_views_of_storages(state, length, fits, tmp_path):
    numbers = np.concatenate([np.zeros(5, np.float32), state["fc3.bias"]])
    viewed = Tensor(state["fc3.bias"], storage=Storage(numbers, view=("other", 5, length)))
    torch_like.write(tmp_path / "a.pth", tensors(state) | {"fc3.bias": viewed}, older=True)
    if fits:
        states.assert_same(load(tmp_path / "a.pth"), state)
    else:
        with pytest.raises(ValueError, match=r"does not lie in|a view .*\(5, 16\)"):
            load(tmp_path / "a.pth")


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float64])
def test_other_precisions_become_float32(state, dtype, tmp_path):
    narrow = {key: array.astype(dtype) for key, array in state.items()}
    torch_like.write(tmp_path / "a.pth", tensors(narrow))
    expected = {key: array.astype(np.float32) for key, array in narrow.items()}
    states.assert_same(load(tmp_path / "a.pth"), expected)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".npz", ".safetensors"])
def test_what_is_saved_is_read_with_every_bit(state, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_text("an older file")
    weights.save(NAME, weights.convert(NAME, state), path)
    states.assert_same(load(path), state)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_bfloat16_variables_keep_their_values(state, suffix, tmp_path):
    narrow = jax.tree.map(lambda a: a.astype(jnp.bfloat16), weights.convert(NAME, state))
    weights.save(NAME, narrow, tmp_path / f"a{suffix}")
    expected = {key: a.astype(jnp.bfloat16).astype(np.float32) for key, a in state.items()}
    states.assert_same(load(tmp_path / f"a{suffix}"), expected)


def test_another_suffix_and_other_variables_are_not_saved(state, tmp_path):
    variables = weights.convert(NAME, state)
    with pytest.raises(ValueError, match=r"path must end in \.safetensors.*got .*a\.h5"):
        weights.save(NAME, variables, tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"(?s)not those of LeNet5.*fc3/kernel is \[84, 10\], not"):
        weights.save(NAME, variables, tmp_path / "a.npz", num_classes=11)
    assert os.listdir(tmp_path) == []


def test_a_file_of_another_image_size_is_resampled_and_saved_at_the_new_one(tmp_path):
    small = {"depth": 1, "hidden_size": 8, "mlp_size": 16, "heads": 2, "num_classes": 3}
    shapes = jax.eval_shape(
        models.create("vit_b_16", **small).init, jax.random.key(0), jnp.zeros((1, 224, 224, 3))
    )
    variables = jax.tree.map(lambda s: np.ones(s.shape, s.dtype), shapes)
    path, said = tmp_path / "a.safetensors", []
    weights.save("vit_b_16", variables, path, **small)
    small |= {"image_size": 384}
    resampled = weights.load("vit_b_16", path, **small, say=said.append)
    weights.save("vit_b_16", resampled, path, **small)
    again = weights.load("vit_b_16", path, **small, say=said.append)
    assert said == ["Resampled for image_size=384: encoder.pos_embedding."]
    assert again["params"]["encoder.pos_embedding"].shape == (1, 577, 8)
    jax.tree.map(np.testing.assert_array_equal, again, resampled)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(
    ("value", "name"),
    [(Evil(), f"{os.mkdir.__module__}.mkdir"), (argparse.Namespace(lr=1), "argparse.Namespace")],
)
def test_what_is_no_tensor_is_refused_by_name_and_does_not_run(
    state, value, name, older, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    torch_like.write("a.pth", {"state_dict": tensors(state), "args": value}, older=older)
    with pytest.raises(ValueError, match=rf"a\.pth: it wants {name}, .*refused.*nothing was run"):
        weights.load(NAME, "a.pth")
    assert os.listdir(tmp_path) == ["a.pth"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it starts with b''"),
        (b"<!DOCTYPE html>", "it starts with b'<!DOCTYPE'"),
        (b"\x80\x02K\x07.", "magic number is 7, that of a checkpoint 0x1950a86a20f9469cfc6c"),
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "it wants os.system"),
        (b"\x80\x02\x8c\x02os\x8c\x06system\x93.", "it wants os.system"),
        (b"\x80\x02(ios\nsystem\n.", "instruction INST"),
        (b"\x80\x04\x82\x01.", "instruction EXT1"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "instruction NEWOBJ"),
        (b"\x80\x02]K\x01b.", "pickle is damaged"),
        (b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7fab.", "expected 9223372036854775807 bytes"),
        (b"\x80\x02R.", "pickle is damaged"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor\n(K\x01K\x02tR.", "pickle is damaged"),
        # (), ((), ()), ... of 2^64 parts, as a dict's key and as the magic number.
        (b"\x80\x02})" + b"q\x00h\x00\x86" * 64 + b"NsK\x01.", "tuple where str | int"),
        (b"\x80\x02)" + b"q\x00h\x00\x86" * 64 + b".", "magic number is ((...), (...)), that"),
        (b"\xff\xff\xff\x00\x00\x00\x00\x00{", "no .safetensors file or is damaged"),
        (b"PK\x03\x04 and no more", "damaged or truncated: File is not a zip file"),
    ],
)
def test_files_of_another_kind_are_named(content, message, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        weights.load(NAME, tmp_path / "a.pth")
    assert "a.pth" in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "older", "npz", "safetensors"])
def test_a_file_is_damaged_wherever_it_ends(state, kind, tmp_path):
    path = tmp_path / f"a.{kind if kind in ('npz', 'safetensors') else 'pth'}"
    if kind == "older":
        torch_like.write(path, tensors(state), older=True)
    else:
        weights.save(NAME, weights.convert(NAME, state), path)
    whole = path.read_bytes()
    for length in (1, 9, 100, 500, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=re.escape(str(path))):
            weights.load(NAME, path)


def test_a_flipped_bit_is_seen(state, tmp_path):
    weights.save(NAME, weights.convert(NAME, state), tmp_path / "a.pth")
    content = bytearray((tmp_path / "a.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match="damaged or truncated: Bad CRC-32"):
        weights.load(NAME, tmp_path / "a.pth")


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0"])
def test_a_safetensors_file_of_eight_bits_is_refused_by_its_dtype(dtype, tmp_path):
    header = {"fc3.bias": {"dtype": dtype, "shape": [4], "data_offsets": [0, 4]}}
    content = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(content)) + content + bytes(4))
    with pytest.raises(ValueError, match=rf"tensor fc3\.bias has the dtype {dtype}, read are F64"):
        weights.load(NAME, path)


NUMBERS = np.arange(10, dtype=np.float32)


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": 1}, r"shape \(10,\), strides \(1,\) and offset 1 does not lie in its storage"),
        ({"strides": (2,)}, "does not lie"),
        ({"strides": (-1,), "offset": 9}, "does not lie"),
        ({"offset": -1}, "does not lie"),
        ({"offset": True}, "does not lie"),
        ({"strides": ()}, "does not lie"),
        ({"shape": (2.0,), "strides": (1,)}, "does not lie"),
        ({"shape": (10, 2**62), "strides": (1, 4)}, "does not lie"),
        ({"storage": Storage(NUMBERS, says=11)}, "the pickle says 44 bytes|has 10 numbers, not 11"),
        ({"storage": Storage(NUMBERS, says=2**61)}, "the pickle says|has 10 numbers, not 2305843"),
        # Within the storage, but no such array is ever made.
        ({"shape": (2**40, 10), "strides": (0, 1)}, r"fc3.bias is \[1099511627776, 10\], not \[10"),
    ],
)
def test_a_tensor_that_its_storage_does_not_hold_is_refused(
    state, options, message, older, tmp_path
):
    content = tensors(state) | {"fc3.bias": Tensor(NUMBERS, **options)}
    torch_like.write(tmp_path / "a.pth", content, older=older)
    with pytest.raises(ValueError, match=message):
        weights.load(NAME, tmp_path / "a.pth")


def test_compressed_and_overlapping_checkpoints_are_refused(state, tmp_path):
    path = tmp_path / "a.pth"
    torch_like.write(path, tensors(state), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"entry model/data\.pkl is compressed"):
        weights.load(NAME, path)
    torch_like.write(path, tensors(state))
    content = path.read_bytes()
    place = content.index(b"PK\x01\x02") + 20  # the size of the pickle, in the directory
    path.write_bytes(content[:place] + (10**8).to_bytes(4, "little") * 2 + content[place + 8 :])
    with pytest.raises(ValueError, match="larger than the file"):
        weights.load(NAME, path)


def test_an_npz_that_unpacks_to_more_than_the_model_has_is_not_unpacked(state, tmp_path):
    bomb = np.broadcast_to(np.float32(0), (1 << 26,))
    np.savez_compressed(tmp_path / "a.npz", **state | {"fc3.bias": bomb})
    with pytest.raises(ValueError, match=r"fc3\.bias is \[67108864\], not \[10\]"):
        weights.load(NAME, tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **state | {"fc3.bias": np.array([Evil()])})
    with pytest.raises(ValueError, match=r"fc3\.bias\.npy holds Python objects: refused"):
        weights.load(NAME, tmp_path / "a.npz")


def test_what_holds_no_state_dict_says_what_it_holds(tmp_path):
    torch_like.write(tmp_path / "a.pth", {"epoch": 3, "weights": {"a": Tensor(NUMBERS)}})
    with pytest.raises(ValueError, match=r"no state dict: 'epoch', 'weights' are no tensors"):
        weights.load(NAME, tmp_path / "a.pth")
    torch_like.write(tmp_path / "a.pth", [Tensor(NUMBERS)])
    with pytest.raises(ValueError, match="it holds a list, not a state dict"):
        weights.load(NAME, tmp_path / "a.pth")
    with pytest.raises(FileNotFoundError, match=r"b\.pth"):
        weights.load(NAME, tmp_path / "b.pth")
