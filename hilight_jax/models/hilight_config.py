"""Sizes, part names and partition rules of the chat model."""

import dataclasses

from hilight_jax.core.config import check_same
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.sharding import Rule
from hilight_jax.models import local_heads
from hilight_jax.models.clip import TEXT_PARTITION_RULES, TextConfig
from hilight_jax.models.clip_vip import VISION_PARTITION_RULES, VisionConfig
from hilight_jax.models.gemma import GEMMA_PARTITION_RULES
from hilight_jax.models.gemma_config import GEMMA_2B, GemmaConfig
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.local_heads import LOCAL_PARTITION_RULES, LocalHeadsConfig
from hilight_jax.models.long_clip import FRAME_PARTITION_RULES, FrameConfig
from hilight_jax.models.lora import LORA_PARTITION_RULES, LoraConfig
from hilight_jax.models.token_mining import TOKEN_MINING_PARTITION_RULES
from hilight_jax.models.token_mining_config import TokenMiningConfig
from hilight_jax.models.word_tracks import WORD_TRACKS_PARTITION_RULES, WordTracksConfig

# Top names of the whole tree; ``lora`` is a flax collection of its own, see ``variables``. A model has a frame tower or
# the projection of its video tower; ``text``, ``local`` and ``word_tracks`` belong to a model with word tracks.
TOWER_PARTS = ("vision", "frames", "visual_projection", "text", "local")
PARTS = (*TOWER_PARTS, "token_mining", "word_tracks", "gemma", "lora")
PARTITION_RULES: tuple[Rule, ...] = tuple(
    (f"{part}/{path}", axes)
    for part, rules in (
        ("vision", VISION_PARTITION_RULES),
        ("frames", FRAME_PARTITION_RULES),
        ("visual_projection", ((r"kernel", ("fsdp", None)),)),
        ("text", TEXT_PARTITION_RULES),
        ("local", LOCAL_PARTITION_RULES),
        ("token_mining", TOKEN_MINING_PARTITION_RULES),
        ("word_tracks", WORD_TRACKS_PARTITION_RULES),
        ("gemma", GEMMA_PARTITION_RULES),
        ("lora/gemma", LORA_PARTITION_RULES),
    )
    for path, axes in rules
)


@dataclasses.dataclass(frozen=True)
class HiLightConfig:
    """Sizes of all parts; the defaults are HiLight-2B's.

    Attributes:
      vision: The video tower, CLIP-ViP+.
      frames: The frame tower, Long-CLIP's. None: the video tower looks at the key frames too, each a clip of one frame,
        through the projection that it was trained with.
      token_mining: The connector between the towers and the language model.
      gemma: The language model.
      lora: Low-rank deltas on the language model, or None.
      compute: How to compute it.
      text: The text tower that was trained with the video tower; of a model with word tracks only.
      local: The local heads of both, likewise.
      word_tracks: Sizes of the word tracks; None: words carry nothing, and no row stands for a thing.
    """

    vision: VisionConfig = VisionConfig()
    frames: FrameConfig | None = FrameConfig()
    token_mining: TokenMiningConfig = TokenMiningConfig()
    gemma: GemmaConfig = GEMMA_2B
    lora: LoraConfig | None = None
    compute: ComputeConfig = ComputeConfig()
    text: TextConfig | None = None
    local: LocalHeadsConfig | None = None
    word_tracks: WordTracksConfig | None = None

    def __post_init__(self):
        """Checks that the parts fit each other."""
        check_same(self, "", "token_mining.width_video", "vision.width")
        check_same(self, "", "token_mining.width_out", "gemma.width")
        if self.frames is not None:
            check_same(self, "", "token_mining.width_frames", "frames.embed_dim")
            check_same(self, "", "frames.image_size", "vision.image_size")
        given = {name: getattr(self, name) is not None for name in ("word_tracks", "text", "local")}
        if len(set(given.values())) > 1:
            missing = " and ".join(f"model.{name}" for name, there in given.items() if not there)
            raise ConfigError(
                f"word tracks are read by the encoder's text tower and local heads, but {missing} is not set; set "
                f"model.word_tracks, model.text and model.local, the last two as the encoder has them, or none."
            )
        if self.word_tracks is not None and self.local is not None and not self.local.levels:
            raise ConfigError(
                "model.local.levels is empty, but word tracks are maps of the local heads: train the encoder with "
                "local heads, or leave model.word_tracks out."
            )
        if self.word_tracks is not None and self.word_tracks.relation_layers:
            heads = self.word_tracks.relation_heads
            if self.gemma.width % heads:
                raise ConfigError(
                    f"model.word_tracks.relation_heads is {heads}, but must divide model.gemma.width="
                    f"{self.gemma.width}: the things attend to each other in that width."
                )

    def num_video_tokens(self, num_key_frames: int, num_things: int = 0) -> int:
        """V, the rows that a clip takes in the language model: the mined ones, then one for each thing."""
        return num_key_frames * self.token_mining.tokens_per_frame + num_things

    @property
    def level_pairs(self) -> tuple[tuple[int, int], ...]:
        """The levels that word tracks tap, see ``local_heads.level_pairs``."""
        assert self.local is not None and self.text is not None
        return local_heads.level_pairs(self.local.levels, self.vision.depth, self.text.depth)

    @property
    def map_weights(self) -> tuple[float, ...]:
        """Weights of the tapped levels in a word's map, see ``local_heads.map_weights``."""
        assert self.local is not None and self.text is not None
        return local_heads.map_weights(self.local, self.vision.depth, self.text.depth)
