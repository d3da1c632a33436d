"""Tiny videos and sources for the tests of ``hilight_jax.data``."""

import io
import json
from fractions import Fraction

import av
import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath


def grey_frames(num_frames, size=(16, 16), step=10):
    """Frames of one grey each: frame i has the value ``step * i``."""
    levels = np.arange(num_frames, dtype=np.uint8) * step
    return np.broadcast_to(levels[:, None, None, None], (num_frames, *size, 3)).copy()


def encode(frames, container="mp4", codec="mjpeg", pixel_format="yuvj444p", times=None, path=None):
    """Encodes frames; ``times`` are time stamps in hundredths of a second (default: ten frames a second).

    The bytes are also written to ``path``, if one is given, with the header in front.
    """
    file = io.BytesIO()
    options = {"movflags": "faststart"} if path else {}
    with av.open(str(path) if path else file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=10)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = Fraction(1, 100)
        output.start_encoding()
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pixel_format)
            picture.pts, picture.time_base = (10 * i if times is None else times[i]), Fraction(1, 100)
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path.read_bytes() if path else file.getvalue()


def write_manifest(directory, num_clips, num_frames=4, name="clips.jsonl", texts=None):
    """Writes clips of one grey each (clip i is grey ``10 i``) and their manifest; returns its path."""
    lines = []
    for i in range(num_clips):
        frames = np.full((num_frames, 16, 16, 3), 10 * i, np.uint8)
        (directory / f"{i}.mp4").write_bytes(encode(frames))
        lines.append({"video": f"{i}.mp4", "texts": texts or [f"clip number {i}", f"the other text of {i}"]})
    path = directory / name
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def write_stored(directory, examples):
    """Writes a TFDS dataset with the split ``train`` from pairs of video bytes and labels."""
    features = tfds.features.FeaturesDict(
        {"video": tfds.features.Scalar(np.object_), "labels": tfds.features.Scalar(np.object_)}
    )
    files = tfds.core.ShardedFileTemplate(
        data_dir=epath.Path(directory), dataset_name="tiny", split="train", filetype_suffix="array_record"
    )
    writer = ArrayRecordWriter(str(files.sharded_filepath(shard_index=0, num_shards=1)), "group_size:1")
    for video, labels in examples:
        example = features.encode_example({"video": video, "labels": json.dumps(labels).encode()})
        writer.write(features.serialize_example(example))
    writer.close()
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="tiny", version=tfds.core.Version("1.0.0"), data_dir=str(directory), module_name=__name__
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features, disable_shuffling=True)
    info.set_file_format("array_record")
    split = tfds.core.SplitInfo("train", [len(examples)], num_bytes=0, filename_template=files)
    info.set_splits(tfds.core.SplitDict([split]))
    info.write_to_directory(directory)
