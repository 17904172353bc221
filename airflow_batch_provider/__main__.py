"""``python -m airflow_batch_provider`` is ``airflow-batch``."""

import sys

from airflow_batch_provider.cli import main

if __name__ == "__main__":
    sys.exit(main())
