"""Pure translation between OpenAI's lines and a provider's; bytes in, bytes out."""
