"""The formats: Anthropic messages, OpenAI chat, SSE, errors, and the pure converters between them."""
