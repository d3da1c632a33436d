"""Measures this machine: ``python -m hilight_jax.benchmark encoder|data|chat|convert|serve``, each with ``--help``.

encoder  the train step, and what share of the matrix multiplication speed measured beside it that is
data     drawing clips of a billiards world, decoding them, and the whole input pipeline
chat     questions about a clip (configs/align.py, configs/tune.py; random weights): the time to the first token, tokens
         per second, memory, and what share of a plain read of the weights and of a plain product that is
convert  a HiLight of the config's size and random weights, brought in and exported in every format: speed beside that
         of a plain copy of its files, and peak memory
serve    a server with --slots and one with a single slot under --clients: wrong answers, percentiles, memory
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from hilight_jax.benchmarks import chat_speed as speed_of_chat
from hilight_jax.benchmarks import conversion_speed, data_speed, train_step
from hilight_jax.benchmarks.random_runs import write_random_run
from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.encode import encode_video
from hilight_jax.billiards.worlds import WORLDS, World, get_world
from hilight_jax.core import commands
from hilight_jax.core.errors import UserError
from hilight_jax.data.sources import open_source
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.load_config import load_config
from hilight_jax.stages.stage import say

# As many clips are drawn as have this many pixels together, so that starting the processes hardly counts.
PIXELS = 10_000_000


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, measures, prints."""
    arguments, overrides = _parser().parse_known_args(argv)
    for name in ("batch_size", "steps", "clips", "workers", "words", "new_tokens", "rounds", "slots", "clients"):
        if (value := getattr(arguments, name, None)) is not None and value < 1:
            raise UserError(f"--{name} is {value}; give a whole number of at least 1, or leave it out.")
    measure = {
        "encoder": measure_encoder,
        "data": measure_data,
        "chat": measure_chat,
        "convert": measure_passage,
        "serve": measure_serving,
    }[arguments.what]
    result = {"benchmark": arguments.what, **measure(arguments, overrides)}
    print(table(result))
    if arguments.json:
        commands.print_json(result)
    return 0


def measure_encoder(arguments: argparse.Namespace, overrides: list[str]) -> dict[str, Any]:
    """Times the train step at ``--batch_size``; groups of the local loss shrink to the batch where they must."""
    config = load_config(arguments.config, overrides)
    batch_size = arguments.batch_size or default_batch_size(config)
    group_size = min(config.loss.local.group_size, batch_size)
    sizes = [f"--config.batch_size={batch_size}", f"--config.loss.local.group_size={group_size}"]
    config = load_config(arguments.config, [*overrides, *sizes])
    return train_step.measure(config, arguments.steps) | {"allocator": allocator()}


def measure_data(arguments: argparse.Namespace, overrides: list[str]) -> dict[str, Any]:
    """Draws clips of a world into a folder of their own in ``--data_dir``, and reads them as ``config.data`` says."""
    config = load_config(arguments.config, overrides)
    world = get_world(arguments.world) if arguments.world else world_of(config)
    clips = arguments.clips or max(64, round(PIXELS / (world.num_frames * world.height * world.width)))
    arguments.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=arguments.data_dir) as folder:
        made = generate(world, clips, folder, arguments.workers)
        source = open_source(f"tfds:{made['directory']}/train")
        rates = data_speed.measure(config.data, source, arguments.batch_size)
    return {
        "world": world.name,
        "generation_clips_per_second": made["clips_per_second"],
        **rates,
        "clips": clips,
        "generation_workers": made["workers"],
        "decode_threads": 1,
        "pipeline_workers": config.data.num_workers,
        "pipeline_threads": config.data.num_threads,
        "num_frames": config.data.num_frames,
        "image_size": config.data.image_size,
    }


def measure_chat(arguments: argparse.Namespace, overrides: list[str]) -> dict[str, Any]:
    """Times a conversation with a model of the config's size; nothing is trained or loaded."""
    config = load_config(arguments.config, overrides)
    if not isinstance(config, ChatTrainConfig):
        raise UserError(
            f"'{arguments.config}' is a config of the stage '{config.stage}', which cannot chat; name one of align or "
            f"tune, such as configs/align.py:2b."
        )
    if arguments.new_tokens < 2:
        raise UserError(
            f"--new_tokens is {arguments.new_tokens}, but must be at least 2: the first one is the prompt's."
        )
    data = config.data
    measured = (data.num_frames, data.key_frames.count, arguments.words, arguments.new_tokens, arguments.rounds)
    return speed_of_chat.measure(config.model, *measured) | {"allocator": allocator()}


def measure_passage(arguments: argparse.Namespace, overrides: list[str]) -> dict[str, Any]:
    """Converts and exports a model of the config's size, in ``--place``."""
    config = load_config(arguments.config, overrides)
    if not isinstance(config, ChatTrainConfig) or config.model.frames is None:
        raise UserError(
            f"'{arguments.config}' is no config of a HiLight with both towers; name one such as configs/align.py:2b."
        )
    formats = arguments.formats.split(",")
    if unknown := [name for name in formats if name not in conversion_speed.FORMATS]:
        raise UserError(f"--formats names '{unknown[0]}', but may name {', '.join(conversion_speed.FORMATS)}.")
    return conversion_speed.measure(config.model, config.data, arguments.place, formats, say)


def measure_serving(arguments: argparse.Namespace, overrides: list[str]) -> dict[str, Any]:
    """Starts a server as a user does, twice, and asks it from many clients; of a config, on random weights."""
    from hilight_jax.benchmarks import server_load

    if bool(arguments.checkpoint) == bool(arguments.config):
        raise UserError("give either --checkpoint, a trained run, or --config, whose model is given random weights.")
    if overrides and not arguments.config:
        raise UserError(f"'{overrides[0]}' is not an argument; see --help.")
    bodies = questions(arguments.new_tokens)
    with contextlib.ExitStack() as stack:
        checkpoint = arguments.checkpoint
        if arguments.config:
            config = load_config(arguments.config, overrides)
            if not isinstance(config, ChatTrainConfig):
                raise UserError(f"'{arguments.config}' is no config of align or tune; name one such as align.py:demo.")
            checkpoint = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "random")
            write_random_run(config.model, config.data, Path(checkpoint))
        result: dict[str, Any] = {"model": arguments.checkpoint or arguments.config}
        for slots in (1, arguments.slots):
            with running_server(checkpoint, slots) as (address, pid):
                measured = server_load.measure(address, pid, bodies, arguments.clients, arguments.seconds)
                result[f"{slots} slots"] = asyncio.run(measured)
    rates = [result[f"{slots} slots"]["tokens_per_second"] for slots in (1, arguments.slots)]
    return result | {"speedup": rates[1] / rates[0]}


def questions(new_tokens: int) -> list[dict[str, Any]]:
    """Requests that differ: twelve without a video and four about clips of the demo's world."""
    asked = ("Which ball is hit first?", "How many balls are in view?", "Is a ball potted?", "Where is the cue ball?")
    bodies = []
    for number in range(16):
        content: list[dict[str, Any]] = [{"type": "text", "text": f"{asked[number % 4]} ({number})"}]
        if number < 4:
            clip = make_clip(get_world("demo-v1"), "validation", number, fps=10)
            film = base64.b64encode(encode_video(clip.frames, 10, watchable=True)).decode()
            content.insert(0, {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{film}"}})
        message = {"role": "user", "content": content}
        bodies.append({"messages": [message], "max_tokens": new_tokens, "ignore_eos": True})
    return bodies


@contextlib.contextmanager
def running_server(checkpoint: str, slots: int) -> Iterator[tuple[str, int]]:
    """A server in a process of its own: its address and process; it is told to stop at the end.

    Raises:
      UserError: It did not start; what it said stands above.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["--checkpoint", checkpoint, "--port", str(port), "--slots", str(slots), "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "hilight_jax.serve", *command], stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                break
            time.sleep(0.2)
        else:
            raise UserError(f"the server of '{checkpoint}' did not start; what it said stands above.")
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


def generate(world: World, clips: int, folder: str, workers: int) -> dict[str, Any]:
    """Runs ``generate`` as a user does, in a process of its own, and returns what it printed last.

    Raises:
      UserError: It failed; what it said stands above.
    """
    command = ["-m", "hilight_jax.generate", "--world", world.name, "--data_dir", folder, "--json"]
    command += [
        "--workers",
        str(workers),
        "--split",
        f"train={clips}",
        "--split",
        "validation=0",
        "--split",
        "unseen=0",
    ]
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"'python {' '.join(command)}' failed; mend what it names above.")
    return json.loads(done.stdout.splitlines()[-1])


def default_batch_size(config: EncoderTrainConfig) -> int:
    """The config's batch; on a CPU only 4 clips, or one group of those that the local loss contrasts."""
    if jax.default_backend() != "cpu":
        return config.batch_size
    return min(config.batch_size, config.loss.local.group_size if config.loss.local.across_clips else 4)


def world_of(config: EncoderTrainConfig) -> World:
    """The world that the config trains on, or else the one whose clips have the config's size.

    Raises:
      UserError: There is none.
    """
    named = [world for name, world in WORLDS.items() if name in Path(config.data.train.rpartition(":")[2]).parts]
    data = config.data
    sized = [
        w for w in WORLDS.values() if (w.num_frames, w.height, w.width) == (data.num_frames, *[data.image_size] * 2)
    ]
    if not named + sized:
        raise UserError(
            f"no billiards world has clips of {data.num_frames} frames of {data.image_size} pixels; name one with "
            f"--world, out of {', '.join(WORLDS)}."
        )
    return (named + sized)[0]


def allocator() -> str:
    """Which memory allocator this process runs on; tcmalloc saves a CPU train step many page faults."""
    maps = Path("/proc/self/maps")
    return "tcmalloc" if maps.is_file() and "tcmalloc" in maps.read_text() else "libc"


def table(result: dict[str, Any]) -> str:
    """The figures as text, one a line."""
    lines = []
    for name, value in result.items():
        for label, item in value.items() if isinstance(value, dict) else [("", value)]:
            lines.append(f"{name} {label}".ljust(52) + (f"{item:.4g}" if isinstance(item, float) else str(item)))
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hilight_jax.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every key of the config can be set: --config.data.num_workers=2",
    )
    parts = parser.add_subparsers(dest="what", required=True, metavar="encoder|data|chat|convert|serve")
    encoder = parts.add_parser("encoder", help="the train step against the measured matrix multiplication peak")
    data = parts.add_parser("data", help="clips per second: generation, decoding, pipeline")
    chat = parts.add_parser("chat", help="time to the first token, tokens per second, memory, the machine's limits")
    convert = parts.add_parser("convert", help="speed and memory of convert and export, beside a plain copy")
    serve = parts.add_parser("serve", help="a server under load, with several slots and with one")
    serve.add_argument("--checkpoint", default="", help="working directory of a run of align or tune")
    serve.add_argument("--config", default="", help="or a config of align, for a model of its size and random weights")
    serve.add_argument("--slots", type=int, default=8, help="answers at a time (default: 8)")
    serve.add_argument("--clients", type=int, default=32, help="clients at a time (default: 32)")
    serve.add_argument("--seconds", type=float, default=120.0, help="for how long (default: 120)")
    serve.add_argument("--new_tokens", type=int, default=32, help="tokens of an answer (default: 32)")
    serve.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    for part in (encoder, data, chat, convert):
        part.add_argument("--config", required=True, help="FILE.py[:PRESET[,key=value...]]")
        part.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    encoder.add_argument("--batch_size", type=int, help="clips of a step (default: the config's; on a CPU a few)")
    encoder.add_argument("--steps", type=int, default=8, help="steps to time, the peak in between (default: 8)")
    data.add_argument("--batch_size", type=int, default=16, help="clips of a pipeline batch (default: 16)")
    data.add_argument("--world", help=f"{', '.join(WORLDS)} (default: the config's, or one of its size)")
    data.add_argument("--clips", type=int, help="clips to draw (default: some ten seconds of them)")
    data.add_argument("--data_dir", type=Path, default=Path("data"), help="the clips lie there for the time being")
    cores = len(os.sched_getaffinity(0))
    data.add_argument("--workers", type=int, default=cores, help="processes that draw (default: one per usable core)")
    convert.add_argument("--place", type=Path, default=Path("data/passage"), help="where (default: data/passage)")
    convert.add_argument(
        "--formats", default=",".join(conversion_speed.FORMATS), help="which exports, with commas between"
    )
    chat.add_argument("--words", type=int, default=40, help="tokens of the prompt beside the clip's (default: 40)")
    chat.add_argument("--new_tokens", type=int, default=16, help="tokens of the answer (default: 16)")
    chat.add_argument("--rounds", type=int, default=3, help="how often, after one that compiles (default: 3)")
    return parser


if __name__ == "__main__":
    commands.run(main)
