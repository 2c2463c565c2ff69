import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers
from tests import golden
from tests.meets import assert_meets

FILE = "ops/layers.npz"


def heads_last(array):
    """torch's [B, heads, L, D] -> [B, L, heads, D], and back."""
    return jnp.swapaxes(array, 1, 2)


@pytest.mark.parametrize(
    "case",
    golden.cases(FILE, "torch.nn.functional.scaled_dot_product_attention"),
    ids=lambda c: c.name,
)
def test_causal_attention_equals_torch(case):
    def attend(inputs):
        query, key, value = (heads_last(inputs[name]) for name in ("query", "key", "value"))
        causal = np.tril(np.ones((query.shape[1], key.shape[1]), bool))
        bias = jnp.where(causal, 0.0, -jnp.inf)
        output, _ = layers.dot_product_attention(query, key, value, bias=bias)
        return (heads_last(output),)

    assert_meets(case, attend)


@pytest.mark.parametrize("case", golden.cases(FILE, "multi_head_attention"), ids=lambda c: c.name)
def test_attention_of_several_heads_equals_torch(case):
    heads = case.arguments["num_heads"]

    def attend(inputs):
        parts = zip(
            (inputs["query"], inputs["key"], inputs["value"]),
            jnp.split(inputs["in_proj_weight"], 3),
            jnp.split(inputs["in_proj_bias"], 3),
        )
        projected = [(x @ w.T + b).reshape(*x.shape[:2], heads, -1) for x, w, b in parts]
        forbidden = jnp.zeros((1, 1, 1, 1), bool)
        if "attn_mask" in inputs:
            forbidden = inputs["attn_mask"][None, None]
        if "key_padding_mask" in inputs:
            forbidden = inputs["key_padding_mask"][:, None, None]
        bias = jnp.where(forbidden, -jnp.inf, 0.0)
        output, weights = layers.dot_product_attention(*projected, bias=bias)
        output = output.reshape(inputs["query"].shape)
        output = output @ inputs["out_proj.weight"].T + inputs["out_proj.bias"]
        return output, weights.mean(1)

    assert_meets(case, attend, ("output", "weights"))


def test_attention_by_hand():
    # One query of length ln 3 along the first of two keys, scale 1: weights 3/4 and 1/4.
    query = np.array([np.log(3), 0], np.float32).reshape(1, 1, 2)
    key = np.eye(2, dtype=np.float32).reshape(2, 1, 2)
    value = np.array([4.0, 8.0], np.float32).reshape(2, 1, 1)
    output, weights = layers.dot_product_attention(query, key, value, scale=1)
    np.testing.assert_allclose(weights[0, 0], [0.75, 0.25], rtol=1e-6)
    np.testing.assert_allclose(output[0, 0], [5.0], rtol=1e-6)
