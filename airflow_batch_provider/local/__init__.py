"""The embedded batch server: OpenAI's Files and Batches API on loopback, durable, in front of one engine.

``app`` speaks HTTP, ``runner`` carries batches out, ``store`` remembers, ``engines`` answer. Nothing here imports
Airflow, and Starlette, uvicorn and the engines' libraries are imported only by what uses them.
"""
