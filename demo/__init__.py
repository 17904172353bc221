"""The demonstration: what it needs (``fetch``) and the run itself (``python -m demo``)."""
