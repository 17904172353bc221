"""Where jobs run: provider calls, no Airflow."""
