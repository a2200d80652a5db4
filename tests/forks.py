"""Children of this very process."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

_RAISED = 99


def exit_code_of_a_child(function: Callable[[], int]) -> int:
    """Fork, and call `function` in the child, which ends with what that returns, or with 99 if it raises."""
    child = os.fork()
    if child == 0:
        code = _RAISED
        try:
            code = int(function())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
