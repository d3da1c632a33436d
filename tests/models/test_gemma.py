"""One language model, however it is run: at once, through the cache, padded, scanned, unrolled, layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from hilight_jax.core.errors import DataError
from hilight_jax.core.mesh import MeshConfig, make_mesh
from hilight_jax.core.sharding import shardings
from hilight_jax.core.trees import count, flatten
from hilight_jax.models.gemma import GEMMA_PARTITION_RULES, Gemma, RmsNorm, scale_embeds
from hilight_jax.models.gemma_config import GEMMA_2B, GEMMA_7B, GemmaConfig
from hilight_jax.models.gemma_decoding import init_cache, unstack_layers
from hilight_jax.models.layers import ComputeConfig
from tests.models import tiny_gemma


@pytest.fixture(scope="module")
def params():
    return tiny_gemma.params()


@pytest.fixture(scope="module")
def whole(params):
    return tiny_gemma.run({"params": params}, keep_outputs=True, keep_attention=True)


def test_full_sizes_have_the_published_numbers_of_parameters():
    assert count(tiny_gemma.shapes(GEMMA_2B)) == 2_506_172_416
    assert count(tiny_gemma.shapes(GEMMA_7B)) == 8_537_680_896


def test_the_cache_gives_what_the_whole_sequence_gives(params, whole):
    cache, logits = init_cache(tiny_gemma.CONFIG, 2, 8), []
    for part in (slice(0, 3), slice(3, 4), slice(4, 5)):
        inputs = (x[:, part] for x in (tiny_gemma.IDS, tiny_gemma.POSITIONS, tiny_gemma.MASK))
        out = tiny_gemma.run({"params": params}, *inputs, cache)
        cache = out["cache"]
        logits.append(out["logits"])
    logits = np.concatenate(logits, axis=1)
    np.testing.assert_allclose(logits[tiny_gemma.MASK], whole["logits"][tiny_gemma.MASK], atol=1e-5)
    assert cache.length == 5
    np.testing.assert_array_equal(cache.mask, np.pad(tiny_gemma.MASK, ((0, 0), (0, 3))))


def test_a_row_padded_on_the_left_is_the_row_alone(params, whole):
    alone = tiny_gemma.run({"params": params}, np.array([[3, 4, 5]]), np.array([[0, 1, 2]]), np.ones((1, 3), bool))
    np.testing.assert_allclose(whole["logits"][1, 2:], alone["logits"][0], atol=1e-5)


def test_padding_rows_are_finite_with_finite_gradients(params, whole):
    assert all(np.isfinite(x).all() for x in (whole["logits"], whole["attention"]))

    def loss(params):
        inputs = (tiny_gemma.IDS, tiny_gemma.POSITIONS, tiny_gemma.MASK)
        out = Gemma(tiny_gemma.CONFIG).apply({"params": params}, *inputs, method=tiny_gemma.language)
        return jnp.sum(out["logits"] ** 2)

    assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.jit(jax.grad(loss))(params)))


def test_what_comes_after_a_token_does_not_change_it(params, whole):
    ids = tiny_gemma.IDS.copy()
    ids[:, -1] = 30
    changed = tiny_gemma.run({"params": params}, ids)["logits"]
    before = tiny_gemma.MASK & (np.arange(5) < 4)
    np.testing.assert_array_equal(changed[before], whole["logits"][before])
    assert np.abs(changed[:, -1] - whole["logits"][:, -1]).max() > 0.1


def test_hidden_states_start_scaled_and_end_before_the_final_norm(params, whole):
    outputs, table = whole["outputs"], params["embedder"]["table"]
    assert len(outputs) == 3
    np.testing.assert_allclose(outputs[0], table[tiny_gemma.IDS] * 12**0.5, rtol=1e-6)
    last = outputs[-1]
    normed = last / np.sqrt(np.mean(np.square(last), axis=-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(whole["tokens"], normed * (1 + params["final_norm"]["scale"]), rtol=1e-4)


def test_attention_weights_sum_to_one_over_visible_keys(whole):
    weights = whole["attention"]
    assert weights.shape == (2, 2, 4, 5, 5)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert not weights[:, 0][..., np.triu_indices(5, 1)[0], np.triu_indices(5, 1)[1]].any()
    assert not weights[:, 1, :, 2:, :2].any()


@pytest.mark.parametrize(
    "options", [{"unroll": True}, {"remat": True}, {"remat": True, "remat_keeps": ("qkv", "mixed", "middle")}], ids=str
)
def test_unrolling_and_remat_change_nothing(params, whole, options):
    out = tiny_gemma.run({"params": params}, fields={"compute": ComputeConfig(**options)})
    np.testing.assert_allclose(out["logits"], whole["logits"], atol=1e-5)


def test_unstacked_layers_compute_the_same_and_are_views(params, whole):
    apart = unstack_layers(params)
    assert sorted(apart) == ["embedder", "final_norm", "layers_0", "layers_1"]
    options = {"fields": {"stacked": False}, "keep_outputs": True, "keep_attention": True}
    out = tiny_gemma.run({"params": apart}, **options)
    for name in ("logits", "attention"):
        np.testing.assert_allclose(out[name], whole[name], atol=1e-5)
    for found, expected in zip(out["outputs"], whole["outputs"], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    stacked = jnp.ones((3, 16, 16))
    parts = unstack_layers({"layers": {"kernel": stacked}})
    assert parts["layers_2"]["kernel"].unsafe_buffer_pointer() == stacked.unsafe_buffer_pointer() + 2 * 16 * 16 * 4


def test_unstacked_names_are_the_modules_own():
    shapes = tiny_gemma.shapes(stacked=False)
    expected = jax.eval_shape(unstack_layers, tiny_gemma.shapes())
    assert {path: x.shape for path, x in flatten(shapes).items()} == {
        path: x.shape for path, x in flatten(expected).items()
    }


def test_bfloat16_stays_close_and_scores_in_float32(params, whole):
    out = tiny_gemma.run({"params": params}, fields={"compute": ComputeConfig(dtype="bfloat16")})
    assert out["logits"].dtype == jnp.float32
    assert out["tokens"].dtype == jnp.bfloat16
    np.testing.assert_allclose(out["logits"][tiny_gemma.MASK], whole["logits"][tiny_gemma.MASK], atol=0.15)


def test_float16_embeddings_are_scaled_in_float16_and_nothing_after_the_first_norm_is(params):
    embeds = np.random.default_rng(0).normal(size=(2, 5, 12)).astype(np.float16)
    out = Gemma(tiny_gemma.CONFIG).apply(
        {"params": params}, embeds, tiny_gemma.POSITIONS, tiny_gemma.MASK, keep_outputs=True
    )
    scaled = (embeds.astype(np.float32) * np.float32(12**0.5)).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(out["outputs"][0], scaled)
    for x in (*out["outputs"][1:], out["tokens"]):
        assert x.dtype == jnp.float32
        assert not np.array_equal(x, x.astype(jnp.float16).astype(jnp.float32))


def test_more_tokens_than_slots_are_refused(params):
    with pytest.raises(DataError, match="5 tokens were given, but the cache has 4 slots"):
        tiny_gemma.run({"params": params}, cache=init_cache(tiny_gemma.CONFIG, 2, 4))


def test_every_full_size_parameter_has_one_rule_and_divides():
    mesh = make_mesh(MeshConfig(fsdp=4, tensor=2))
    for config in (GEMMA_2B, GEMMA_7B):
        placed = shardings(tiny_gemma.shapes(config), GEMMA_PARTITION_RULES, mesh)
        assert placed["layers"]["attn"]["k_proj"]["kernel"].spec == PartitionSpec(None, "fsdp", None)


def test_initial_scores_have_unit_variance():
    config = GemmaConfig(vocab_size=500, width=64, depth=2, num_heads=4, head_dim=16, mlp_dim=128)
    ids = np.arange(100, dtype=np.int32)[None]
    model = Gemma(config)
    params = jax.jit(lambda: model.init(jax.random.key(0), ids, ids, ids >= 0, method=tiny_gemma.language))()
    out = jax.jit(lambda v: model.apply(v, ids, ids, ids >= 0, method=tiny_gemma.language, keep_outputs=True))(params)
    np.testing.assert_allclose(np.std(out["outputs"][0]), 1, rtol=0.05)
    np.testing.assert_allclose(np.std(out["logits"]), 1, rtol=0.2)


def test_the_norms_scale_is_an_offset_from_one():
    """The root mean square of (1, 7) is 5."""
    norm = RmsNorm(1e-6, ComputeConfig())
    found = norm.apply({"params": {"scale": jnp.array([0.0, 1.0])}}, jnp.array([1.0, 7.0]))
    np.testing.assert_allclose(found, [0.2, 2.8], rtol=1e-6)


def test_half_precision_rounds_the_normalised_value_before_it_is_scaled():
    norm = RmsNorm(1e-6, ComputeConfig())
    x, variables = jnp.array([1.0, 7.0]), {"params": {"scale": jnp.array([0.5, 0.5])}}
    expected = np.array([0.2, 1.4], np.float16).astype(np.float32) * np.float32(1.5)
    np.testing.assert_array_equal(norm.apply(variables, x, True), expected)
    np.testing.assert_array_equal(norm.apply(variables, x, jnp.array(False)), norm.apply(variables, x))


@pytest.mark.parametrize(("round_scale", "factor"), [(False, 45.254834), (True, 45.25)])
def test_the_embedding_scale_of_2b_in_bfloat16(round_scale, factor):
    x = jnp.linspace(-2, 2, 2048).astype(jnp.bfloat16)
    expected = (x.astype(jnp.float32) * factor).astype(jnp.bfloat16)
    np.testing.assert_array_equal(scale_embeds(x, round_scale).astype(jnp.float32), expected.astype(jnp.float32))


def test_the_two_scales_agree_in_float32():
    x = jnp.linspace(-2, 2, 24)
    np.testing.assert_array_equal(scale_embeds(x, True), scale_embeds(x, False))
