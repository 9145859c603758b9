#!/usr/bin/env bash
# Make the virtual environment and install into it what requirements.lock pins, then Headgate itself.
# usage: scripts/setup.sh PYTHON VENV
set -euo pipefail
python=$1 venv=$2

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Headgate needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Try: make setup PYTHON=python3.12" >&2
  exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# Compiled here and now: where PYTHONDONTWRITEBYTECODE is set, every process would compile everything again.
if command -v uv >/dev/null 2>&1; then
  uv pip sync --quiet --compile-bytecode --python "$venv/bin/python" --require-hashes requirements.lock
  uv pip install --quiet --python "$venv/bin/python" --no-deps --editable .
else
  # The lock names everything, so nothing is left to resolve; pip before 23.3 resolves an extra
  # (google-auth[requests]) to the newest release, whatever the lock pins, and then refuses it.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
  # hatchling is locked like everything else, so the build needs no environment of its own.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
fi
env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -m compileall -q src
