"""Assembly: the folder of captured requests, how they are sealed, and what captures them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinators.captures import FOLDER, CaptureFolder

if TYPE_CHECKING:
    from coordinators.capture_seal import Seal
    from coordinators.capturing import Capturing
    from coordinators.scrubbing import Scrubber
    from headgate.settings import Settings


def folder_of(settings: Settings) -> CaptureFolder:
    """Give the folder, which need not be there."""
    path = settings.data_dir.absolute() / FOLDER
    return CaptureFolder(path, most=settings.capture_size, hours=settings.capture_hours)


def seal_of(settings: Settings) -> Seal:
    """Give what seals captures, and opens those of these settings' keys."""
    from coordinators.capture_seal import seal_of as made  # noqa: PLC0415 - not where nothing is captured

    return made(settings.capture_keys)


def assemble_capturing(settings: Settings, scrubber: Scrubber) -> Capturing | None:
    """Give what captures requests; None if none is to be captured."""
    if settings.capture == "off":
        return None
    from coordinators.capturing import Capturing  # noqa: PLC0415 - see above

    return Capturing(
        folder_of(settings),
        seal_of(settings),
        scrubber,
        which=settings.capture,
        largest=settings.capture_largest,
    )
