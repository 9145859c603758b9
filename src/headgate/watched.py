"""Runs a module as a program, and notes the error that ends it: `python -m headgate.watched NAME MODULE …`.

For the processes that know nothing of the server's folder: nothing is imported for it until one fails.
"""

from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


def note_crash(name: str, error: BaseException) -> None:
    """Write the error down in the folder of the server that this process belongs to."""
    from headgate.instance import Instance  # noqa: PLC0415 - see above
    from headgate.recording import start_recording  # noqa: PLC0415 - see above
    from headgate.settings import load_settings  # noqa: PLC0415 - see above

    recording = start_recording(load_settings(), Instance.from_environment(), name)
    recording.errors.note(error, crashed=True)
    recording.close()


def tell_crash(name: str, error: BaseException) -> None:
    """Say on standard error where the process ended: without the error's text, which may quote a prompt."""
    from headgate.log_lines import rendered  # noqa: PLC0415 - see above

    sys.stderr.write(f"{name} ended:\n{rendered(error)}\n")


def main() -> None:
    """Run the module named by the arguments."""
    name, module = sys.argv[1:3]
    usual = sys.excepthook

    def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            usual(kind, error, trace)
            return
        try:
            note_crash(name, error.with_traceback(trace))
        finally:
            tell_crash(name, error)

    sys.excepthook = note
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
