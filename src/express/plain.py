"""The other engine: a pipeline run by Prefect itself, under a name and tags of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import tags as prefect_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from express.steps import Pipeline


async def run_plainly(
    pipeline: Pipeline[..., Any], *args: Any, name: str, tags: Sequence[str] = (), **kwargs: Any
) -> Any:
    """Run `pipeline` under Prefect's own engine: slow, for comparison and for a developer's script."""
    # the name is a template to Prefect: braces in it would ask for parameters
    named = pipeline.with_options(flow_run_name=name.replace("{", "{{").replace("}", "}}"))
    with prefect_tags(*tags):
        result = named(*args, **kwargs)
        return await result if pipeline.isasync else result
