"""Gateways, which speak OpenAI's wire for providers behind them."""
