"""The rooms of the exchange. A room imports `schemas` and `services.runtime`, never another room."""
