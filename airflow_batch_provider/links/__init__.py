"""Links from Airflow's UI to the providers."""
