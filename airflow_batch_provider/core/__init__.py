"""Pure decisions and records: no Airflow, no SDK, no clock, no network."""
