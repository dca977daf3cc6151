"""Makes a LLaMA of random weights as a GGUF file of the name that it is given: bytes for words, two layers, 64 wide.

Run by the Python of the environment that holds llama-cpp-python and gguf.
"""

from __future__ import annotations

import sys

import gguf
import numpy as np

WIDTH, INNER, LAYERS, HEADS, CONTEXT = 64, 128, 2, 4, 512
SPECIAL, NORMAL = 3, 1


def alphabet() -> list[str]:
    """A printable character for each byte, as GPT-2's tokenizer has them."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    named = {byte: chr(byte) for byte in shown} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
    return [named[byte] for byte in range(256)]


def make(file: str) -> None:
    """Write the model; no answer of it makes sense, and every one is the same each time."""
    writer, chance = gguf.GGUFWriter(file, "llama"), np.random.default_rng(7)
    tokens = ["<s>", "</s>", *alphabet(), "op", "en"]
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_merges(["o p", "e n"])
    writer.add_token_types([SPECIAL, SPECIAL, *[NORMAL] * (len(tokens) - 2)])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)

    def drawn(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", (chance.standard_normal(shape) * 0.2).astype(np.float32))

    def ones(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))

    drawn("token_embd", len(tokens), WIDTH)
    drawn("output", len(tokens), WIDTH)
    ones("output_norm")
    for block in (f"blk.{layer}." for layer in range(LAYERS)):
        ones(block + "attn_norm")
        ones(block + "ffn_norm")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            drawn(block + name, WIDTH, WIDTH)
        drawn(block + "ffn_gate", INNER, WIDTH)
        drawn(block + "ffn_up", INNER, WIDTH)
        drawn(block + "ffn_down", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    make(sys.argv[1])
