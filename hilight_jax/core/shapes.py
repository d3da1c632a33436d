"""The letters of dimensions in every einsum, annotation and docstring, special ids, and statistics of pixels.

```
B  batch (clips, or caption-clip pairs)      L  text length in tokens        E  shared embedding width
F  frames of a clip                          S  key length of an attention   Y  image rows
P  patches of one frame                      N  attention heads              X  image columns
V  video tokens in a language model          K  key/value heads              C  colour channels
M  proxy tokens, the cls token counted       G  query heads per kv head      J  clips of a group that a caption meets
D  width of a tower                          H  width of one head            O  objects seen in a clip
U  clips of one conversation                 R  rows of a text that come before a learned token
```
"""

# A row that a video token fills. The original's <video> placeholder, once per clip before expansion.
VIDEO_ID = -200
# A label that is not learned: prompts, video rows, padding. The original's and torch's cross entropy's.
IGNORE_ID = -100
# Mean and deviation of red, green and blue on the scale 0..1, which CLIP's pixels are normalised by.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
