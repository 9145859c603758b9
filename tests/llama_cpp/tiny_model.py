"""Write a model file of half a megabyte that llama.cpp loads: `python tiny_model.py OUT.gguf [thinks]`.

Runs in the virtual environment of llama.cpp, where `gguf` and numpy are. The architecture is llama's; a token
is a byte, or one of ChatML's marks; the weights are random, from a fixed seed. One dimension of the residual
stream is constant and tilts the output towards small letters, so that answers are gibberish but text, and end
by `max_tokens` unless a grammar or a bias says otherwise.
"""

import sys

import gguf
import numpy as np

CONTEXT = 32_768
WIDTH, FEED, HEADS, LAYERS = 64, 128, 4, 2
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CALL = "<tool_call>"  # one token, as Qwen has it, so that a bias can ask for it
LETTERS = range(ord("a"), ord("z") + 1)
CONSTANT = 8.0  # the value of the dimension that tilts
TILT = 1.5

TEMPLATE = """
{%- set first = messages[0].content if messages[0].role == 'system' else '' -%}
{%- if tools or first -%}
{{- '<|im_start|>system\n' + first -}}
{%- if tools -%}
{{- '\n# Tools\nCall a function with <tool_call>{"name": …, "arguments": {…}}</tool_call>.\n<tools>' -}}
{%- for tool in tools -%}{{- '\n' + (tool | tojson) -}}{%- endfor -%}
{{- '\n</tools>' -}}
{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' -}}
{%- elif message.role != 'system' or not loop.first -%}
{{- '<|im_start|>' + message.role + '\n' -}}
{%- if message.content -%}{{- message.content -}}{%- endif -%}
{%- for call in message.tool_calls or [] -%}
{{- '\n<tool_call>{"name": "' + call.function.name + '", "arguments": ' -}}
{{- (call.function.arguments | tojson) + '}</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
""".strip()
THINKING = TEMPLATE.replace(
    "{%- if message.content -%}",
    "{%- if message.reasoning_content -%}"
    "{{- '<think>\n' + message.reasoning_content + '\n</think>\n\n' -}}"
    "{%- endif -%}{%- if message.content -%}",
).replace("assistant\n' -}}{%- endif -%}", "assistant\n<think>\n' -}}{%- endif -%}")


def byte_letters() -> list[str]:
    """List GPT-2's letter for each byte: itself if it can be seen, else one from U+0100 on."""
    seen = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = iter(range(256, 512))
    return [chr(byte if byte in seen else next(hidden)) for byte in range(256)]


def write_vocabulary(writer: gguf.GGUFWriter, template: str) -> int:
    tokens = [*byte_letters(), *MARKS, CALL, "Ġt"]
    kinds = {**dict.fromkeys(MARKS, gguf.TokenType.CONTROL), CALL: gguf.TokenType.USER_DEFINED}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges(["Ġ t"])  # an empty list is refused
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)
    return len(tokens)


def write_weights(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    rng = np.random.default_rng(20261124)

    def noise(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.1, shape).astype(np.float32)

    def ones() -> np.ndarray:
        return np.ones(WIDTH, dtype=np.float32)

    embedding, output = noise(vocabulary, WIDTH), noise(vocabulary, WIDTH)
    embedding[:, 0] = CONSTANT
    output[:, 0] = -TILT
    output[LETTERS, 0] = TILT
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", ones())
    for layer in range(LAYERS):
        into = {"attn_q": WIDTH, "attn_k": WIDTH, "attn_v": WIDTH, "ffn_gate": FEED, "ffn_up": FEED}
        for name, size in into.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", noise(size, WIDTH))
        for name, size in {"attn_output": WIDTH, "ffn_down": FEED}.items():
            back = noise(WIDTH, size)
            back[0] = 0  # nothing is added to the constant
            writer.add_tensor(f"blk.{layer}.{name}.weight", back)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", ones())


def main(path: str, *, thinks: bool) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    vocabulary = write_vocabulary(writer, THINKING if thinks else TEMPLATE)
    writer.add_vocab_size(vocabulary)
    write_weights(writer, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1], thinks="thinks" in sys.argv[2:])
