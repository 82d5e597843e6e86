"""The pretend world outside the platform: a clock of its own, sites that make cards, carriers that bring them."""
