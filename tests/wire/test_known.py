"""The known sets are the installed SDK's, stable and beta together."""

from __future__ import annotations

import re
import typing
from typing import Annotated, Any, Union

from anthropic.types import (
    content_block_param,
    content_block_source_content_param,
    tool_result_block_param,
)
from anthropic.types.beta import (
    beta_content_block_param,
    beta_system_message_param,
    beta_tool_result_block_param,
)
from anthropic.types.beta.beta_message_param import BetaMessageParam
from anthropic.types.beta.beta_tool_choice_param import BetaToolChoiceParam

from wire.known import BLOCKS, RESULT_BLOCKS, ROLES, SOURCE_BLOCKS, SYSTEM_BLOCKS, TOOL_CHOICES


def tags(union: Any, field: str = "type") -> set[str]:
    """Give the values that `field` may have in the members of `union`."""
    origin = typing.get_origin(union)
    if origin is Annotated:
        return tags(typing.get_args(union)[0], field)
    if origin is Union:
        return set().union(*(tags(member, field) for member in typing.get_args(union)))
    annotation = union.__annotations__[field]
    literal = getattr(annotation, "__forward_arg__", None) or str(annotation)
    found = re.search(r"Literal\[([^\]]*)\]", literal)
    assert found, (union, literal)
    return set(re.findall(r"[\"']([a-z0-9_]+)[\"']", found[1]))


def test_blocks() -> None:
    assert (
        tags(content_block_param.ContentBlockParam) | tags(beta_content_block_param.BetaContentBlockParam)
        == BLOCKS
    )


def test_blocks_in_results() -> None:
    assert tags(tool_result_block_param.Content) | tags(beta_tool_result_block_param.Content) == RESULT_BLOCKS


def test_blocks_in_system_messages() -> None:
    assert tags(beta_system_message_param.ContentBlock) == SYSTEM_BLOCKS


def test_blocks_in_documents() -> None:
    assert tags(content_block_source_content_param.ContentBlockSourceContentParam) == SOURCE_BLOCKS


def test_roles() -> None:
    assert tags(BetaMessageParam, "role") == ROLES


def test_tool_choices() -> None:
    assert tags(BetaToolChoiceParam) == TOOL_CHOICES
