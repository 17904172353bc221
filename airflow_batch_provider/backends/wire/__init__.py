"""OpenAI's wire: Files and Batches, and every provider that speaks them."""
