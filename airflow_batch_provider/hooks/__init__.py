"""Hooks: an Airflow connection becomes a backend."""
