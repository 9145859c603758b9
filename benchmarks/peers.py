"""The gateways Headgate is measured against: installed on demand into a cache folder, each with a home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

LITELLM_VERSION = "1.106.2"
DISKCACHE_VERSION = "5.6.3"
ROUTER_VERSION = "2.0.0"
_INSTALL_SECONDS = 600
MODEL = "openai/gpt-5"
_MARKS = ("", "-drip", "-idle")


class PeerMissing(Exception):
    """A peer could not be installed or found; its columns stay empty."""


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "headgate-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_installer(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(
            command, cwd=folder, check=True, timeout=_INSTALL_SECONDS, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise PeerMissing(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(f"{' '.join(command)} took more than {_INSTALL_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        raise PeerMissing(f"{' '.join(command)} failed: {error.stderr[-400:]}") from error


def litellm_program() -> Path:
    """Return LiteLLM's proxy program, from a virtual environment of its own."""
    folder = cache_folder() / f"litellm-{LITELLM_VERSION}"
    program = folder / "bin" / "litellm"
    whole = folder / ".installed"  # an interrupted install leaves the program without its parts
    if not whole.exists():
        run_installer([sys.executable, "-m", "venv", "--clear", str(folder)], cache_folder())
        run_installer(
            [str(folder / "bin" / "pip"), "install", "-q", f"litellm[proxy]=={LITELLM_VERSION}"], folder
        )
        whole.touch()
    return program


def add_diskcache() -> None:
    """Give LiteLLM's environment what its disk cache needs; its proxy extra does not bring it."""
    folder = litellm_program().parent.parent
    if not (folder / ".diskcache").exists():
        run_installer(
            [str(folder / "bin" / "pip"), "install", "-q", f"diskcache=={DISKCACHE_VERSION}"], folder
        )
        (folder / ".diskcache").touch()


def litellm_config(folder: Path, upstream: str, cache: dict[str, Any] | None = None) -> Path:
    """Write the proxy's configuration: one model of the fake upstream under each of its marks.

    `cache` are its `cache_params`; None leaves its cache off.
    """
    models = [
        {
            "model_name": MODEL + mark,
            "litellm_params": {
                "model": f"openrouter/{MODEL}{mark}",
                "api_base": f"{upstream}/api/v1",
                "api_key": "sk-or-bench",
            },
        }
        for mark in _MARKS
    ]
    settings: dict[str, Any] = {"telemetry": False, "num_retries": 0}
    if cache is not None:
        settings |= {"cache": True, "cache_params": cache}
    config = {"model_list": models, "litellm_settings": settings}
    path = folder / "litellm.yaml"
    path.write_text(json.dumps(config, indent=1))  # JSON is YAML
    return path


def router_program() -> Path:
    """Return claude-code-router's script, installed by npm."""
    folder = cache_folder() / f"router-{ROUTER_VERSION}"
    script = folder / "node_modules/@musistudio/claude-code-router/dist/cli.js"
    if not script.exists():
        folder.mkdir(exist_ok=True)
        package = f"@musistudio/claude-code-router@{ROUTER_VERSION}"
        run_installer(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), package], folder)
    return script


def router_home(home: Path, upstream: str, port: int, *, quiet: bool) -> Path:
    """Make the router a home directory that holds its configuration and nothing of the user's.

    It logs at level debug, as it does for whoever follows its README; `quiet` turns that off.
    """
    (home / ".claude-code-router").mkdir(parents=True)
    provider = {
        "name": "openrouter",
        "api_base_url": f"{upstream}/api/v1/chat/completions",
        "api_key": "sk-or-bench",
        "models": [MODEL + mark for mark in _MARKS],
        "transformer": {"use": ["openrouter"]},
    }
    config: dict[str, Any] = {
        "HOST": "127.0.0.1",
        "PORT": port,
        "NON_INTERACTIVE_MODE": True,
        "Providers": [provider],
        "Router": {"default": f"openrouter,{MODEL}"},
    }
    if quiet:
        config["LOG"] = False
    (home / ".claude-code-router" / "config.json").write_text(json.dumps(config, indent=1))
    return home
