"""Vertex AI: jobs over objects in Cloud Storage."""
