"""The dataset manifests that rdbench ships, one TOML file each."""
