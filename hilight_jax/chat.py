"""Answers questions about videos: ``python -m hilight_jax.chat --checkpoint W --video a.mp4 [--prompt "..."]``.

With ``--prompt`` the answer is printed and nothing else; several are the turns of one conversation, and each is printed
before its answer. Without one a conversation starts; /help lists its commands.
The videos of a question stand before its text, or at its ``<video>`` marks.

A single video of more than 20 seconds is a film: it is cut into shots, and every question is answered over the shot
that fits it best, with its time; "When ...?" is answered by times.
"""

import argparse
import contextlib
import importlib
import io
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hilight_jax
from hilight_jax.core import commands
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import DataError, UserError, nearest
from hilight_jax.core.progress import timestamp
from hilight_jax.data.films.pieces import parse_rule
from hilight_jax.generation.dialogue import Dialogue, Reply
from hilight_jax.generation.evidence import write_evidence
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.locating import locate, named_things, write_rings
from hilight_jax.generation.video_clip import Zoom
from hilight_jax.generation.zoom import parse_zoom
from hilight_jax.stages.film_talk import FilmReply, FilmTalk, is_long

_REPORT_SECONDS = 10.0
HELP = """\
/video PATH         show a video with your next question; earlier videos stay in the conversation. A long one alone is a
                    film: every question is answered over the shot that fits it best
/evidence PATH      draw the evidence of the last answer as a GIF
/locate PATH TEXT   draw rings around the things that a text names, over the last video, as a GIF
/reset              drop the conversation and its videos
/help               print this help
/quit               end (so does Ctrl-D); Ctrl-C stops an answer
Any other line is a question. Its videos stand before its text, or at its <video> marks."""


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, then answers one prompt or holds a conversation."""
    arguments = _parser().parse_args(argv)
    if not all(prompt.strip() for prompt in arguments.prompt):
        raise UserError("--prompt is empty; ask something, or leave it out for a conversation.")
    if arguments.json and not arguments.prompt:
        raise UserError("--json needs --prompt: a conversation has no single result.")
    if arguments.shots < 1:
        raise UserError(f"--shots is {arguments.shots}, but must be at least 1.")
    parse_rule(arguments.windows)
    if arguments.evidence:
        check_gif(arguments.evidence)
        if arguments.prompt and not arguments.video:
            raise UserError("--evidence needs --video: without a video there is nothing to draw.")
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # Characters that the terminal cannot show end no conversation.
    model = hilight_jax.load(arguments.checkpoint, arguments.which)
    if arguments.confidence and model.confidence_temperature is None:
        evaluate = f"python -m hilight_jax.evaluate --checkpoint {arguments.checkpoint} --which {arguments.which}"
        log(f"the confidence of this checkpoint is not calibrated; '{evaluate}' fits its temperature.")
    sampling = ("temperature", "top_k", "top_p", "max_new_tokens", "seed")
    dialogue = model.dialogue(**{name: getattr(arguments, name) for name in sampling})
    zoom = parse_zoom(arguments.zoom, "--zoom")
    films = Films(
        model, zoom, arguments.shots, arguments.windows, {name: getattr(arguments, name) for name in sampling}
    )
    film = films.open(arguments.video[0]) if len(arguments.video) == 1 else None
    for video in arguments.video if film is None else []:
        films.warn(video)
        dialogue.show(video, zoom)
    if not arguments.prompt:
        Terminal(model, dialogue, films, film, arguments.evidence, arguments.confidence).talk()
        return 0
    ask = film.ask if film is not None else lambda *question: as_film_reply(dialogue.ask(*question))
    answer_prompts(ask, arguments, model.generator, is_film=film is not None)
    return 0


class Films:
    """Long videos, which are cut into shots."""

    def __init__(
        self, model: "hilight_jax.Model", zoom: Zoom, shots: int, windows: str | None, sampling: Mapping[str, Any]
    ):
        """Takes the options of all films."""
        self.zoom, self._model, self._shots, self._windows, self._sampling = zoom, model, shots, windows, sampling

    def open(self, video: str | Path) -> FilmTalk | None:
        """Starts a conversation about a film; None for a video that is short, and for HiLight's pickled clips."""
        if str(video).endswith(".pkl") or not is_long(video):
            return None
        log(f"{video} is long; it is cut into shots, each of which is looked at once.")
        shown = time.monotonic()

        def report(share: float) -> None:
            nonlocal shown
            if time.monotonic() - shown >= _REPORT_SECONDS:
                shown = time.monotonic()
                log(f"{share:.0%} of {video} is watched.")

        film = self._model.watch(video, self._windows, report)
        log(f"{len(film.pieces)} pieces in {timestamp(film.seconds)}" + "".join(f"; {fault}" for fault in film.faults))
        return self._model.film_talk(film, self._shots, self.zoom, **self._sampling)

    def warn(self, video: str | Path) -> None:
        """Says that a long video beside others is seen in few frames."""
        if not str(video).endswith(".pkl") and is_long(video):
            frames = self._model.data.num_frames
            log(f"{video} is long, and seen in {frames} frames of it all; ask about it alone to look at its shots.")


def answer_prompts(
    ask: Callable[[str, Callable[[str], None] | None], FilmReply],
    arguments: argparse.Namespace,
    generator: Generator,
    *,
    is_film: bool,
) -> None:
    """Answers the prompts of the command line, about a film or about the clips of a conversation."""
    results, found = [], None
    for prompt in arguments.prompt:
        if len(arguments.prompt) > 1 and not arguments.json:
            print(f"> {prompt}")
        found = ask(prompt, None if arguments.json else show)
        reply = found.reply
        if not arguments.json:
            print(at(found) + (beside(reply) if arguments.confidence and reply else ""))
        result: dict[str, Any] = {"answer": found.text}
        result |= {"moments": [moment._asdict() for moment in found.moments]} if is_film else {}
        if reply is not None:
            result |= {"finish_reason": reply.finish_reason, "prompt_tokens": len(reply.prompt.ids)}
            zoomed = arguments.zoom != "off" and not is_film
            result |= {"zoom": [clip.zoom for clip in reply.prompt.clips]} if zoomed else {}
            result |= {"confidence": reply.confidence} if arguments.confidence else {}
        results.append(result)
    if arguments.evidence and found is not None:
        if found.reply is None:
            log("no evidence is drawn: the answer is times, and no part of a shot.")
        elif shares := write_evidence(arguments.evidence, generator, found.reply):
            results[-1] |= {"evidence": str(arguments.evidence), "clip_shares": shares}
    if arguments.json:
        commands.print_json(results[0] if len(results) == 1 else {"answers": results})


def as_film_reply(reply: Reply) -> FilmReply:
    """An answer about clips, which are no shots of a film."""
    return FilmReply(reply.text, (), reply)


def at(reply: FilmReply) -> str:
    """The times of the shots that an answer is about, to print behind it; those of times are the answer."""
    if reply.reply is None or not reply.moments:
        return ""
    return "  (" + "; ".join(f"{timestamp(moment.start)} to {timestamp(moment.end)}" for moment in reply.moments) + ")"


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("chat", __doc__, "print the result as one JSON object instead; needs --prompt")
    add = parser.add_argument
    add("--checkpoint", required=True, type=Path, help="working directory of a run of align or tune, or a packed "
        "model such as billiards-mini")  # fmt: skip
    add("--which", choices=("best", "latest"), default="latest", help="which of its checkpoints")
    add("--video", action="append", default=[], help="a video file; may be given several times")
    add("--prompt", action="append", default=[], help="a question; prints the answer and ends; may be given several "
        "times")  # fmt: skip
    add("--zoom", default="off", help="look for words and things in the videos' own pictures, cut into tiles: auto, a "
        "number (of tiles along the shorter side; a ball should be an eighth of a tile wide), or several to choose "
        "from, as 1,2,4 (default: off, in frames squeezed to the model's square)")  # fmt: skip
    add("--shots", type=int, default=1, help="of a film: how many of the best shots a question is asked about at once "
        "(default: 1)")  # fmt: skip
    add("--windows", metavar="SECONDS[,STRIDE]", help="of a film that is no billiards: windows of one length in place "
        "of shots")  # fmt: skip
    add("--evidence", type=Path, metavar="GIF", help="draw the evidence of each answer here (the last one stays)")
    add("--confidence", action="store_true", help="print the probability of each answer beside it")
    add("--temperature", type=float, default=0.0, help="0, the default, takes the best token every time")
    add("--top_k", type=int, default=0, help="draw among the best k tokens only")
    add("--top_p", type=float, default=1.0, help="draw among the best tokens that together have this probability")
    add("--max_new_tokens", type=int, default=64, help="the longest answer (default: 64)")
    add("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    return parser


class Terminal:
    """A conversation on stdin and stdout, line by line."""

    def __init__(
        self,
        model: "hilight_jax.Model",
        dialogue: Dialogue,
        films: Films,
        film: FilmTalk | None = None,
        evidence: Path | None = None,
        confidence: bool = False,
    ):
        """Takes the film that is shown, and the path of the GIF that every answer's evidence is drawn to, if any."""
        self._model, self._dialogue, self._films, self._film, self._evidence = model, dialogue, films, film, evidence
        self._confidence = confidence
        self._last: Reply | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "/video": self._show_video,
            "/evidence": self._draw,
            "/locate": self._locate,
            "/reset": self._reset,
            "/help": lambda rest: print(HELP),
        }

    def talk(self) -> None:
        """Reads lines until ``/quit`` or the end of the input; an error is printed and ends no conversation."""
        if sys.stdin.isatty():
            with contextlib.suppress(ImportError):  # Line editing and history, where the platform has them.
                importlib.import_module("readline")
        for number, clip in enumerate(self._dialogue.clips, 1):
            print(f"video {number}: {clip.name}, {clip.num_total} frames")
        shown = self._dialogue.clips or self._film
        print("Ask about the video, or /help." if shown else "Show a video with /video PATH, or /help.")
        while (line := self._read()) not in (None, "/quit"):
            try:
                if line:
                    self._run(line)
            except UserError as error:
                print(f"error: {error}")
            except OSError as error:
                print(f"error: {error.filename or ''}: {error.strerror or error}.")

    def _read(self) -> str | None:
        try:
            return input("\nyou> ").strip()
        except EOFError:
            print()
            return None

    def _run(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if not line.startswith("/"):
            self._ask(line)
        elif word in self._commands:
            self._commands[word](rest.strip())
        else:
            raise UserError(f"'{word}' is unknown.{nearest(word, self._commands)} /help lists the commands.")

    def _ask(self, question: str) -> None:
        try:
            if self._film is None:
                reply = self._dialogue.ask(question, show)
            else:
                found = self._film.ask(question, show)
                sys.stdout.write(at(found))
                if (reply := found.reply) is None:
                    print()
                    return
        except KeyboardInterrupt:
            print(" ... stopped; the question is forgotten.")
            return
        if not reply.text.strip():
            print("(the answer is empty; the question is forgotten)")
        elif not reply.remembered:
            print("\n(the answer spells a mark that structures conversations; question and answer are forgotten)")
        else:
            print(beside(reply) if self._confidence else "")
        self._last = reply
        if self._evidence and reply.clips and len(reply.ids):
            self._draw(str(self._evidence))

    def _show_video(self, rest: str) -> None:
        if not rest:
            raise UserError("/video needs the path of a file: /video shot.mp4.")
        path = Path(rest).expanduser()
        if not self._dialogue.clips and (film := self._films.open(path)) is not None:
            self._film = film
            print(f"film: {path.name}, {len(film.film.pieces)} pieces in {timestamp(film.film.seconds)}")
            return
        if self._film is not None:
            raise UserError("a film is asked about alone; /reset forgets it.")
        self._films.warn(path)
        clip = self._dialogue.show(path, self._films.zoom)
        print(f"video {len(self._dialogue.clips)}: {clip.name}, {clip.num_total} frames")

    def _draw(self, rest: str) -> None:
        if not rest:
            raise UserError("/evidence needs the path of a GIF to write: /evidence out.gif.")
        path = Path(rest).expanduser()
        check_gif(path)
        if self._last is None:
            raise DataError("there is no evidence to draw: no answer was given yet.")
        shares = write_evidence(path, self._model.generator, self._last)
        of_clips = ", ".join(f"{share:.0%} from video {number}" for number, share in enumerate(shares, 1))
        print(f"{path}: of what contributed to the answer came {of_clips}")

    def _locate(self, rest: str) -> None:
        path, _, text = rest.partition(" ")
        if not text:
            raise UserError("/locate needs the path of a GIF and the things to look for: /locate out.gif red ball.")
        check_gif(Path(path).expanduser())
        clips = self._last.clips if self._film is not None and self._last is not None else self._dialogue.clips
        if not clips:
            raise DataError("there is nothing to look at: no video was shown yet, or nothing was asked about the film.")
        things = named_things(text, self._model.data.things or ())
        if not things:
            raise DataError(f"'{text[:60]}' names nothing that can be seen; name a thing, such as the red ball.")
        clip = clips[-1]
        found = locate(self._model.finder, clip, things)
        write_rings(Path(path).expanduser(), clip, found)
        print(f"{path}: {', '.join(f'{f.phrase} in {f.seen.sum()} of {len(f.seen)} frames' for f in found)}")

    def _reset(self, rest: str) -> None:
        self._dialogue.reset()
        self._last = self._film = None
        print("forgotten; show videos anew with /video PATH.")


def beside(reply: Reply) -> str:
    """The confidence of an answer, to print behind it."""
    return f"  (confidence {reply.confidence:.2f})"


def show(text: str) -> None:
    """Prints a piece of an answer at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def check_gif(path: Path) -> None:
    """Raises a UserError unless a GIF can be written to ``path``."""
    if path.suffix.lower() != ".gif":
        raise UserError(f"it is drawn as a GIF, but '{path}' does not end in .gif; name it so.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"the directory of '{path}' does not exist; make it first.")


if __name__ == "__main__":
    commands.run(main)
