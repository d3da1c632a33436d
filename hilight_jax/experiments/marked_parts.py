"""Pages of which some parts are written by a command, between comments that name them.

```
<!-- part: verdicts -->
| claim | verdict |
<!-- end -->
```
"""

import re
from collections.abc import Mapping

from hilight_jax.core.errors import DataError

_PART = re.compile(r"<!-- part: (?P<name>[^\n]+?) -->\n(?P<content>.*?)<!-- end -->", re.DOTALL)
_OPENING = re.compile(r"<!-- part:.*?-->")


def part_names(page: str) -> list[str]:
    """The names of the parts of a page, in their order."""
    return [match["name"] for match in _PART.finditer(page)]


def refresh(page: str, parts: Mapping[str, str], name: str) -> str:
    """Returns a page with the content of its parts written anew; what lies around them stays.

    Args:
      page: Its text.
      parts: Markdown, by name.
      name: Of its file, for messages.

    Raises:
      DataError: A part has no such name or no end.
    """
    found = part_names(page)
    if len(_OPENING.findall(page)) != len(found):
        raise DataError(f"'{name}' has a part without an end; close each '<!-- part: NAME -->' with '<!-- end -->'.")
    if unknown := [part for part in found if part not in parts]:
        raise DataError(f"'{name}' has a part '{unknown[0]}'; parts are: {', '.join(sorted(parts))}.")
    return _PART.sub(lambda m: f"<!-- part: {m['name']} -->\n{parts[m['name']].strip()}\n<!-- end -->", page)
