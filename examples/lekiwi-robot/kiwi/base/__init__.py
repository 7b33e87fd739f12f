"""The base: owns the motors."""
