"""Configurations: each file has `get_config() -> ConfigDict`, made from `default.py`."""
