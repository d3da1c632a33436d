"""The tables of runs of ``ablate``: the demo, local losses of the encoder, connectors of the chat model."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.evals.answer_scores import CONTROLS
from hilight_jax.evals.encoder_evaluation import headline
from hilight_jax.experiments.run_table import Before, RunTable, evaluation
from hilight_jax.pages import ablation_table
from hilight_jax.pages.report import read_result
from hilight_jax.training.metrics import read_metrics

SHUFFLED = "validation-shuffle-positions"  # The evaluation that tells patches that they are in other places.
LOSSES = ("nce", "within_clip", "across_tokens", "across_captions")
GRADIENTS = "gradients/"  # Opens the names of the figures of how losses agree.
PER_KIND = 50  # Questions of each kind that chat models are asked: all of them take as long as training.


def loss_figures(workdir: Path) -> dict[str, Any]:
    """Retrieval and pointing of an encoder on both splits, and on shuffled positions where that was evaluated.

    Beside them the date and the step of the evaluations, ``intervals``, 95 % over clips, by figure; ``curves``, the
    training losses and the cosines of their gradients over the steps; ``train``, the losses at the end; and
    ``cosine``, the mean over the steps and those layers of each tower that both losses reach.
    """
    lines = curves(workdir, lambda name: name in LOSSES or name.startswith(GRADIENTS) and name.endswith("/cosine"))
    found: dict[str, Any] = {"intervals": {}, "curves": lines}
    found["train"] = {name: _end(points) for name, points in lines.items() if name in LOSSES}
    for tower in ("vision", "text"):
        layers = [points for name, points in lines.items() if name.startswith(f"{GRADIENTS}{tower}/")]
        reached = [value for points in layers for _, value in points if any(value for _, value in points)]
        if reached:
            found.setdefault("cosine", {})[tower] = float(np.mean(reached))
    for split, prefix in (("validation", "validation"), ("unseen", "unseen"), (SHUFFLED, "shuffled")):
        if (result := read_result(evaluation(workdir, split))) is None:
            continue
        found |= headline(result, prefix)
        found |= {"step": result.get("step"), "date": max(result["date"], found.get("date", ""))}
        for kind, group in result["grounding"]["classes"].items():
            of_kind = {"pointing": group["interval"], **group.get("intervals", {})}
            found["intervals"] |= {f"{prefix}/{kind}_{name}": interval for name, interval in of_kind.items()}
        if phrases := result.get("abstract_phrases"):
            found["intervals"][f"{prefix}/phrases_right"] = phrases["interval"]
        for way, suffix in (("plain", ""), ("words", "_words")):
            ranks = result["retrieval"].get(way, {}).get("text_to_video", {})
            if "interval" in ranks:
                found["intervals"][f"{prefix}/text_to_video{suffix}_r1"] = ranks["interval"]
        if {"validation/ball_pointing", "shuffled/ball_pointing"} <= found.keys():
            found["shuffled/ball_lost"] = found["validation/ball_pointing"] - found["shuffled/ball_pointing"]
        if f"{prefix}/phrases_R@1" in found:
            own, next_one = (found[f"{prefix}/phrases_{name}"] for name in ("R@1", "R@1_rephrased"))
            found[f"{prefix}/phrases_lost"] = own - next_one
        if "ball" not in result["grounding"]["classes"]:
            found["note"] = f"no pointing, for no caption of {result['source']} names an object ball in view"
    return found


def curves(workdir: Path, wanted: Callable[[str], bool]) -> dict[str, list[tuple[int, float]]]:
    """The (step, value) points of a run's figures whose names are wanted, to four digits."""
    found: dict[str, list[tuple[int, float]]] = {}
    for record in read_metrics(workdir):
        for name, value in record.items():
            if wanted(name):
                found.setdefault(name, []).append((record["step"], float(f"{value:.4g}")))
    return found


def _end(points: list[tuple[int, float]]) -> float:
    """The mean of the last tenth of a curve."""
    return float(np.mean([value for _, value in points[-math.ceil(len(points) / 10) :]]))


def answer_figures(workdir: Path, split: str) -> dict[str, Any]:
    """The shares of a chat model's answers that are right, with their controls, and where they were measured."""
    result = read_result(evaluation(workdir, _sampled(split)))
    return {
        "date": result["date"],
        "step": result["step"],
        "right": result["needs_video"]["normalised"],
        "intervals": {"right": result["needs_video"].get("interval")},
        "controls": {control: result["needs_video"][control] for control in CONTROLS},
        "types": {kind: group["normalised"] for kind, group in result["types"].items()},
    }


def connector_figures(workdir: Path) -> dict[str, Any]:
    """The losses of a chat model in training, at its end and on held-out conversations, and its answers."""
    lines = curves(workdir, lambda name: name in ("next_token", "validation/next_token"))
    losses = lines.pop("validation/next_token", [(0, None)])
    ends = {"train_loss": _end(lines["next_token"])} if lines else {}
    return answer_figures(workdir, "validation") | ends | {"loss": losses[-1][1], "curves": lines}


def demo_figures(workdir: Path) -> dict[str, Any]:
    """Retrieval and pointing of a demo's encoder and the answers of its chat model, on both splits."""
    encoder = loss_figures(workdir.with_name(f"{workdir.name}-encoder"))
    seen, unseen = (answer_figures(workdir, split) for split in ("validation", "unseen"))
    intervals = encoder["intervals"] | seen["intervals"] | {"unseen": unseen["intervals"]["right"]}
    return {
        **{name: value for name, value in encoder.items() if name.startswith(("validation/", "unseen/"))},
        **seen,
        "date": max(encoder["date"], seen["date"], unseen["date"]),
        "unseen": unseen["right"],
        "intervals": intervals,
        "calibration": _calibration(workdir, "validation"),
        "calibration_unseen": _calibration(workdir, "unseen"),
    }


def _calibration(workdir: Path, split: str) -> float | None:
    """The expected calibration error after the temperature."""
    calibration = read_result(evaluation(workdir, _sampled(split)))["calibration"]
    return calibration["overall"]["error_after"] if calibration else None


def _sampled(split: str) -> str:
    """The name of an evaluation of ``PER_KIND`` questions of each kind."""
    return f"{split}-per-kind-{PER_KIND}"


TABLES = {
    "demo": RunTable(
        name="demo",
        about="the whole demo, from the encoder to the tuned chat model, with several seeds",
        config="configs/tune.py",
        spec="{config}:{argument}",
        rows={"the demo": "demo"},
        before=(
            Before("encoder", "configs/encoder.py:demo", evaluated=True),
            Before("align", "configs/align.py:demo", evaluated=False),
        ),
        splits=tuple(map(_sampled, ("validation", "unseen"))),
        evaluate=(("--per_kind", str(PER_KIND)),),
        figures=demo_figures,
        layout=ablation_table.DEMO,
    ),
    "losses": RunTable(
        name="controls",
        about="the demo's encoder under every other local loss",
        config="configs/encoder.py",
        spec="{config}:{argument}",
        # The most informative come first. A row of the demo differs from the first of them in one thing.
        rows={
            "no local loss": "demo,setting=0",
            "the demo: across clips, one query per object": "demo,gradients=on",
            "both contrasts, SPARC at a quarter": "demo,contrast=both",
            "SPARC (within clip), the demo's heads": "demo,contrast=within_clip",
            "SPARC as published, last block, content (setting 2)": "demo,setting=2,gradients=on",
            "the demo, one query per token": "demo,queries=tokens",
            "the demo, same objects not excluded": "demo,exclude=none",
            "the demo, embeddings only": "demo,levels=embedding",
            "the demo, last block only": "demo,levels=last",
            "SPARC as published, embeddings, content (setting 3)": "demo,setting=3,gradients=on",
            "SPARC as published, every block, content (setting 4)": "demo,setting=4,gradients=on",
            "SPARC as published, last block, none (setting 1)": "demo,setting=1",
            "SPARC, last block, padding": "demo,setting=2,mask=padding",
            # What a word gathers: the threshold of SPARC, and the weights of the blocks.
            "SPARC, last block, content, nothing dropped": "demo,setting=2,sparsity=0",
            "SPARC, last block, content, half the threshold": "demo,setting=2,sparsity=0.5",
            "SPARC, last block, content, twice the threshold": "demo,setting=2,sparsity=2",
            "SPARC, last block, content, the best 16 patches": "demo,setting=2,sparsity=top16",
            "SPARC, every block, content, even weights": "demo,setting=4,weights=even",
            # Does a loss go by position?
            "SPARC, last block, content, no positions": "demo,setting=2,positions=off",
            "the demo, no positions": "demo,positions=off",
        },
        splits=("validation", "unseen", SHUFFLED),
        evaluate=((), ("--split", "validation", "--shuffle_positions")),
        figures=loss_figures,
        layout=ablation_table.LOSSES,
    ),
    "medium": RunTable(
        name="medium",
        about="the most informative local losses on towers three times as wide, in more and larger frames",
        config="configs/encoder.py",
        spec="{config}:{argument}",
        rows={
            "the demo: across clips, one query per object": "medium",
            "no local loss": "medium,setting=0",
            "SPARC as published, last block, content (setting 2)": "medium,setting=2",
            "both contrasts, SPARC at a quarter": "medium,contrast=both",
        },
        splits=("validation", "unseen"),
        figures=loss_figures,
        layout=ablation_table.MEDIUM,
        seeds="0",
    ),
    "connectors": RunTable(
        name="connectors",
        about="the stage align with every connector, on the same towers and questions: the HiLight paper's, and others",
        config="configs/align.py:demo",
        spec="{config},connector={argument}",
        rows={
            # The report's structures. Word tracks would hide what a connector itself carries.
            "dual projectors, as released, without word tracks": "dual_projector,tracks=off",
            "one cross attention, one linear map, without word tracks": "one_linear,tracks=off",
            "one cross attention, two linear maps, without word tracks": "two_linear,tracks=off",
            "dual projectors, expansion transposed, without word tracks": "transposed,tracks=off",
            # Positions of patches, alone and with four heads, a residual and a LayerNorm; no attention.
            "positions, without word tracks": "positions,tracks=off",
            "positions, heads, residual and norm, without word tracks": "combined,tracks=off",
            "patches averaged on a grid, without word tracks": "grid_pooling,tracks=off",
            # With word tracks.
            "dual projectors, as released": "dual_projector",
            "positions of patches on keys and values": "positions",
            "patches averaged over a frame (the demo)": "frame_mean",
            "the demo, word tracks read as plain numbers, no relations": "frame_mean,tracks=plain",
            "the demo, word tracks without relations among things": "frame_mean,tracks=waves",
            # What the key frames are, and which tower reads them.
            "dual projectors, no word tracks, key frames by content": "dual_projector,tracks=off,key_frames=content",
            "dual projectors, no word tracks, Long-CLIP for key frames": "dual_projector,tracks=off,frames=long_clip",
        },
        splits=(_sampled("validation"),),
        evaluate=(("--split", "validation", "--per_kind", str(PER_KIND)),),
        figures=connector_figures,
        layout=ablation_table.CONNECTORS,
        before_row={
            "dual projectors, no word tracks, Long-CLIP for key frames": (
                Before("long_clip", "configs/long_clip.py:demo", evaluated=False),
            ),
        },
        sources={"encoder": "runs/encoder-demo", "long_clip": ""},
        curve="next_token",
    ),
}
