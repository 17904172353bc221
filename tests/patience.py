"""How long tests wait for what must come: so long that only what hangs is cut off, whatever else the machine does."""

PATIENCE = 900.0
