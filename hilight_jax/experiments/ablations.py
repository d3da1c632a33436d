"""The tables of runs of ``ablate``: the demo, local losses of the encoder, connectors of the chat model."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.data.annotation_files import read_json_lines
from hilight_jax.evals.answer_scores import CONTROLS
from hilight_jax.evals.encoder_evaluation import headline
from hilight_jax.experiments.run_table import Before, RunTable, evaluation
from hilight_jax.pages import ablation_table
from hilight_jax.pages.report import read_result
from hilight_jax.runs.provenance import read_provenance
from hilight_jax.training.metrics import read_metrics

SHUFFLED = "validation-shuffle-positions"  # The evaluation that tells patches that they are in other places.
TRAINED = ("nce", "within_clip", "across_tokens", "across_captions")  # Losses whose curves are kept.
GRADIENTS, COSINE = "gradients/", "/cosine"  # Around the layer in the name of a cosine of two losses' gradients.
COMPARED = ("ball_pointing", "ball_any_ball", "ball_soft_iou", "text_to_video_r1")  # Figures of held-out clips.
PER_KIND = 50  # Questions of each kind that chat models are asked: all of them take as long as training.

# Rows that claims and charts name.
NO_LOCAL_LOSS = "no local loss"
POOLED_ALONE = "the demo's pooled local features, without a local loss"
DEMO_LOSS = "the demo: across clips, one query per object"
SPARC_LAST = "SPARC as published, last block, content (setting 2)"
SPARC_EMBEDDINGS = "SPARC as published, embeddings, content (setting 3)"
SPARC_EVERY = "SPARC as published, every block, content (setting 4)"
SAME_HEADS = "SPARC (within clip), the demo's heads"
EMBEDDINGS_ALONE, LAST_ALONE = "the demo, embeddings only", "the demo, last block only"
SPARC_UNMASKED = "SPARC as published, last block, none (setting 1)"
WITHOUT_TRACKS = ", without word tracks"
RELEASED, POSITIONS = "dual projectors, as released", "positions of patches on keys and values"
TWO_LINEAR, ONE_LINEAR = "one cross attention, two linear maps", "one cross attention, one linear map"
FRAME_MEAN, GRID = "patches averaged over a frame (the demo)", "patches averaged on a grid"
BY_CONTENT = f"{RELEASED}{WITHOUT_TRACKS}, key frames by content"
LONG_CLIP = f"{RELEASED}{WITHOUT_TRACKS}, Long-CLIP for key frames"


def loss_figures(workdir: Path) -> dict[str, Any]:
    """Retrieval and pointing of an encoder on both splits, and on shuffled positions where that was evaluated.

    Beside them the date, the step and the source of the evaluations; ``intervals``, 95 % over clips, by figure;
    ``influences`` of every clip on the figures that claims compare, in millionths (``evals/intervals.py``);
    ``curves``, the training losses and the cosines of their gradients over the steps; ``train``, the losses at the end;
    and ``cosine``, the mean over the steps of each layer that both losses reach.
    """
    lines = _curves(workdir, lambda name: name in TRAINED or (name.startswith(GRADIENTS) and name.endswith(COSINE)))
    layers = {name.removeprefix(GRADIENTS).removesuffix(COSINE): name for name in lines if name not in TRAINED}
    cosines = {layer: [value for _, value in lines[name]] for layer, name in layers.items()}
    found: dict[str, Any] = {
        "intervals": {},
        "curves": lines,
        "train": {name: _end(lines[name]) for name in TRAINED if name in lines},
        "cosine": {layer: float(np.mean(values)) for layer, values in cosines.items() if any(values)},
    }
    for split, prefix in (("validation", "validation"), ("unseen", "unseen"), (SHUFFLED, "shuffled")):
        if (result := read_result(evaluation(workdir, split))) is None:
            continue
        found |= headline(result, prefix)
        found |= {"step": result.get("step"), "date": max(result["date"], found.get("date", ""))}
        found |= {"source": result["source"]} if prefix == "validation" else {}
        found["intervals"] |= _intervals(result, prefix)
        if prefix == "validation":
            found["influences"] = _influences(workdir, split, {name: f"{prefix}/{name}" for name in COMPARED})
        if "ball" not in result["grounding"]["classes"]:
            found["note"] = f"no pointing, for no caption of {result['source']} names an object ball in view"
    return found


def _intervals(result: Mapping[str, Any], prefix: str) -> dict[str, list[float]]:
    """The intervals over clips of an encoder's evaluation, by figure."""
    found = {}
    for kind, group in result["grounding"]["classes"].items():
        of_kind = {"pointing": group["interval"], **group.get("intervals", {})}
        found |= {f"{prefix}/{kind}_{name}": interval for name, interval in of_kind.items()}
    if phrases := result.get("abstract_phrases"):
        found[f"{prefix}/phrases_right"] = phrases["interval"]
    for way, suffix in (("plain", ""), ("words", "_words")):
        ranks = result["retrieval"].get(way, {}).get("text_to_video", {})
        if "interval" in ranks:
            found[f"{prefix}/text_to_video{suffix}_r1"] = ranks["interval"]
    return found


def _curves(workdir: Path, wanted: Callable[[str], bool]) -> dict[str, list[tuple[int, float]]]:
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
        "source": result.get("source"),
        "right": result["needs_video"]["normalised"],
        "intervals": {"right": result["needs_video"].get("interval")},
        "influences": _influences(workdir, _sampled(split), {"right": "right"}),
        "controls": {control: result["needs_video"][control] for control in CONTROLS},
        "types": {kind: group["normalised"] for kind, group in result["types"].items()},
    }


def _influences(workdir: Path, split: str, wanted: Mapping[str, str]) -> dict[str, list[int]]:
    """The influences that ``evaluate`` wrote beside a result, under the wanted names, in millionths."""
    path = evaluation(workdir, split).with_suffix(".influences.jsonl")
    lines = [line for _, line in read_json_lines(str(path))] if path.is_file() else []
    kept = {line["figure"]: line["influences"] for line in lines if line["figure"] in wanted}
    return {wanted[name]: np.rint(1e6 * np.asarray(values)).astype(int).tolist() for name, values in kept.items()}


def connector_figures(workdir: Path) -> dict[str, Any]:
    """The losses of a chat model in training, at its end and on held-out conversations, and its answers.

    ``parts`` are the fingerprints of the parts that it took from other runs.
    """
    lines = _curves(workdir, lambda name: name in ("next_token", "validation/next_token"))
    losses = lines.pop("validation/next_token", [(0, None)])
    ends = {"train_loss": _end(lines["next_token"])} if lines else {}
    parts = {name: part.fingerprint for name, part in read_provenance(workdir).items()}
    curves = {"loss": losses[-1][1], "curves": lines}
    return answer_figures(workdir, "validation") | ends | curves | {"parts": parts}


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
            NO_LOCAL_LOSS: "demo,setting=0",
            POOLED_ALONE: "demo,contrast=none",
            DEMO_LOSS: "demo,gradients=on",
            "both contrasts, SPARC at a quarter": "demo,contrast=both",
            SAME_HEADS: "demo,contrast=within_clip",
            SPARC_LAST: "demo,setting=2,gradients=on",
            "the demo, one query per token": "demo,queries=tokens",
            "the demo, same objects not excluded": "demo,exclude=none",
            EMBEDDINGS_ALONE: "demo,levels=embedding",
            LAST_ALONE: "demo,levels=last",
            SPARC_EMBEDDINGS: "demo,setting=3,gradients=on",
            SPARC_EVERY: "demo,setting=4,gradients=on",
            SPARC_UNMASKED: "demo,setting=1",
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
        about="three of the local losses on a wider video tower, in more and larger frames",
        config="configs/encoder.py",
        spec="{config}:{argument}",
        rows={
            DEMO_LOSS: "medium",
            NO_LOCAL_LOSS: "medium,setting=0",
            SPARC_LAST: "medium,setting=2",
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
            f"{RELEASED}{WITHOUT_TRACKS}": "dual_projector,tracks=off",
            f"{ONE_LINEAR}{WITHOUT_TRACKS}": "one_linear,tracks=off",
            f"{TWO_LINEAR}{WITHOUT_TRACKS}": "two_linear,tracks=off",
            f"dual projectors, expansion transposed{WITHOUT_TRACKS}": "transposed,tracks=off",
            # Positions of patches, alone and with four heads, a residual and a LayerNorm; no attention.
            f"{POSITIONS}{WITHOUT_TRACKS}": "positions,tracks=off",
            f"positions, heads, residual and norm{WITHOUT_TRACKS}": "combined,tracks=off",
            f"{GRID}{WITHOUT_TRACKS}": "grid_pooling,tracks=off",
            f"{FRAME_MEAN}{WITHOUT_TRACKS}": "frame_mean,tracks=off",
            # With word tracks.
            RELEASED: "dual_projector",
            POSITIONS: "positions",
            FRAME_MEAN: "frame_mean",
            "the demo, word tracks read as plain numbers, no relations": "frame_mean,tracks=plain",
            "the demo, word tracks without relations among things": "frame_mean,tracks=waves",
            # What the key frames are, and which tower reads them.
            BY_CONTENT: "dual_projector,tracks=off,key_frames=content",
            LONG_CLIP: "dual_projector,tracks=off,frames=long_clip",
        },
        splits=(_sampled("validation"),),
        evaluate=(("--split", "validation", "--per_kind", str(PER_KIND)),),
        figures=connector_figures,
        layout=ablation_table.CONNECTORS,
        before_row={
            LONG_CLIP: (Before("long_clip", "configs/long_clip.py:demo", evaluated=False),),
        },
        sources={"encoder": "runs/encoder-demo", "long_clip": ""},
        curve="next_token",
    ),
}
