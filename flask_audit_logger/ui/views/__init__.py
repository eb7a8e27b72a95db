"""The views: allowed? (the gate) -> form -> query -> page context -> template."""
