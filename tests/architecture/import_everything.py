"""Import every module of the package, in the interpreter that runs this file.

Run as a plain script, so that it also serves environments without the test tools, such as the one of Airflow 3.1.
"""

from __future__ import annotations

import importlib
import pkgutil

import airflow_batch_provider


def import_everything() -> list[str]:
    """Import all modules; the first that fails raises."""
    found = pkgutil.walk_packages(airflow_batch_provider.__path__, "airflow_batch_provider.")
    names = [module.name for module in found if not module.name.endswith(".__main__")]
    for name in names:
        importlib.import_module(name)
    return names


if __name__ == "__main__":
    from importlib.metadata import version

    print(f"{len(import_everything())} modules imported with Airflow {version('apache-airflow')}")
