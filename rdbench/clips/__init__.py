"""Clips: datasets, their manifests, fetching them, and where the user keeps data."""
