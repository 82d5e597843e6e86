"""What a card order is: pure rules, without I/O, clock or randomness."""
