"""What only the compiled build (`make compile`) reads: `mypy_extensions` is there for mypy, and not where this runs.

`@mypyc_attr(acyclic=True)`: the garbage collector does not follow the objects of a class, which takes 16 bytes and two places in
memory less for each. Of such objects, cycles are never freed: whatever is linked is unlinked by hand. This module is never
compiled itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr  # noqa: PLC0414 # said again for those who import it from here
else:

    def mypyc_attr(**_: bool) -> Callable[[type], type]:
        """Interpreted, a class is what it is."""
        return lambda cls: cls
