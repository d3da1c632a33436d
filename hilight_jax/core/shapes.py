"""The dimension legend of the whole project: one letter, one meaning, in every einsum, annotation and docstring.

```
B  batch (clips, or caption-clip pairs)      L  text length in tokens        E  shared embedding width
F  frames of a clip                          S  key length of an attention   Y  image rows
P  patches of one frame                      N  attention heads              X  image columns
V  video tokens in a language model          K  key/value heads              C  colour channels
M  proxy tokens, the cls token counted       G  query heads per kv head      J  clips of a group that a caption meets
D  width of a tower                          H  width of one head            O  objects seen in a clip
U  clips of one conversation
```
"""

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable)


def check_shapes(function: Function) -> Function:
    """Checks ``function``'s jaxtyping annotations at every call; tests wrap public functions with it.

    Annotations cost nothing in production, where this is never applied. Needs the ``test`` extra.
    """
    from beartype import beartype
    from jaxtyping import jaxtyped

    return jaxtyped(typechecker=beartype)(function)
