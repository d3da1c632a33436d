"""The command line: ``hilight VERB ...`` runs ``python -m hilight_jax.VERB ...``."""

import runpy
import sys

from hilight_jax.core import __version__
from hilight_jax.core.errors import nearest

VERBS = {
    "generate": "generates billiards clips: a dataset to train on, or videos to watch",
    "check": "reads all videos and texts before training does",
    "convert": "brings published weights in",
    "train": "trains a model, or resumes its training",
    "evaluate": "evaluates a run",
    "report": "writes the report page of a run",
    "visualize": "draws where each word of a text looks in a video",
    "shots": "finds the strokes of a long video",
    "chat": "answers questions about videos on the terminal",
    "index": "indexes an archive of films, to search in",
    "search": "finds the shots of an archive that fit a text or a video",
    "serve": "serves a chat model over HTTP, with a page to try it on",
    "export": "takes a trained model out, for transformers and others",
    "plan": "plans a run on a TPU pod",
    "benchmark": "measures this machine",
    "ablate": "trains and compares a table of runs",
}


def main(argv: list[str] | None = None) -> int:
    """Runs the module of a verb as ``python -m`` does, so that it exits as it does there.

    Returns:
      The exit code of ``--help``, ``--version`` and an unknown verb; a verb's own module exits by itself.
    """
    verb, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if verb in ("-h", "--help"):
        print("usage: hilight VERB ...\n       hilight VERB --help\n       hilight --version\n")
        for name, summary in VERBS.items():
            print(f"  {name:11}{summary}")
        return 0
    if verb == "--version":
        print(f"hilight_jax {__version__}")
        return 0
    if verb not in VERBS:
        sys.stderr.write(f"error: '{verb}' is not a verb.{nearest(verb, VERBS)} Verbs: {', '.join(VERBS)}.\n")
        return 2
    sys.argv = [f"hilight {verb}", *arguments]
    runpy.run_module(f"hilight_jax.{verb}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
