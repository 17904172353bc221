"""Operators: Airflow in, a run out."""
