"""The page of campaigns inside Airflow's UI: a small application that Airflow's api-server mounts."""
