from hilight_jax.billiards.language.clauses import clauses
from hilight_jax.billiards.language.names import Namer
from tests.billiards.pretend import footage, happening, track

CUE, RED, BLUE = "ball:cue", "ball:3", "ball:2"
CUSHION = {"cushion:left": track([2.0] * 4)}
POCKET = {"pocket:top-left": track([60.0] * 4)}
NAMER = Namer(numbers=False, pool=("2", "3", "6"))


def shot(happenings=(), places=None, **balls):
    tracks = {CUE: track([10.0] * 4), RED: track([30.0] * 4), BLUE: track([58.0] * 4)}
    return footage(tracks | balls, happenings, places)


def test_balls_in_view_and_absent_ones_are_told_and_glimpsed_ones_are_not():
    found = clauses(shot(**{RED: track([0.0] * 4, visible=0.3)}), NAMER)
    assert found["is the blue ball in view"] and not found["is the green ball in view"]
    assert "is the red ball in view" not in found and "is the cue ball in view" not in found


def test_the_first_hit_holds_and_balls_that_are_never_hit_do_not():
    strikes = [happening("strike", CUE, BLUE, 0)]
    found = clauses(shot(strikes), NAMER)
    assert found["does the cue ball hit the blue ball"] and not found["does the cue ball hit the red ball"]
    later = clauses(shot([*strikes, happening("strike", CUE, RED, 1, shown=False)]), NAMER)
    assert "does the cue ball hit the red ball" not in later
    assert not any("hit" in clause for clause in clauses(shot(), NAMER))


def test_a_ball_whose_drop_is_shown_is_potted_and_one_in_view_to_the_end_is_not():
    gone = track([30.0] * 4, visible=[1, 1, 0, 0])
    found = clauses(shot([happening("drop", RED, "pocket:top-left", 1)], POCKET, **{RED: gone}), NAMER)
    assert found["is the red ball potted"] and not found["is the blue ball potted"]
    unseen = clauses(shot([happening("drop", RED, None, 1, shown=False)], **{RED: gone}), NAMER)
    assert "is the red ball potted" not in unseen


def test_cushions_are_told_when_the_cue_ball_is_watched():
    touch = happening("rebound", CUE, "cushion:left", 1)
    clause = "does the cue ball touch a cushion"
    assert clauses(shot([touch], CUSHION), NAMER)[clause]
    assert not clauses(shot([], CUSHION), NAMER)[clause]
    assert clause not in clauses(shot([touch]), NAMER)
    assert clause not in clauses(shot([], CUSHION, **{CUE: track([10.0] * 4, visible=[1, 0, 1, 1])}), NAMER)
