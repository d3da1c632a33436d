"""The parser on a small program in the compiler's own spelling."""

import pytest

from hilight_jax.planning.hlo import collectives, group_size

PROGRAM = """HloModule jit_run, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%all-reduce-scatter.1 (p: bf16[64,8]) -> bf16[16,8] {
  %p = bf16[64,8]{1,0} parameter(0)
  %all-reduce.7 = bf16[64,8]{1,0} all-reduce(%p), replica_groups=[2,4]<=[8], to_apply=%add
  ROOT %cut = bf16[16,8]{1,0} dynamic-slice(%all-reduce.7, %c), dynamic_slice_sizes={16,8}
}

%cond (c: (s32[], f32[4])) -> pred[] {
  %turns = s32[]{:T(128)} constant(12)
  %c = (s32[], f32[4]{0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  ROOT %lt = pred[] compare(%i, %turns), direction=LT
}

%body (b: (s32[], f32[4])) -> (s32[], f32[4]) {
  %b = (s32[], f32[4]{0}) parameter(0)
  %g = f32[4]{0} get-tuple-element(%b), index=1
  %all-reduce.1 = f32[4]{0:T(128)} all-reduce(%g), replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  ROOT %t = (s32[], f32[4]{0}) tuple(%i, %all-reduce.1)
}

ENTRY %main (a: f32[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0} parameter(0)
  %w = (s32[], f32[4]{0}) while(%start), condition=%cond, body=%body, metadata={op_name="jit(run)/while"}
  %all-gather-start.1 = (f32[1,4]{1,0}, f32[8,4]{1,0}) all-gather-start(%row), replica_groups=[1,8]<=[8], dimensions={0}
  %all-gather-done.1 = f32[8,4]{1,0} all-gather-done(%all-gather-start.1)
  %dynamic-update-slice = bf16[8,16]{1,0} dynamic-update-slice(%zeros, %mine, %n, %n)
  %all-reduce.2 = bf16[8,16]{1,0:T(8,128)} all-reduce(%dynamic-update-slice), replica_groups=mesh['a'=4,'b'=2] {'a'}
  %all-reduce.3 = (f32[]{:T(128)}, f32[10]{0}) all-reduce(%loss, %v), replica_groups=mesh['a'=4,'b'=2] {'a','b'}
  %fusion.9 = bf16[16,8]{1,0} fusion(%grads), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %out = f32[8,4]{1,0} add(%a, %all-gather-done.1)
}
"""


@pytest.fixture(scope="module")
def found():
    return {(row["kind"], row["group"]): row for row in collectives(PROGRAM)}


def test_a_loops_body_counts_as_often_as_it_turns(found):
    row = found["all-reduce", 4]
    assert (row["count"], row["bytes"]) == (12, 12 * 16)


def test_a_started_gather_counts_once_and_by_its_result(found):
    row = found["all-gather", 8]
    assert (row["count"], row["bytes"], row["largest"]) == (1, 8 * 4 * 4, ["f32[8,4]"])


def test_a_started_gather_of_several_arrays_counts_all_its_results():
    shapes = "((f32[1,4]{1,0}, bf16[1,2]{1,0}), (f32[8,4]{1,0}, bf16[8,2]{1,0}))"
    line = f"  %g = {shapes} all-gather-start(%a, %b), replica_groups=[1,8]<=[8], dimensions={{0}}"
    (row,) = collectives("\n".join(["ENTRY %main (a: f32[1,4]) -> f32[8,4] {", line, "}"]))
    assert (row["bytes"], row["largest"]) == (8 * 4 * 4 + 8 * 2 * 2, ["f32[8,4]", "bf16[8,2]"])


def test_a_started_permute_counts_without_its_counters():
    line = "  %p = (f32[4]{0}, f32[4]{0}, u32[], u32[]) collective-permute-start(%a), source_target_pairs={{0,1},{1,0}}"
    (row,) = collectives("\n".join(["ENTRY %main (a: f32[4]) -> f32[4] {", line, "}"]))
    assert (row["count"], row["bytes"]) == (1, 16)


def test_rows_put_in_place_and_summed_are_a_gather(found):
    assert (found["all-gather", 4]["count"], found["all-gather", 4]["bytes"]) == (1, 8 * 16 * 2)


def test_a_tuple_counts_all_its_arrays(found):
    assert found["all-reduce", 8]["bytes"] == 4 + 40


def test_a_fused_scatter_is_named_by_what_it_does(found):
    assert (found["reduce-scatter", 4]["count"], found["reduce-scatter", 4]["bytes"]) == (1, 64 * 8 * 2)


def test_the_pieces_of_one_channel_count_once_and_other_shapes_on_it_for_themselves():
    piece = "  %all-gather.{0} = bf16[8,4]{{1,0:T(8,128)}} all-gather(%a), channel_id=3, replica_groups=[1,8]<=[8]"
    other = "  %all-gather.9 = f32[8,4]{1,0} all-gather(%a), channel_id=3, replica_groups=[1,8]<=[8]"
    program = "\n".join(["ENTRY %main (a: bf16[1,4]) -> bf16[8,4] {", piece.format(1), piece.format(2), other, "}"])
    (row,) = collectives(program)
    assert (row["count"], row["bytes"]) == (2, 8 * 4 * (2 + 4))


def test_the_largest_kind_comes_first():
    sizes = [row["bytes"] for row in collectives(PROGRAM)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("replica_groups=[2,128]<=[256]", 128),
        ("replica_groups={{0,2},{1,3}}", 2),
        ("replica_groups=mesh['axis_0'=64,'axis_1'=1,'axis_2'=4] {'axis_0','axis_1'}", 64),
        ("source_target_pairs={{0,1},{1,0}}", 2),
        ("channel_id=3", 0),
    ],
)
def test_group_sizes_in_every_spelling(text, size):
    assert group_size(text) == size
