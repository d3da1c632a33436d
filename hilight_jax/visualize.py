"""Draws the similarity of words to video patches: ``python -m hilight_jax.visualize --checkpoint W --video a.mp4``.

Writes a GIF per word and ``index.html`` with every word over every frame, for any video that can be decoded.
"""

from pathlib import Path

import hilight_jax
from hilight_jax.core import commands
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.data.frame_sampling import uniform_indices
from hilight_jax.data.transforms import to_uint8_size
from hilight_jax.data.video import VideoError, decode
from hilight_jax.evals.example_clips import any_video
from hilight_jax.formats.exporting.packed import find_run
from hilight_jax.pages.word_maps import write_words_page


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, encodes, draws and prints the page's path."""
    parser = commands.parser("visualize", __doc__)
    add = parser.add_argument
    add(
        "--checkpoint",
        required=True,
        type=Path,
        help="working directory of a run, or a packed model such as billiards-mini",
    )
    add("--which", choices=("best", "latest"), default="latest", help="which of its checkpoints")
    add("--video", required=True, type=Path, help="any video file")
    add("--text", required=True, help='what to look for, e.g. "the red ball drops into the left pocket"')
    add("--out", type=Path, help="default: visualize/<name of the video>, in the run")
    arguments = parser.parse_args(argv)
    if not any(character.isalnum() for character in arguments.text):
        raise UserError(f"--text is {arguments.text!r}; it needs at least one word.")
    encoder = hilight_jax.load(arguments.checkpoint, arguments.which).encoder
    data, totals = encoder.config.data, []

    def choose(total):
        totals.append(total)
        return uniform_indices(total, data.num_frames)

    try:
        frames = decode(arguments.video, choose)
    except VideoError as error:
        raise DataError(f"{arguments.video}: {error}") from error
    numbers = uniform_indices(totals[-1], data.num_frames)
    example, cosine = any_video(
        encoder,
        frames,
        to_uint8_size(frames, (data.image_size, data.image_size)),
        arguments.text,
        name=arguments.video.name,
        notes=[f"frame {number + 1} of {totals[-1]}" for number in numbers],
    )
    folder = arguments.out or find_run(arguments.checkpoint) / "visualize" / arguments.video.stem
    page = write_words_page(folder, example, cosine)
    print(f"{len(example.words)} words over {len(frames)} frames: {page}")
    if arguments.json:
        words = [example.title(word) for word in example.words]
        commands.print_json({"page": str(page), "words": words, "frames": len(frames), "cosine": cosine})
    return 0


if __name__ == "__main__":
    commands.run(main)
