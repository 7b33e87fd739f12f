"""Services as systemd units: written, started and watched by the agent, hardened by default. See ARCHITECTURE.md, "A robot with systemd"."""
