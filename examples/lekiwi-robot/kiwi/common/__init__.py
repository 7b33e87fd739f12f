"""What the base and those who drive it must agree on."""
