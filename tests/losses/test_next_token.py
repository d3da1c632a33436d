"""The next token's cross entropy, by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from hilight_jax.core.means import Mean
from hilight_jax.core.mesh import MeshConfig, batch_sharding, make_mesh, replicated, under_mesh
from hilight_jax.losses.next_token import (
    TABLE,
    learned_rows,
    likeliest_in_chunks,
    next_token,
    next_token_count,
    next_token_in_chunks,
)
from tests.losses.clips import assert_close_to_absmax

# Rows are the logarithms of probabilities already, so a loss is minus the logarithm of one of them.
PROBABILITIES = np.array([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.9, 0.05, 0.05]]])


def loss(labels, probabilities=PROBABILITIES):
    return next_token(jnp.log(probabilities), lambda x: x, jnp.asarray(labels))


def test_row_i_is_asked_for_label_i_plus_one():
    found = loss([[2, 1, -100, 0]])
    np.testing.assert_allclose(found.sum, -np.log(0.25) - np.log(0.2), rtol=1e-6)
    assert found.count == 2


def test_the_first_label_and_ignored_ones_do_not_count():
    assert loss([[0, -100, -100, -100]]) == Mean(0, 0)
    assert loss([[0, -100, -100, -100]]).value() == 0
    assert next_token_count(jnp.array([[0, 1, -100, 2], [1, 1, 1, -100]])) == 4


def test_parts_of_a_batch_merge_exactly():
    both, labels = np.concatenate([PROBABILITIES, PROBABILITIES[:, ::-1]]), [[0, 1, 2, 0], [0, -100, -100, 1]]
    whole = loss(labels, both)
    parts = loss(labels[:1], both[:1]) + loss(labels[1:], both[1:])
    np.testing.assert_allclose(whole.value(), parts.value(), rtol=1e-6)


def test_rows_that_count_for_nothing_get_no_gradient_even_where_logits_are_infinite():
    logits = jnp.log(PROBABILITIES).at[0, 1].set(jnp.array([-jnp.inf, 0.0, 1.0]))
    labels = jnp.array([[0, 1, -100, 2]])
    gradient = jax.grad(lambda x: next_token(x, lambda x: x, labels).sum)(logits)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0, [1, 3]], 0)


def test_low_precision_logits_are_summed_in_float32():
    found = next_token(jnp.log(PROBABILITIES).astype(jnp.bfloat16), lambda x: x, jnp.array([[0, 1, 2, 0]]))
    assert found.sum.dtype == found.count.dtype == jnp.float32


VOCABULARY, WIDTH, LENGTH = 24, 8, 10


def example(dtype="float32"):
    """Rows, a table and labels, some of which do not count."""
    random = np.random.default_rng(0)
    tokens, table = random.normal(size=(8, LENGTH, WIDTH)), random.normal(size=(VOCABULARY, WIDTH))
    labels = random.integers(0, VOCABULARY, (8, LENGTH))
    labels = np.where(random.random(labels.shape) < 0.3, -100, labels)
    labels[3] = -100
    vectors = (jnp.asarray(x.astype(np.float32), dtype) for x in (tokens, table))
    return *vectors, jnp.asarray(labels, jnp.int32)


def to_logits(table):
    return lambda tokens: jnp.einsum("BLD,vD->BLv", tokens, table)


def plain(tokens, table, labels):
    return next_token(tokens, to_logits(table), labels).value()


def chunked(chunk, dtype, unroll=False):
    return lambda *inputs: next_token_in_chunks(*inputs, chunk, dtype, unroll).value()


@pytest.mark.parametrize(
    ("chunk", "dtype"), [(1, "float64"), (4, "float64"), (5, "float64"), (64, "float64"), (4, "float32")]
)
def test_chunks_of_any_length_give_the_loss_and_gradients_of_all_logits_at_once(chunk, dtype):
    relative = 1e-12 if dtype == "float64" else 1e-5
    with jax.enable_x64(dtype == "float64"):
        inputs = example(dtype)
        expected = jax.value_and_grad(plain, (0, 1))(*inputs)
        found = jax.jit(jax.value_and_grad(chunked(chunk, dtype), (0, 1)))(*inputs)
        assert_close_to_absmax(found, expected, relative)


def test_the_rows_before_learned_labels_alone_have_the_same_loss_and_gradients():
    with jax.enable_x64(True):
        tokens, table, labels = example("float64")
        rows = np.full((8, LENGTH), LENGTH - 1)
        for row, learned in enumerate(np.asarray(labels)[:, 1:] != -100):
            rows[row, : learned.sum()] = np.flatnonzero(learned)

        def of_some(tokens, table, labels):
            tokens, labels = learned_rows(tokens, labels, jnp.asarray(rows))
            return plain(tokens, table, labels)

        expected, found = (jax.value_and_grad(f, (0, 1))(tokens, table, labels) for f in (plain, of_some))
        assert_close_to_absmax(found, expected, 1e-12)


def test_rows_before_learned_labels_by_hand():
    tokens, labels = jnp.arange(4.0).reshape(1, 4, 1), jnp.array([[7, 8, -100, 9]])
    found, targets = learned_rows(tokens, labels, jnp.array([[0, 2, 3]]))
    assert found[..., 0].tolist() == [[0, 2, 3, 0]] and targets.tolist() == [[-100, 8, 9, -100]]


def test_chunks_written_out_are_the_same_chunks():
    inputs = example("float32")
    looped, written_out = (
        jax.value_and_grad(chunked(4, "float32", unroll), (0, 1))(*inputs) for unroll in (False, True)
    )
    assert_close_to_absmax(written_out, looped, 1e-6)


@pytest.mark.parametrize(
    "mesh", [MeshConfig(fsdp=8), MeshConfig(fsdp=2, tensor=2)], ids=["fsdp", "data_fsdp_and_tensor"]
)
@pytest.mark.parametrize(("dtype", "relative"), [("float64", 1e-12), ("float32", 1e-5)])
def test_eight_devices_give_the_same_loss_and_gradients(mesh, dtype, relative):
    with jax.enable_x64(dtype == "float64"):
        inputs = example(dtype)
        expected = jax.value_and_grad(plain, (0, 1))(*inputs)
        assert_close_to_absmax(compiled(make_mesh(mesh), inputs, chunk=4)(*inputs), expected, relative)


def compiled(mesh, inputs, chunk):
    """The loss and its gradients as a program for ``mesh``."""
    places = (batch_sharding(mesh), NamedSharding(mesh, TABLE), batch_sharding(mesh))
    gradient = under_mesh(mesh, jax.value_and_grad(chunked(chunk, inputs[0].dtype), (0, 1)))
    program = jax.jit(gradient, in_shardings=places, out_shardings=(replicated(mesh), places[:2]))
    return program.lower(*inputs).compile()


def test_the_table_is_gathered_once_and_its_gradient_scattered_once_for_all_chunks():
    program = compiled(make_mesh(MeshConfig(fsdp=8)), example(), chunk=2).as_text()
    assert len(re.findall(r" all-gather(?:-start)?\(", program)) == 1
    assert len(re.findall(r" reduce-scatter(?:-start)?\(", program)) == 1
    for line in re.findall(r".* all-reduce(?:-start)?\(.*", program):
        alone = re.search(r"replica_groups=(\{\{0\},\{1\}|\[8,1\])", line)  # Over an axis of one device.
        shapes = set(re.findall(r"\[(.*?)\]", line.partition(" all-reduce")[0]))
        assert alone or shapes == {""}, f"an all-reduce of {shapes}, not of scalars"
    for computation in re.findall(r"^%?body[^{]*\{.*?^\}", program, re.DOTALL | re.MULTILINE):
        assert "all-gather(" not in computation and "reduce-scatter(" not in computation


def test_no_array_holds_the_logits_of_more_than_a_chunk():
    inputs = example()
    program = compiled(make_mesh(MeshConfig(fsdp=8)), inputs, chunk=2).as_text()
    logits = {shape for shape in re.findall(r"\[([\d,]+)\]", program) if shape.endswith(f",{VOCABULARY}")}
    assert logits and all(np.prod([int(x) for x in shape.split(",")]) <= 2 * VOCABULARY for shape in logits)


def test_a_frozen_table_gets_no_gradient_and_costs_no_product():
    inputs = example()

    def products(arguments):
        return str(jax.make_jaxpr(jax.grad(chunked(2, "float32"), arguments))(*inputs)).count("dot_general")

    assert products(0) == 2 and products((0, 1)) == 3


def test_in_chunks_too_rows_that_count_for_nothing_get_no_gradient_even_where_logits_are_infinite():
    tokens, table, labels = example()
    tokens = tokens.at[3].set(jnp.inf)
    gradients = jax.grad(chunked(4, "float32"))(tokens, table, labels)
    assert np.isfinite(gradients).all()
    np.testing.assert_array_equal(gradients[3], 0)


def test_low_precision_products_are_summed_in_float32():
    tokens, table, labels = example()
    found = next_token_in_chunks(tokens.astype(jnp.bfloat16), table, labels, 4, jnp.bfloat16)
    assert found.sum.dtype == found.count.dtype == jnp.float32
    gradients = jax.grad(chunked(4, jnp.bfloat16), (0, 1))(tokens.astype(jnp.bfloat16), table, labels)
    assert [x.dtype for x in gradients] == [jnp.bfloat16, jnp.float32]
    np.testing.assert_allclose(found.value(), plain(tokens, table, labels), rtol=1e-2)


@pytest.mark.parametrize("mesh", [None, MeshConfig(fsdp=2, tensor=2)], ids=["one", "eight"])
def test_the_likeliest_label_is_that_of_all_logits_at_once_and_the_first_of_several(mesh):
    tokens, table, labels = example()
    table = table.at[VOCABULARY // 2 :].set(table[: VOCABULARY // 2])  # Every score comes twice.
    best = jnp.argmax(to_logits(table)(tokens[:, :-1]), axis=-1)
    labels = labels.at[::2, 1:].set(best[::2]).at[1, 1:].set(best[1] + VOCABULARY // 2)

    def run(*inputs):
        return likeliest_in_chunks(*inputs, 4, "float32")

    if mesh is not None:
        mesh = make_mesh(mesh)
        split = batch_sharding(mesh)
        run = jax.jit(under_mesh(mesh, run), in_shardings=(split, NamedSharding(mesh, TABLE), split))
    found = run(tokens, table, labels)
    np.testing.assert_array_equal(found, best == labels[:, 1:])
    assert found[::2].all() and not found[1].any()
